"""The full part: real pods on every node that ask each other, and nothing of them left, however it ends.

Nothing here waits for the cluster's controllers: with etcd they stand still for up to 15 s after each restart of a lone
server, until the lease of the process before has ended. So the account of the pods and the endpoints of their Services
are made here; whether the controllers work is a check of its own (`checks/controllers.py`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from productive_k3s.checks import trial_objects, trial_results
from productive_k3s.checks.cluster import has_dns, read_warnings
from productive_k3s.checks.host import config_words, host_name
from productive_k3s.checks.judgement import failed
from productive_k3s.checks.pods import SYSTEM_NAMESPACE
from productive_k3s.checks.trial_cleanup import remove, remove_leftovers
from productive_k3s.checks.trial_images import Images, image_trouble
from productive_k3s.checks.trial_objects import Trial, namespace_path, pod_name
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.expectation import Expectation
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.host import ReadingHost
from productive_k3s.doors.kube import KubeTrial
from productive_k3s.facts.pods import Pod
from productive_k3s.waits.loop import Bounds, Look, wait_until

_POLL_SECONDS = 0.2
# More than a report has: two lines for each of a thousand nodes.
_LOG_LINES = 2100
_NO_IMAGE = "no known image is present on the nodes or can be pulled"
_NEEDS_SECONDS = 30.0
# A kubelet reports within 10 s that it has other images; its first report after a start may be without any.
_NO_PULL_SECONDS = 25.0
# What the API says for moments: a server restarts, etcd elects a leader. A trial has time for them.
_PASSING = ("kube.unreachable", "kube.unavailable")
# A kubelet that could not give a pod its network tries again after 10 to 15 s (Kubernetes, pkg/kubelet/pod_workers.go);
# right after a node's start the network may be there a second later. A new pod is tried at once.
_NEW_POD_AFTER_SECONDS = (3.0, 6.0, 12.0)


def random_name() -> str:
    """Return a name that no other trial has."""
    return trial_objects.PREFIX + secrets.token_hex(4)


@dataclass(frozen=True)
class Target:
    """What is tried: the doors, what this host is, and what is expected."""

    host: ReadingHost
    kube: KubeTrial
    facts: Facts
    expectation: Expectation


@dataclass
class _Made:
    """A pod that was made: when, with which image, how often it was made anew, and since when there was one."""

    at: float
    image: str
    times: int
    since: float


class TrialRun:
    """A trial under way, beside the looks at the nodes. What the API refuses ends it and is its finding."""

    def __init__(self, target: Target, new_name: Callable[[], str] = random_name) -> None:
        self._target = target
        self._name = new_name()
        self._images = Images(
            target.kube, target.host.system, asked=target.expectation.image, host_node=host_name(target.facts)
        )
        self._trial: Optional[Trial] = None
        self._addresses: List[str] = []
        self._pods: Dict[str, _Made] = {}
        self._published: Dict[str, str] = {}
        self._were_ready: Set[str] = set()
        self._all_were_ready = False
        self._ready: Tuple[str, ...] = ()
        self._complete_at: Optional[float] = None
        self._refused: Optional[CheckResult] = None
        self._hiccup: Optional[ContractError] = None

    async def saw(self, expected: Sequence[str], ready: Sequence[str]) -> None:
        """Make the pods once all nodes that are expected were Ready; if they are joining, each as it becomes Ready.

        Nothing is begun before what it needs is known: CoreDNS' Service, where this K3s deploys it, and an image.
        """
        self._ready = tuple(ready)
        if self._refused is not None or not ready:
            return
        self._were_ready.update(ready)
        self._all_were_ready = self._were_ready.issuperset(expected)
        if not self._all_were_ready and not self._target.expectation.joining:
            return
        try:
            if self._trial is None and await self._lacks(ready):
                return
            await self._advance(tuple(expected))
            self._hiccup = None
            if self._all_were_ready and self._complete_at is None:
                self._complete_at = await self._target.host.system.monotonic()
        except ContractError as error:
            self._take(error)

    async def end(self) -> Tuple[CheckResult, ...]:
        """Wait for the findings, and return them. Where nodes are missing the others are tried."""
        may_begin = self._ready and (self._trial is None or self._all_were_ready)
        if self._refused is None and self._complete_at is None and may_begin:
            self._complete_at = await self._target.host.system.monotonic()
        if self._complete_at is None or self._refused is not None:
            return (self._refused,) if self._refused is not None else ()
        nodes = self._trial.nodes if self._trial is not None else self._ready
        pods, found = await self._wait(nodes)
        if self._hiccup is not None:
            self._refused = _refused(self._hiccup, self._name)
        if self._refused is not None or self._trial is None:
            return (self._refused,) if self._refused is not None else ()
        warnings = await read_warnings(self._target.kube, self._name)
        took = await self._target.host.system.monotonic() - self._complete_at
        return trial_results.judge_trial(self._trial, pods, found, warnings, took)

    def tried(self, node: str) -> bool:
        """Whether a node had its part in the trial, or would have if the API had not refused it."""
        complete = self._complete_at is not None and self._trial is not None and node in self._trial.nodes
        return self._refused is not None or complete

    async def remove(self) -> Tuple[CheckResult, ...]:
        """Take everything away again, also when somebody asked to stop, and when the API refused half of it."""
        if self._trial is None:
            return ()
        return await remove(self._target.host, self._target.kube, (self._name,))

    def _take(self, error: ContractError) -> None:
        """Keep what the API refused as the finding; what passes is tried again with the next look."""
        if error.failure.code in _PASSING:
            self._hiccup = error
        else:
            self._refused = _refused(error, self._name if self._trial else f"{trial_objects.PREFIX}...")

    async def _lacks(self, nodes: Sequence[str]) -> str:
        """Return what the pods need and what is not known yet, '' if all is."""
        await self._look_for_images()
        if not all([await self._images.of(node) for node in nodes]):
            return _NO_IMAGE
        if has_dns(self._target.facts) and not await self._has_dns_service():
            return "CoreDNS' Service is not there yet"
        return ""

    async def _look_for_images(self) -> None:
        wanted, k3s = self._target.expectation, self._target.facts.k3s
        await self._images.look(wanted.images, k3s.config, k3s.binary_version, may_pull=wanted.may_pull)

    async def _has_dns_service(self) -> bool:
        return bool(await self._target.kube.get(f"{namespace_path(SYSTEM_NAMESPACE)}/services/kube-dns"))

    async def _advance(self, nodes: Tuple[str, ...]) -> Tuple[Trial, Mapping[str, Pod]]:
        """Make what is missing of the trial on these nodes; return its pods as they are. Repeat it at every look."""
        trial = self._trial or await self._found(nodes)
        kube, place = self._target.kube, namespace_path(self._name)
        if not self._addresses:
            await kube.apply(place, trial_objects.namespace(trial, await self._target.host.system.now()))
            await kube.apply(trial_objects.account_path(trial), trial_objects.account(trial))
        for index in range(len(self._addresses), len(trial.nodes)):
            made = await kube.apply(f"{place}/services/answer-{index}", trial_objects.service(trial, index))
            self._addresses.append(str(made.get("spec", {}).get("clusterIP", "")))
        for index, node in enumerate(trial.nodes):
            if node in self._were_ready and node not in self._pods:
                self._target.host.require_going_on()
                await self._make_pod(trial, index, node)
        pods = trial_results.by_name(await kube.pods(self._name))
        for index, node in enumerate(trial.nodes):
            found = pods.get(pod_name(index))
            if found is not None and node in self._pods:
                await self._publish(trial, index, node, found)
                await self._renew(trial, index, node, found)
        return trial, pods

    async def _found(self, nodes: Tuple[str, ...]) -> Trial:
        """Decide on the trial. From here on there may be something to take away."""
        host, kube = self._target.host, self._target.kube
        trial = await self._design(nodes)
        await remove_leftovers(host, kube, trial.made_on)
        self._trial = trial
        host.emit("note", f"a pod on each of {len(nodes)} nodes, in namespace {self._name}")
        return trial

    async def _design(self, nodes: Tuple[str, ...]) -> Trial:
        config, wanted = self._target.facts.k3s.config, self._target.expectation
        return Trial(
            namespace=self._name,
            made_on=host_name(self._target.facts),
            nodes=nodes,
            seconds=wanted.trial_deadline,
            nodes_seconds=wanted.deadline,
            cluster_domain="".join(config_words(config, "cluster-domain")[:1]) or "cluster.local",
            dns=await self._has_dns_service(),
            dns_is_expected=has_dns(self._target.facts),
            may_pull=wanted.may_pull,
        )

    async def _make_pod(self, trial: Trial, index: int, node: str, *, times: int = 0, image: str = "") -> None:
        image = image or await self._images.of(node)
        path = f"{namespace_path(self._name)}/pods/{pod_name(index)}"
        await self._target.kube.apply(path, trial_objects.pod(trial, index, self._addresses, image))
        now = await self._target.host.system.monotonic()
        before = self._pods.get(node)
        self._pods[node] = _Made(now, image, times, before.since if before else now)

    async def _publish(self, trial: Trial, index: int, node: str, pod: Pod) -> None:
        """Tell the Services' proxies where a pod answers, once it runs."""
        status = pod.get("status", {})
        address = str(status.get("podIP") or "")
        if status.get("phase") == "Running" and address and self._published.get(node) != address:
            path = trial_objects.endpoints_path(trial, index)
            await self._target.kube.apply(path, trial_objects.endpoints(trial, index, address))
            self._published[node] = address

    async def _renew(self, trial: Trial, index: int, node: str, pod: Pod) -> None:
        """Make a pod anew that waits for nothing but its kubelet's next try, or for an image that is not there."""
        made = self._pods[node]
        if made.times >= len(_NEW_POD_AFTER_SECONDS):
            return
        age = await self._target.host.system.monotonic() - made.at
        image = made.image
        if image_trouble(pod):
            image = await self._images.other(node, made.image)
        elif age < _NEW_POD_AFTER_SECONDS[made.times] or not trial_results.has_no_sandbox(pod):
            return
        if image:
            await self._target.kube.delete(f"{namespace_path(self._name)}/pods/{pod_name(index)}?gracePeriodSeconds=0")
            await self._make_pod(trial, index, node, times=made.times + 1, image=image)

    async def _is_hopeless(self, pods: Mapping[str, Pod]) -> bool:
        """Whether a node has had time to say what images it has, has none that can be run, and cannot pull any."""
        if self._trial is None or self._trial.may_pull:
            return False
        now = await self._target.host.system.monotonic()
        waiting = [
            now - self._pods[node].since
            for index, node in enumerate(self._trial.nodes)
            if node in self._pods and image_trouble(pods.get(pod_name(index), {}))
        ]
        return any(seconds >= _NO_PULL_SECONDS for seconds in waiting)

    async def _wait(self, nodes: Tuple[str, ...]) -> Tuple[Mapping[str, Pod], Mapping[str, str]]:
        """Wait until every pod has reached all or the time is up; return the pods, and their reports."""
        logs: Dict[str, str] = {}
        pods: Mapping[str, Pod] = {}

        async def look(seconds: float) -> Look[Mapping[str, str]]:
            nonlocal pods
            try:
                lacks = await self._lacks(nodes) if self._trial is None else ""
                if lacks and seconds < _NEEDS_SECONDS:
                    return Look({}, lacks)
                if lacks == _NO_IMAGE:
                    self._refused = _no_image(", ".join(nodes))
                    return Look({})
                trial, pods = await self._advance(nodes)
                self._hiccup = None
            except ContractError as error:
                self._take(error)
                return Look({}, "" if self._refused is not None else error.failure.evidence or error.failure.what)
            asking = trial_results.asking(trial, trial_results.reports(trial, pods, logs))
            for index, node in enumerate(trial.nodes):
                if node in asking and node in self._pods:
                    logs[pod_name(index)] = await self._target.kube.log(self._name, pod_name(index), lines=_LOG_LINES)
            found = trial_results.reports(trial, pods, logs)
            asking = trial_results.asking(trial, found)
            if not asking or await self._is_hopeless(pods):
                return Look(found)
            reached = len(trial.nodes) - len(asking)
            return Look(found, f"{reached} of {len(trial.nodes)} nodes reach all others; not yet {asking[0]}")

        began = await self._target.host.system.monotonic()
        spent = began - (self._complete_at or began)
        bounds = Bounds(max(self._target.expectation.trial_deadline - spent, 0.0), _POLL_SECONDS)
        waited = await wait_until(self._target.host, look, bounds)
        return pods, waited.found


def _refused(error: ContractError, subject: str) -> CheckResult:
    """Turn what the API refused into a check; an interruption goes on upwards."""
    failure = error.failure
    if failure.exit_code == ExitCode.INTERRUPTED:
        raise error
    return failed("pod.made", subject, failure.what, failure.evidence, failure.remedy)


def _no_image(nodes: str) -> CheckResult:
    return failed(
        "pod.image",
        nodes,
        "no pod was created: no known image is present on these nodes or can be pulled",
        "none on the nodes, none in the release's list of images",
        "deliver the images to the hosts (artifacts.delivery: push), or name one in the request (image)",
    )
