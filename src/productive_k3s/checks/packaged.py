"""Which of K3s' packaged components shall run here: what the release carries, and nobody switched off.

Sources: docs.k3s.io, installation/packaged-components (`disable`, a file NAME.skip beside the manifest); the labels of
the pods are those of the manifests in k3s-io/k3s (coredns, local-storage, metrics-server) and of Traefik's chart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence, Tuple

from productive_k3s.checks.host import config_words
from productive_k3s.checks.judgement import passed, warned
from productive_k3s.checks.pods import SYSTEM_NAMESPACE
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.facts import Facts
from productive_k3s.doors.system import Reading
from productive_k3s.facts.pods import Pod
from productive_k3s.k3s import paths


@dataclass(frozen=True)
class Component:
    """A packaged component: its name for `disable`, what its image is called, its pods' label and its manifest."""

    name: str
    image: str
    label: Tuple[str, str]
    manifest: str

    @property
    def skip(self) -> str:
        """The file that keeps K3s from deploying it."""
        return f"{paths.DATA}/server/manifests/{self.manifest}.yaml.skip"

    def has_pod(self, pods: Sequence[Pod]) -> bool:
        """PURE: return whether one of the pods is its own."""
        key, value = self.label
        return any(pod.get("metadata", {}).get("labels", {}).get(key) == value for pod in pods)

    def is_carried(self, images: Sequence[str]) -> bool:
        """PURE: return whether a release's list of images has its image."""
        return any(self.image in image.rpartition("/")[2].partition(":")[0] for image in images)


_METRICS = "metrics-server/metrics-server-deployment"
# CoreDNS is not among them: what a cluster is without it is an error, and judged with K3s' pods. ServiceLB has pods
# only where a Service asks for it.
COMPONENTS = (
    Component("metrics-server", "metrics-server", ("k8s-app", "metrics-server"), _METRICS),
    Component("local-storage", "local-path-provisioner", ("app", "local-path-provisioner"), "local-storage"),
    Component("traefik", "traefik", ("app.kubernetes.io/name", "traefik"), "traefik"),
)


@dataclass(frozen=True)
class Packaged:
    """The components that nobody switched off: those that the release carries, and those that it does not.

    Both are empty where no list of the release's images is known: then nobody can tell what it brings along.
    """

    carried: Tuple[Component, ...] = ()
    absent: Tuple[Component, ...] = ()

    def missing(self, pods: Sequence[Pod]) -> Tuple[Component, ...]:
        """PURE: return what the release carries and has no pod yet."""
        return tuple(item for item in self.carried if not item.has_pod(pods))


async def expect_packaged(system: Reading, facts: Facts, images: Sequence[str]) -> Packaged:
    """Return the components to expect on this server's cluster; `images` is the list that its release publishes."""
    if not images:
        return Packaged()
    on = [item for item in COMPONENTS if not _is_off(item, facts.k3s.config)]
    wanted = [item for item in on if await system.stat(item.skip) is None]
    carried = tuple(item for item in wanted if item.is_carried(images))
    return Packaged(carried, tuple(item for item in wanted if item not in carried))


def judge_packaged(packaged: Packaged, pods: Sequence[Pod], seconds: float) -> Tuple[CheckResult, ...]:
    """PURE: return one check for each component that is expected."""
    check, missing = "system.packaged", packaged.missing(pods)
    here = tuple(
        warned(
            check,
            item.name,
            f"none of its pods exists after {seconds:.0f} s",
            f"no pod with the label {'='.join(item.label)} in {SYSTEM_NAMESPACE}",
            f"look for its manifest in the server's journal; if you do not need it, add {item.name} to disable",
        )
        if item in missing
        else passed(check, item.name, "it is deployed", severity="warning")
        for item in packaged.carried
    )
    return here + tuple(
        warned(
            check,
            item.name,
            "this release of K3s does not include it",
            f"no image of {item.image} is in the release's list of images",
            f"if you need it, use a release that includes it; if not, add {item.name} to disable",
        )
        for item in packaged.absent
    )


def _is_off(item: Component, config: Mapping[str, Any]) -> bool:
    # Traefik comes as a chart, and without the Helm controller nobody installs one.
    no_charts = item.name == "traefik" and "true" in map(str.lower, config_words(config, "disable-helm-controller"))
    return no_charts or item.name in config_words(config, "disable")
