"""The full part: real pods on every node that ask each other, and nothing of them left, however it ends."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Callable, Dict, Mapping, Optional, Sequence, Set, Tuple

from productive_k3s.checks import of_trial, trial_objects
from productive_k3s.checks.expectation import Expectation
from productive_k3s.checks.judgement import failed, passed, warned
from productive_k3s.checks.of_cluster import read_warnings
from productive_k3s.checks.of_host import config_words, host_name
from productive_k3s.checks.of_pods import SYSTEM_NAMESPACE, Pod
from productive_k3s.checks.trial_objects import Trial, namespace_path, pod_name
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import ReadingHost
from productive_k3s.doors.kube import KubeTrial

_POLL_SECONDS = 0.2
_SAY_SECONDS = 2.0
_ACCOUNT_SECONDS = 20.0
# More than a report has: two lines for each of a thousand nodes.
_LOG_LINES = 2100
_GONE_SECONDS = 60.0
_INTERRUPTED = 130


def random_name() -> str:
    """Return a name that no other trial has."""
    return trial_objects.PREFIX + secrets.token_hex(4)


@dataclass(frozen=True)
class Field:
    """Where a trial takes place: the doors, what this host is, and what is expected."""

    host: ReadingHost
    kube: KubeTrial
    facts: Facts
    expectation: Expectation


class Course:
    """A trial under way, beside the looks at the nodes. What the API refuses ends it and is its finding."""

    def __init__(self, field: Field, new_name: Callable[[], str] = random_name) -> None:
        self._field = field
        self._name = new_name()
        self._trial: Optional[Trial] = None
        self._were_ready: Set[str] = set()
        self._ready: Tuple[str, ...] = ()
        self._complete_at: Optional[float] = None
        self._refused: Optional[CheckResult] = None

    async def saw(self, expected: Sequence[str], ready: Sequence[str]) -> None:
        """Make the pods once all nodes that are expected were Ready; at once if they are joining.

        A kubelet starts what is bound to its node as soon as it has joined. Pods of a node that is not there go after
        40 s (Kubernetes, pkg/controller/podgc), so all are made once more when all nodes are there.
        """
        self._ready = tuple(ready)
        if self._refused is not None or self._complete_at is not None or not ready:
            return
        self._were_ready.update(ready)
        all_were_ready = self._were_ready.issuperset(expected)
        if not all_were_ready and (self._trial is not None or not self._field.expectation.joining):
            return
        try:
            await self._make(tuple(expected))
            if all_were_ready:
                self._complete_at = await self._field.host.system.monotonic()
        except ContractError as error:
            self._refused = _refused(error, self._name if self._trial else f"{trial_objects.PREFIX}...")

    async def end(self) -> Tuple[CheckResult, ...]:
        """Wait for the findings, and return them. Where nodes are missing the others are tried."""
        try:
            if self._complete_at is None and self._trial is None and self._ready and self._refused is None:
                await self._make(self._ready)
                self._complete_at = await self._field.host.system.monotonic()
            if self._trial is None or self._complete_at is None or self._refused is not None:
                return (self._refused,) if self._refused is not None else ()
            pods, found = await _wait(self._field, self._trial, self._complete_at + self._trial.seconds)
        except ContractError as error:
            return (_refused(error, self._name),)
        warnings = await read_warnings(self._field.kube, self._name)
        took = await self._field.host.system.monotonic() - self._complete_at
        return of_trial.judge_trial(self._trial, pods, found, warnings, took)

    def tried(self, node: str) -> bool:
        """Whether a node had its part in the trial, or would have if the API had not refused it."""
        complete = self._complete_at is not None and self._trial is not None and node in self._trial.nodes
        return self._refused is not None or complete

    async def remove(self) -> Tuple[CheckResult, ...]:
        """Take everything away again, also when somebody asked to stop, and when the API refused half of it."""
        return await _remove(self._field, (self._name,)) if self._trial is not None else ()

    async def _make(self, nodes: Tuple[str, ...]) -> None:
        """Make the trial on these nodes, or what is missing of it."""
        kube, place = self._field.kube, namespace_path(self._name)
        if self._trial is None:
            trial = replace(await _design(self._field, self._name), nodes=nodes)
            await _remove_leftovers(self._field, trial)
            self._trial = trial
            self._field.host.emit("note", f"a pod on each of {len(nodes)} nodes, in namespace {self._name}")
            await kube.apply(place, trial_objects.namespace(trial, await self._field.host.system.now()))
            await _wait_for_account(self._field, place)
        trial = self._trial
        addresses = []
        for index in range(len(trial.nodes)):
            made = await kube.apply(f"{place}/services/answer-{index}", trial_objects.service(trial, index))
            addresses.append(str(made.get("spec", {}).get("clusterIP", "")))
        for index in range(len(trial.nodes)):
            self._field.host.require_going_on()
            await kube.apply(f"{place}/pods/{pod_name(index)}", trial_objects.pod(trial, index, addresses))


def _refused(error: ContractError, subject: str) -> CheckResult:
    """Turn what the API refused into a check; an interruption goes on upwards."""
    failure = error.failure
    if failure.exit_code == _INTERRUPTED:
        raise error
    return failed("pod.made", subject, failure.what, failure.evidence, failure.remedy)


async def _design(field: Field, name: str) -> Trial:
    config, expectation = field.facts.k3s.config, field.expectation
    storage = await field.kube.get(f"{namespace_path(SYSTEM_NAMESPACE)}/configmaps/local-path-config")
    dns = await field.kube.get(f"{namespace_path(SYSTEM_NAMESPACE)}/services/kube-dns")
    return Trial(
        namespace=name,
        made_on=host_name(field.facts),
        nodes=(),
        image=trial_objects.choose_image(
            expectation.image,
            "".join(config_words(config, "system-default-registry")[:1]),
            str(storage.get("data", {}).get("helperPod.yaml", "")),
        ),
        seconds=expectation.trial_deadline,
        nodes_seconds=expectation.deadline,
        cluster_domain="".join(config_words(config, "cluster-domain")[:1]) or "cluster.local",
        dns=bool(dns),
    )


async def _remove_leftovers(field: Field, trial: Trial) -> None:
    label = f"{trial_objects.LABEL}%3D{trial_objects.PURPOSE}"
    found = await field.kube.get(f"/api/v1/namespaces?labelSelector={label}")
    now = await field.host.system.now()
    names = trial_objects.leftovers(found.get("items") or (), trial.made_on, now)
    if names:
        field.host.emit("note", f"a validation that was killed left {', '.join(names)}: removed first")
        await _remove(field, names)


async def _wait_for_account(field: Field, place: str) -> None:
    """Wait for the namespace's default account: until its controller has made it, pods are refused."""
    system = field.host.system
    limit = await system.monotonic() + _ACCOUNT_SECONDS
    while not await field.kube.get(f"{place}/serviceaccounts/default"):
        if await system.monotonic() >= limit:
            raise ContractError(
                Failure(
                    code="kube.no-account",
                    what=f"a new namespace has no default account after {_ACCOUNT_SECONDS:.0f} s",
                    evidence=f"{place}/serviceaccounts/default is not there",
                    remedy="does the controller manager run? see journalctl -u k3s on the servers",
                )
            )
        field.host.require_going_on()
        await system.sleep(_POLL_SECONDS)


async def _wait(field: Field, trial: Trial, limit: float) -> Tuple[Mapping[str, Pod], Mapping[str, str]]:
    """Wait until every pod has reached all or the time is up; return all pods as they are then, and their reports."""
    system, said = field.host.system, 0.0
    logs: Dict[str, str] = {}
    while True:
        pods = of_trial.by_name(await field.kube.pods(trial.namespace))
        asking = of_trial.asking(trial, of_trial.reports(trial, pods, logs))
        for name in (pod_name(index) for index, node in enumerate(trial.nodes) if node in asking):
            logs[name] = await field.kube.log(trial.namespace, name, lines=_LOG_LINES)
        found = of_trial.reports(trial, pods, logs)
        asking = of_trial.asking(trial, found)
        now = await system.monotonic()
        if not asking or now >= limit:
            return pods, found
        if now - said >= _SAY_SECONDS or said == 0.0:
            reached = len(trial.nodes) - len(asking)
            field.host.emit("waiting", f"{reached} of {len(trial.nodes)} nodes reach all others; not yet {asking[0]}")
            said = now
        field.host.require_going_on()
        await system.sleep(_POLL_SECONDS)


async def _remove(field: Field, names: Sequence[str]) -> Tuple[CheckResult, ...]:
    """Delete the namespaces and wait until nothing runs in them. Nothing is raised, no wish to stop is heard."""
    causes: Dict[str, str] = {}
    system, said = field.host.system, 0.0
    limit = await system.monotonic() + _GONE_SECONDS
    asked: Dict[str, bool] = dict.fromkeys(names, False)
    while True:
        for name in list(asked):
            cause = await _remaining(field.kube, name, asked)
            if cause is None:
                causes.pop(name, None)
                asked.pop(name, None)
            else:
                causes[name] = cause
        now = await system.monotonic()
        if not asked or now >= limit:
            return tuple(_removed(name, causes.get(name)) for name in names)
        if now - said >= _SAY_SECONDS or said == 0.0:
            field.host.emit("waiting", f"the pods in {next(iter(asked))} are going")
            said = now
        await system.sleep(_POLL_SECONDS)


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
