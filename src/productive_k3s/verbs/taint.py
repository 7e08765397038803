"""`node taint`: set or take away taints of a node, from a server host; they count as the cluster file's."""

from __future__ import annotations

from typing import Sequence

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import bad_input
from productive_k3s.doors.host import Host
from productive_k3s.effects.taints import set_taints
from productive_k3s.k3s import paths
from productive_k3s.plan.node import in_words, parse_taints
from productive_k3s.plan.request_rules import is_taint
from productive_k3s.verbs.token import no_server


async def run(host: Host, name: str, words: Sequence[str]) -> Result:
    """Set `KEY=VALUE:EFFECT` and take away `KEY:EFFECT-`; of a node that has them so nothing is written."""
    wrong = [word for word in words if not is_taint(word[:-1] if word.endswith("-") else word)]
    if wrong or not words:
        what = f"{wrong[0]} is not a taint" if wrong else "taint needs at least one KEY=VALUE:EFFECT or KEY:EFFECT-"
        return Result("failed", failures=(bad_input("request.flag", what, remedy="a=b:NoSchedule"),))
    if await host.system.stat(paths.ADMIN_KUBECONFIG) is None:
        return Result("refused", failures=(no_server("this command runs on a server", paths.ADMIN_KUBECONFIG),))
    taints = parse_taints(words)
    changed = await set_taints(host.kube(paths.ADMIN_KUBECONFIG), name, taints)
    notes = (f"{name}: {in_words(taints)}" if changed else f"{name} already has these taints",)
    return Result("done" if changed else "unchanged", notes=notes)
