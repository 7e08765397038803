"""One rule in this computer's firewall: the machines of a set reach each other.

With br_netfilter, which a kubelet needs, the kernel shows what passes a bridge to iptables' FORWARD chain, and Docker
sets the policy of that chain to DROP (Docker docs, "Packet filtering and firewalls").
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from productive_k3s_infra import _process

_CHAIN = "FORWARD"
# -w: other programs change the rules too, and hold a lock while they do.
_IPTABLES = ("iptables", "-w", "10")


def ensure_rule(bridge: str, folder: Path) -> None:
    """Let what comes from the set's bridge go to the set's bridge; does nothing where there is no iptables."""
    if shutil.which("iptables") is None or rules_of(folder):
        return
    match = ("-i", bridge, "-o", bridge, "-m", "comment", "--comment", _comment(folder))
    _process.run((*_IPTABLES, "-I", _CHAIN, *match, "-j", "ACCEPT"))


def remove_rules(folder: Path) -> None:
    """Remove the set's rule."""
    for rule in rules_of(folder):
        _process.run((*_IPTABLES, "-D", *shlex.split(rule)), check=False)


def rules_of(folder: Path) -> tuple[str, ...]:
    """List the rules of a set as iptables would take them after -A."""
    if shutil.which("iptables") is None:
        return ()
    listed = _process.run((*_IPTABLES, "-S", _CHAIN), check=False).stdout
    return tuple(parse_rules(listed, _comment(folder)))


def parse_rules(listed: str, comment: str) -> Iterator[str]:
    """Find in the listing of `iptables -S` the rules with a comment."""
    for line in listed.splitlines():
        words = shlex.split(line)
        if words[:1] == ["-A"] and "--comment" in words and words[words.index("--comment") + 1] == comment:
            yield line.removeprefix("-A ")


def _comment(folder: Path) -> str:
    return f"productive-k3s machines {folder}"
