"""PURE: why K3s does not come up, read from what it logs. Lines seen on v1.34.3 and v1.36.3."""

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
        "K3s does not know one of its flags",
        "remove the flag from its configuration",
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
        "a running server has this node's name",
        "give this host another name",
        final=True,
    ),
    Cause(
        "k3s.token-changed",
        r"bootstrap data already found and encrypted with different token",
        "the token differs from the one that this datastore was created with",
        "write the cluster's token into /etc/rancher/k3s/server.token: after k3s token rotate the new one",
        final=True,
    ),
    Cause(
        "k3s.encryption-off",
        r"identity transformer tried to read encrypted data",
        "Secrets in the datastore are encrypted, but secrets-encryption is no longer set",
        "set secrets-encryption: true again; run k3s secrets-encrypt disable before you remove it",
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
        "host.cgroup-v1",
        # Kubernetes 1.35 and later (pkg/kubelet/cm); K3s ends with status 0 then.
        r"configured to not run on a host using cgroup v1|cgroup v1 support is in maintenance mode.*fail",
        "the kubelet of this version refuses cgroup v1",
        "boot the host with cgroup v2, or allow v1: kubelet-arg: [fail-cgroupv1=false] for servers and agents",
        final=True,
    ),
    Cause(
        "k3s.cgroups",
        r"failed to find (memory|cpu|cpuset|pids) cgroup",
        "the kernel lacks a cgroup controller",
        "enable it at boot (cgroup_enable=memory), or use cgroup v2",
        final=True,
    ),
    Cause("host.disk-full", r"no space left on device", "the disk is full", "free some space", final=True),
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
        "deliver the images to the hosts (artifacts.delivery: push), or a registry mirror",
        final=False,
    ),
    Cause(
        "k3s.unreachable-server",
        r"failed to get CA certs|connect: no route to host|connect: connection refused|i/o timeout",
        "the server does not answer",
        "check that it is running, and that its port 6443 is reachable from here",
        final=False,
    ),
)


# What every start logs before etcd and the API are up (k3s-io/k3s, pkg/etcd and pkg/server): it names no cause.
_STARTING = re.compile(
    r"Failed to check local etcd status for learner management"
    r"|Sending HTTP/1\.1 503"
    r"|runtime core not ready"
    # Of a server's own components to its own ports. An agent's way to its server begins there too, and says more.
    r"|^(?!.*failed to get CA certs).*dial tcp (127\.0\.0\.1|\[::1\]):\d+: connect: connection refused"
)
# How K3s, a panic of Go, and the parser of its flags say that it ends.
_ENDS = re.compile(r"level=fatal|^(panic|Error|Incorrect Usage|fatal error)\b|Shutdown request received|\w exited: ")
_ERROR = re.compile(r"level=error|^E\d{4} ")
# systemd's own lines about the unit, in which K3s says nothing.
_OF_SYSTEMD = re.compile(r"^[\w@.-]+\.service: |^(Starting|Started|Stopping|Stopped|Failed to start) ")


def causes(lines: Sequence[str]) -> Tuple[Failure, ...]:
    """Return the causes that the lines name, the best first."""
    return tuple(failure for _, failure in _found(lines))


def final_cause(lines: Sequence[str]) -> Optional[Failure]:
    """Return the first cause that no waiting mends, None if there is none."""
    return next((failure for cause, failure in _found(lines) if cause.final), None)


def _found(lines: Sequence[str]) -> List[Tuple[Cause, Failure]]:
    found = []
    telling = [line for line in lines if not _STARTING.search(line)]
    for cause in CAUSES:
        line = next((line for line in reversed(telling) if re.search(cause.pattern, line)), None)
        if line is not None:
            found.append((cause, Failure(cause.code, cause.what, message_of(line), cause.remedy, 5)))
    return found


def message_of(line: str) -> str:
    """Return what a line of K3s' log says, without time and level, shortened."""
    match = re.search(r'msg="((?:[^"\\]|\\.)*)"', line)
    text = match.group(1) if match else line
    return text if len(text) <= _EVIDENCE_LENGTH else text[: _EVIDENCE_LENGTH - 3] + "..."


def last_words(lines: Sequence[str]) -> str:
    """Return the last line with which K3s ended, else its last error, else its last line; '' if it said nothing."""
    telling = [line for line in lines if not _STARTING.search(line)] or list(lines)
    own = [line for line in telling if not _OF_SYSTEMD.search(line)] or telling
    for pattern in (_ENDS, _ERROR):
        grave = [line for line in own if pattern.search(line)]
        if grave:
            return message_of(grave[-1])
    return message_of(own[-1]) if own else ""
