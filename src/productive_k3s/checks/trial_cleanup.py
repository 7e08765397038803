"""Take a trial away again, and what one that was killed left."""

from __future__ import annotations

from typing import Dict, Optional, Sequence, Tuple

from productive_k3s.checks import trial_objects
from productive_k3s.checks.judgement import passed, warned
from productive_k3s.checks.trial_objects import namespace_path
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.host import ReadingHost
from productive_k3s.doors.kube import KubeTrial
from productive_k3s.waits.loop import Bounds, Look, wait_until

_POLL_SECONDS = 0.2
_GONE_SECONDS = 60.0


async def remove_leftovers(host: ReadingHost, kube: KubeTrial, made_on: str) -> None:
    """Remove the trials that were made on this host and that nobody drives any more."""
    label = f"{trial_objects.LABEL}%3D{trial_objects.PURPOSE}"
    found = await kube.get(f"/api/v1/namespaces?labelSelector={label}")
    names = trial_objects.leftovers(found.get("items") or (), made_on, await host.system.now())
    if names:
        host.emit("note", f"removing {', '.join(names)}, left by a validation that was killed")
        await remove(host, kube, names)


async def remove(host: ReadingHost, kube: KubeTrial, names: Sequence[str]) -> Tuple[CheckResult, ...]:
    """Delete the namespaces and wait until nothing runs in them. Nothing is raised, no wish to stop is heard."""
    causes: Dict[str, str] = {}
    asked: Dict[str, bool] = dict.fromkeys(names, False)

    async def look(_: float) -> Look[None]:
        for name in list(asked):
            cause = await _remaining(kube, name, asked)
            if cause is None:
                causes.pop(name, None)
                asked.pop(name, None)
            else:
                causes[name] = cause
        return Look(None, f"the pods in {next(iter(asked))} are being deleted" if asked else "")

    await wait_until(host, look, Bounds(_GONE_SECONDS, _POLL_SECONDS, may_stop=False))
    return tuple(_removed(name, causes.get(name)) for name in names)


async def _remaining(kube: KubeTrial, name: str, asked: Dict[str, bool]) -> Optional[str]:
    """Ask for the deletion until it was accepted, then look; None if nothing runs there any more, else what is seen.

    The controller of namespaces waits 5 s before it begins (Kubernetes, pkg/controller/namespace), so the pods are
    deleted by name of their kind, and without a grace period: nobody needs anything of them any more. The empty
    namespace then ends by itself, which nobody has to wait for.
    """
    place = namespace_path(name)
    try:
        if not asked[name]:
            await kube.delete(f"{place}/pods?gracePeriodSeconds=0")
            await kube.delete(place)
            asked[name] = True
        found = await kube.get(place)
        if not found:
            return None
        pods = await kube.pods(name)
    except ContractError as error:
        return error.failure.evidence or error.failure.what
    if not pods and found.get("metadata", {}).get("deletionTimestamp"):
        return None
    status = found.get("status", {})
    said = [f"{item.get('type')}: {item.get('message', '')}" for item in status.get("conditions", ())]
    return "; ".join([f"phase {status.get('phase', '')}", f"{len(pods)} pods", *said])


def _removed(name: str, cause: Optional[str]) -> CheckResult:
    check = "pod.removed"
    if cause is None:
        return passed(check, name, "the pods of this validation are gone", severity="warning")
    what = f"the namespace of this validation is still there after {_GONE_SECONDS:.0f} s"
    return warned(check, name, what, cause, f"the next full validation removes it; or kubectl delete ns {name}")
