"""The full part: real pods on every node that ask each other, and nothing of them left, however it ends."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from productive_k3s.checks import of_trial, trial_objects
from productive_k3s.checks.expectation import Expectation
from productive_k3s.checks.judgement import failed, passed, warned
from productive_k3s.checks.of_cluster import read_warnings
from productive_k3s.checks.of_host import config_words, host_name
from productive_k3s.checks.of_pods import SYSTEM_NAMESPACE, Pod
from productive_k3s.checks.trial_objects import Trial, namespace_path
from productive_k3s.events import CheckResult
from productive_k3s.facts.model import Facts
from productive_k3s.failure import ContractError, Failure
from productive_k3s.host import Host
from productive_k3s.kube import Kube

_POLL_SECONDS = 0.25
_SAY_SECONDS = 2.0
_ACCOUNT_SECONDS = 20.0
_GONE_SECONDS = 60.0
_LOCK = "/run/lock/productive-k3s-validate.lock"
_LOCK_WAIT_SECONDS = 30.0
_INTERRUPTED = 130


def random_name() -> str:
    """Return a name that no other trial has."""
    return trial_objects.PREFIX + secrets.token_hex(4)


@dataclass(frozen=True)
class Field:
    """Where a trial takes place: the doors, what this host is, and what is expected."""

    host: Host
    kube: Kube
    facts: Facts
    expectation: Expectation


class Course:
    """A trial under way. It follows the looks at the nodes: each gets its pod as soon as it is Ready.

    So pods start while the others are still waited for. What the API refuses ends the trial and is its finding.
    """

    def __init__(self, field: Field, new_name: Callable[[], str] = random_name) -> None:
        self._field = field
        self._name = new_name()
        self._trial: Optional[Trial] = None
        self._addresses: List[str] = []
        self._asked_at: Optional[float] = None
        self._refused: Optional[CheckResult] = None

    async def begin(self) -> None:
        """Take the host's lock for trials; raises ContractError if another one runs here."""
        holder = await self._field.host.system.lock(_LOCK, _LOCK_WAIT_SECONDS)
        if holder is not None:
            remedy = "wait until it has ended, then run it again"
            raise ContractError(Failure("host.locked", "another full validation runs on this host", holder, remedy, 7))

    async def saw(self, expected: Sequence[str], ready: Sequence[str]) -> None:
        """Make what is missing for the Ready nodes; once all that are expected have a pod, they begin to ask."""
        if self._refused is not None or self._asked_at is not None or not ready:
            return
        try:
            await self._answer_on(ready)
            if self._trial is not None and set(expected) <= set(self._trial.nodes):
                await self._ask()
        except ContractError as error:
            self._refused = _refused(error, self._name if self._trial else f"{trial_objects.PREFIX}...")

    async def end(self) -> Tuple[CheckResult, ...]:
        """Wait for the findings, and return them. None if no node was ever Ready."""
        try:
            if self._trial is None or self._refused is not None:
                return (self._refused,) if self._refused is not None else ()
            began = self._asked_at if self._asked_at is not None else await self._ask()
            pods = await _wait(self._field, self._trial, began + self._trial.seconds)
        except ContractError as error:
            return (_refused(error, self._name),)
        warnings = await read_warnings(self._field.kube, self._name)
        took = await self._field.host.system.monotonic() - began
        return of_trial.judge_trial(self._trial, pods, warnings, took)

    def tried(self, node: str) -> bool:
        """Whether this node has a pod, or would have if the API had not refused the trial."""
        return self._refused is not None or (self._trial is not None and node in self._trial.nodes)

    async def remove(self) -> Tuple[CheckResult, ...]:
        """Take everything away again, also when somebody asked to stop, and when the API refused half of it."""
        return await _remove(self._field, (self._name,)) if self._trial is not None else ()

    async def _answer_on(self, ready: Sequence[str]) -> None:
        kube, place = self._field.kube, namespace_path(self._name)
        if self._trial is None:
            self._trial = await self._open()
            await kube.apply(place, trial_objects.namespace(self._trial, await self._field.host.system.now()))
            await _wait_for_account(self._field, place)
        known = len(self._trial.nodes)
        new = tuple(node for node in ready if node not in self._trial.nodes)
        self._trial = trial = replace(self._trial, nodes=(*self._trial.nodes, *new))
        for index in range(known, len(trial.nodes)):
            made = await kube.apply(f"{place}/services/answer-{index}", trial_objects.service(trial, index))
            self._addresses.append(str(made.get("spec", {}).get("clusterIP", "")))
        for index in range(known, len(trial.nodes)):
            self._field.host.require_going_on()
            await kube.apply(f"{place}/pods/answer-{index}", trial_objects.answer(trial, index))

    async def _open(self) -> Trial:
        """Design the trial, and remove what killed ones left on the way to it."""
        trial = await _design(self._field, self._name)
        await _remove_leftovers(self._field, trial)
        self._field.host.emit("note", f"two pods on each node, in namespace {self._name}")
        return trial

    async def _ask(self) -> float:
        """Make the asking pods; from now on no node comes to it any more. Returns when that was."""
        trial = self._trial
        if trial is None:
            raise TypeError("nobody answers yet")
        self._asked_at = began = await self._field.host.system.monotonic()
        for index in range(len(trial.nodes)):
            self._field.host.require_going_on()
            document = trial_objects.ask(trial, index, self._addresses)
            await self._field.kube.apply(f"{namespace_path(self._name)}/pods/ask-{index}", document)
        return began


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


async def _wait(field: Field, trial: Trial, limit: float) -> Mapping[str, Pod]:
    """Wait until every asking pod has ended or the time is up, and return all pods as they are then."""
    system, said = field.host.system, 0.0
    while True:
        pods = of_trial.by_name(await field.kube.pods(trial.namespace))
        pending = of_trial.pending(trial, pods)
        now = await system.monotonic()
        if not pending or now >= limit:
            return pods
        if now - said >= _SAY_SECONDS or said == 0.0:
            done = len(trial.nodes) - len(pending)
            field.host.emit("waiting", f"{done} of {len(trial.nodes)} nodes have asked all; not yet {pending[0]}")
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


async def _remaining(kube: Kube, name: str, asked: Dict[str, bool]) -> Optional[str]:
    """Ask for the deletion until it was accepted, then look; None if nothing runs there any more, else what is seen.

    The controller of namespaces waits 5 s before it begins (Kubernetes, pkg/controller/namespace), so the pods are
    deleted by name of their kind; the empty namespace then ends by itself, which nobody has to wait for.
    """
    place = namespace_path(name)
    try:
        if not asked[name]:
            await kube.delete(f"{place}/pods")
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
