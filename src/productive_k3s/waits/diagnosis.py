"""PURE: why K3s does not come up, read from what it logs. Lines seen on v1.34.3 (k3s-observed.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from productive_k3s.contract.failure import Failure

_EVIDENCE_LENGTH = 400


@dataclass(frozen=True)
class Cause:
    """A line that names a cause. `final`: no waiting mends it, so the wait may end early."""

    code: str
    pattern: str
    what: str
    remedy: str
    final: bool


# Ranked: where several were logged, the first of this table explains the others.
CAUSES: Tuple[Cause, ...] = (
    Cause(
        "k3s.unknown-flag",
        r"flag provided but not defined: -",
        "K3s does not know a flag that it is given",
        "take the flag out of its configuration",
        final=True,
    ),
    Cause(
        "k3s.ca-mismatch",
        r"token CA hash does not match the Cluster CA certificate hash",
        "the token belongs to another cluster than the server that answers",
        "use the token of that server's cluster, or correct the server's address",
        final=True,
    ),
    Cause(
        "k3s.node-password",
        r"Node password rejected",
        "the cluster knows a node of this name with another password",
        "give this host another name, or remove the old Node (productive-k3s node remove NAME, on a server)",
        final=True,
    ),
    Cause(
        "k3s.duplicate-name",
        r"duplicate node name found",
        "a living server has this node's name",
        "give this host another name",
        final=True,
    ),
    Cause(
        "k3s.token-changed",
        r"bootstrap data already found and encrypted with different token",
        "the token differs from the one this datastore was made with",
        "put the old token back into /etc/rancher/k3s/server.token",
        final=True,
    ),
    Cause(
        "k3s.token-mismatch",
        r"(bootstrap cluster data|configuration from server|remote datastore): not authorized",
        "the server refuses the token",
        "use the agent token that productive-k3s token prints on a server",
        final=True,
    ),
    Cause(
        "k3s.critical-mismatch",
        r"critical configuration (value )?mismatch",
        "flags that all servers must share differ from the other servers'",
        "give every server the same flags",
        final=True,
    ),
    Cause(
        "k3s.port-in-use",
        r"bind: address already in use",
        "a port that K3s needs is taken",
        "stop what listens there (ss -ltnp)",
        final=True,
    ),
    Cause(
        "k3s.no-token",
        r"--token is required|--server is required",
        "K3s has no token or no server",
        "give both",
        final=True,
    ),
    Cause(
        "k3s.cgroups",
        r"failed to find (memory|cpu|cpuset|pids) cgroup|cgroup v1 support is in maintenance mode.*fail",
        "the kernel lacks a cgroup controller",
        "enable it at boot (cgroup_enable=memory), or use cgroup v2",
        final=True,
    ),
    Cause("host.disk-full", r"no space left on device", "the disk is full", "make room", final=True),
    Cause(
        "host.clock-skew",
        r"certificate has expired or is not yet valid",
        "the clocks of this host and the server differ",
        "set the time on both (timedatectl)",
        final=False,
    ),
    Cause(
        "k3s.image-pull",
        r"failed to (get sandbox image|pull image|pull and unpack image)",
        "an image cannot be pulled",
        "give the hosts their images (artifacts.delivery: push), or a registry mirror",
        final=False,
    ),
    Cause(
        "k3s.unreachable-server",
        r"failed to get CA certs|connect: no route to host|connect: connection refused|i/o timeout",
        "the server does not answer",
        "see that it runs, and that port 6443 of it is reachable from here",
        final=False,
    ),
)


def causes(lines: Sequence[str]) -> Tuple[Failure, ...]:
    """Return the causes that the lines name, the best first."""
    return tuple(failure for _, failure in _found(lines))


def final_cause(lines: Sequence[str]) -> Optional[Failure]:
    """Return the first cause that no waiting mends, None if there is none."""
    return next((failure for cause, failure in _found(lines) if cause.final), None)


def _found(lines: Sequence[str]) -> List[Tuple[Cause, Failure]]:
    found = []
    for cause in CAUSES:
        line = next((line for line in reversed(lines) if re.search(cause.pattern, line)), None)
        if line is not None:
            found.append((cause, Failure(cause.code, cause.what, message_of(line), cause.remedy, 5)))
    return found


def message_of(line: str) -> str:
    """Return what a line of K3s' log says, without time and level, shortened."""
    match = re.search(r'msg="((?:[^"\\]|\\.)*)"', line)
    text = match.group(1) if match else line
    return text if len(text) <= _EVIDENCE_LENGTH else text[: _EVIDENCE_LENGTH - 3] + "..."


def last_words(lines: Sequence[str]) -> str:
    """Return the last line that is an error or fatal, else the last line."""
    grave = [line for line in lines if re.search(r"level=(fatal|error)|^(Error|panic)", line)]
    chosen = (grave or list(lines))[-1:]
    return message_of(chosen[0]) if chosen else ""
