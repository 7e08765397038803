"""PURE: do the hosts fit together? Reached, told apart, with one clock and one cluster."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from productive_k3s.plan.effective import is_member
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.preflight.rule import Finding, PreflightContext
from productive_k3s_infra.validate.quick import not_asked

# RFC 1123; a node's name is the value of its label kubernetes.io/hostname too, which has at most 63 characters.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_LENGTH = 63
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
# etcd itself complains from one second on; an agent behind its server by more than the age of the cluster's
# certificates refuses them as not valid yet, and a minute is what a first apply takes.
CLOCK_WARNING_SECONDS = 1.0
CLOCK_ERROR_SECONDS = 60.0
_REMEDIES = {
    "ssh.unreachable": "is the address correct, the host running, and the SSH port reachable from here?",
    "ssh.host-key-changed": "compare the key with the host's own; correct the file only if the host was recreated",
    "ssh.authentication": "check ssh.user and ssh.key of this node",
    "sudo.refused": "allow the one command in sudoers, as shown in the documentation",
    "host.no-python": "install python3 on the host",
}


def judge_reachable(look: PreflightContext) -> Iterator[Finding]:
    for host in look.inventory.hosts:
        error = look.observed.unreachable.get(host.name)
        if error is not None:
            check = not_asked(host.name, error)
            remedy = check.remedy or _REMEDIES.get(error.code, "")
            yield Finding(host.name, False, check.message, check.evidence, remedy=remedy)
        elif host.name in look.observed.measured:
            yield Finding(host.name, True, f"answers at {host.endpoint}")
        elif host.assumed:
            yield Finding(host.name, True, "does not exist yet: it is checked once it is created")
        else:
            yield Finding(host.name, False, "was not checked")


def judge_node_names(look: PreflightContext) -> Iterator[Finding]:
    names = [host.name for host in look.inventory.hosts]
    for name in dict.fromkeys(names):
        good = _is_name(name)
        yield Finding(name, good, "can be a node's name" if good else "cannot be a node's name")
    # Names that differ in case only are one name to K3s, which lowers them.
    yield from _shared([(name, name.lower()) for name in names], "node name")


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and len(text) <= _NAME_LENGTH


def judge_hostnames(look: PreflightContext) -> Iterator[Finding]:
    for host, facts in look.measured:
        name = facts.host.hostname.lower()
        good = _is_name(name) and name.split(".")[0] != "localhost"
        yield Finding(host.name, good, f"its hostname is {name or 'empty'}")


def judge_unique_hostnames(look: PreflightContext) -> Iterator[Finding]:
    found = tuple(_shared([(host.name, facts.host.hostname.lower()) for host, facts in look.measured], "hostname"))
    yield from found or (Finding(look.inventory.cluster, True, "every host has a hostname of its own"),)


def judge_machine_ids(look: PreflightContext) -> Iterator[Finding]:
    owned = [(host.name, facts.host.machine_id) for host, facts in look.measured]
    found = (
        *(
            Finding(name, False, "has no valid machine-id", machine_id or "/etc/machine-id is empty")
            for name, machine_id in owned
            if not _MACHINE_ID.fullmatch(machine_id)
        ),
        *_shared(owned, "machine-id"),
    )
    yield from found or (Finding(look.inventory.cluster, True, "every host has a machine-id of its own"),)


def _shared(owned: Iterable[tuple[str, str]], what: str) -> Iterator[Finding]:
    """Name those that have the same value; an empty one is shared by nobody."""
    groups: dict[str, list[str]] = {}
    for owner, value in owned:
        groups.setdefault(value, []).append(owner)
    for value, owners in groups.items():
        if value and len(owners) > 1:
            yield Finding(", ".join(owners), False, f"have one {what}", value)


def judge_clocks(look: PreflightContext) -> Iterator[Finding]:
    """Only a skew that is certain counts: what a slow connection leaves open is no finding."""
    measured = look.observed.measured
    good = True
    for one, other in itertools.combinations([host.name for host, _ in look.measured], 2):
        ahead = measured[one].ahead_at_least - measured[other].ahead_at_most
        behind = measured[other].ahead_at_least - measured[one].ahead_at_most
        skew, first, second = (ahead, one, other) if ahead >= behind else (behind, other, one)
        if skew > CLOCK_WARNING_SECONDS:
            good = False
            yield Finding(
                f"{one}, {other}",
                False,
                f"{first} is ahead of {second} by at least {skew:.1f} s",
                severity="error" if skew > CLOCK_ERROR_SECONDS else "warning",
            )
    if good:
        yield Finding(look.inventory.cluster, True, "no skew between hosts was seen")


def judge_clock_here(look: PreflightContext) -> Iterator[Finding]:
    for host, _ in look.measured:
        measured = look.observed.measured[host.name]
        ahead, behind = measured.ahead_at_least, -measured.ahead_at_most
        skew = max(ahead, behind)
        good = skew <= CLOCK_ERROR_SECONDS
        side = "ahead of" if ahead >= behind else "behind"
        message = "as on this computer" if good else f"is {side} this computer by at least {skew:.0f} s"
        yield Finding(host.name, good, message)


def judge_cluster(look: PreflightContext) -> Iterator[Finding]:
    """A host of another cluster is never taken over. Without a record nobody can say whose cluster is the right one."""
    members = [(host, facts.k3s.ca_hash) for host, facts in look.measured if is_member(facts) and facts.k3s.ca_hash]
    if look.record is not None:
        for host, ca in members:
            good = ca == look.record.ca_hash
            yield Finding(
                host.name,
                good,
                "is a member of this cluster" if good else "is a member of another cluster",
                "" if good else f"its CA is {ca[:12]}..., recorded is {look.record.ca_hash[:12]}...",
            )
        return
    if len({ca for _, ca in members}) > 1:
        yield Finding(
            ", ".join(host.name for host, _ in members),
            False,
            "are members of different clusters",
            ", ".join(f"{host.name} has CA {ca[:12]}..." for host, ca in members),
        )
    else:
        yield from (_member(host, ca) for host, ca in members)


def _member(host: Host, ca: str) -> Finding:
    return Finding(host.name, True, "is a member of a cluster that is not recorded yet", f"its CA is {ca[:12]}...")
