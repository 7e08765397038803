"""After a restart: K3s stays up for some time, and the pods that were Ready on the node become so again."""

from __future__ import annotations

from typing import FrozenSet, Optional, Tuple

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.contract.request import Request, Watch
from productive_k3s.doors.host import ReadingHost
from productive_k3s.doors.kube import KubeReading
from productive_k3s.facts import unit_state
from productive_k3s.facts.pods import Pod, is_ready, name_of, trouble, uid_of
from productive_k3s.facts.unit_state import UnitState
from productive_k3s.k3s import paths
from productive_k3s.waits import diagnosis
from productive_k3s.waits.loop import Bounds, Look, wait_until

_POLL_SECONDS = 1.0
_PODS_SHOWN = 3

# The pods, by uid, that were Ready on the node; None: the API did not say.
ReadyPods = Optional[FrozenSet[str]]


def own_kube(host: ReadingHost, request: Request) -> KubeReading:
    """Return the API as this host's node may ask it: an agent asks with its kubelet's rights."""
    return host.kube(paths.KUBELET_KUBECONFIG if request.role == "agent" else paths.ADMIN_KUBECONFIG)


async def ready_pods(host: ReadingHost, request: Request, node: str, change: str) -> ReadyPods:
    """Return which pods are Ready on the node; None, and it is said, where the API does not answer."""
    try:
        pods = await own_kube(host, request).pods(node=node)
    except ContractError as error:
        why = error.failure.evidence or error.failure.what
        host.emit(
            "note",
            f"which pods are Ready before the restart is unknown, so this run does not wait for them: {why}",
            change,
        )
        return None
    return frozenset(uid_of(pod) for pod in pods if is_ready(pod) and not _is_going(pod))


async def watch_node(
    host: ReadingHost, request: Request, watch: Watch, node: str, *, before: ReadyPods, since: float, change: str
) -> None:
    """Return once K3s has not been started again for the time of the watch, and the pods of `before` are Ready.

    A pod that has left the node is somebody else's matter. `since` is when K3s was started, in Unix seconds. Raises
    ContractError as soon as K3s is started again, and when the pods take longer than a node may.
    """
    first = await unit_state.state(host.system, request.unit)

    async def look(seconds: float) -> Look[Tuple[Pod, ...]]:
        state = await unit_state.state(host.system, request.unit)
        if (state.invocation_id, state.restarts) != (first.invocation_id, first.restarts):
            raise ContractError(await _again(host, request, state, since, seconds))
        if seconds < watch.seconds:
            return Look((), f"{node}: K3s must stay up for {watch.seconds:.0f} s")
        return await _pods(host, request, node, before)

    bounds = Bounds(watch.seconds + request.deadlines.ready, _POLL_SECONDS)
    waited = await wait_until(host, look, bounds, change)
    if not waited.is_done:
        raise ContractError(_not_ready_again(node, waited.found, waited.lacking, waited.seconds))


async def _pods(host: ReadingHost, request: Request, node: str, before: ReadyPods) -> Look[Tuple[Pod, ...]]:
    kube = own_kube(host, request)
    try:
        found = await kube.node(node)
        pods = await kube.pods(node=node) if before else ()
    except ContractError as error:
        return Look((), f"the API: {error.failure.evidence or error.failure.what}")
    if found is None or not found.ready:
        return Look((), f"node {node} is no longer Ready")
    lacking = tuple(pod for pod in pods if uid_of(pod) in (before or ()) and not is_ready(pod) and trouble(pod))
    return Look(lacking, f"pods that were Ready are not: {_named(lacking)}" if lacking else "")


def _is_going(pod: Pod) -> bool:
    return bool(pod.get("metadata", {}).get("deletionTimestamp"))


def _named(pods: Tuple[Pod, ...]) -> str:
    more = f" and {len(pods) - _PODS_SHOWN} more" if len(pods) > _PODS_SHOWN else ""
    return ", ".join(name_of(pod) for pod in pods[:_PODS_SHOWN]) + more


async def _again(host: ReadingHost, request: Request, state: UnitState, since: float, seconds: float) -> Failure:
    lines = await unit_state.journal(host.system, request.unit, since)
    return diagnosis.final_cause(lines) or Failure(
        "k3s.crash-loop",
        f"K3s was Ready, and {seconds:.0f} s later it was restarted (status {state.exit_status})",
        diagnosis.last_words(lines),
        f"see journalctl -u {request.unit} on the host",
    )


def _not_ready_again(node: str, pods: Tuple[Pod, ...], lacking: str, seconds: float) -> Failure:
    return Failure(
        "node.pods-not-ready",
        f"{node} has not recovered from its restart after {seconds:.0f} s",
        "; ".join(f"{name_of(pod)}: {trouble(pod)}" for pod in pods) or lacking,
        "run kubectl describe on these pods; if the change is the cause, restore "
        "the file; otherwise apply again to continue",
    )
