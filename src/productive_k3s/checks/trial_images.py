"""Which image the pods of a trial run: one that is there, by what the node itself says, else by what the release says.

No image has its name here: K3s changes the version of what it brings along with its releases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from productive_k3s.checks.host import config_words
from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.kube import KubeReading
from productive_k3s.doors.system import Reading
from productive_k3s.k3s import paths
from productive_k3s.k3s.release import RELEASES, version_url

# It answers over HTTP, asks, and resolves names. K3s brings it along for its local storage provisioner.
_PROGRAM = "busybox"
_NET_SECONDS = 10.0
# Kubelets report every 10 s what changed.
_AGAIN_SECONDS = 5.0
_HELPER_POD = "/api/v1/namespaces/kube-system/configmaps/local-path-config"
# What a kubelet says of an image that it does not have and does not get.
_NOT_THERE = ("ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName")


@dataclass(frozen=True)
class Known:
    """What is known of images. `here` are those of this host, which is the node `host_node`; `others` by rank."""

    asked: str = ""
    host_node: str = ""
    here: Tuple[str, ...] = ()
    others: Tuple[str, ...] = ()
    on_nodes: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)


def is_usable(image: str) -> bool:
    """PURE: return whether the image has the programs that the pods run, and a name that a pod can ask for."""
    repository = image.partition("@")[0]
    last, _, tag = repository.rpartition("/")[2].partition(":")
    return bool(tag or "@" in image) and re.fullmatch(rf"(.*[-_.])?{_PROGRAM}", last) is not None


def choose(known: Known, node: str, refused: Sequence[str] = ()) -> str:
    """PURE: return the image for one node, '' if none is known. `refused` did not start there.

    First what is there: by the node's own list, and on this host by its containerd's. Then what the release names,
    then what this host and other nodes have, as all nodes of a cluster get their images in the same way.
    """
    own = [*known.on_nodes.get(node, ()), *(known.here if node == known.host_node else ())]
    elsewhere = [image for other, images in known.on_nodes.items() if other != node for image in images]
    if known.asked:
        return known.asked
    usable = [image for image in own if is_usable(image) and image not in refused]
    named = [image for image in known.others if image in usable]
    rest = [item for item in (*known.others, *known.here, *elsewhere) if is_usable(item) and item not in refused]
    return next(iter((*named, *_tags_first(usable), *rest)), "")


def _tags_first(images: Sequence[str]) -> List[str]:
    return sorted(images, key=lambda image: "@" in image)


def of_release(names: Sequence[str], registry: str) -> Tuple[str, ...]:
    """PURE: return the usable images of a release's list, from the registry that K3s is told to take instead."""
    usable = [name.strip() for name in names if is_usable(name.strip())]
    return tuple(f"{registry}/{_without_registry(name)}" if registry else name for name in usable)


def _without_registry(name: str) -> str:
    first, slash, rest = name.partition("/")
    is_registry = slash and ("." in first or ":" in first or first == "localhost")
    return rest if is_registry else name


def of_helper_pod(text: str) -> Tuple[str, ...]:
    """PURE: return the image that this K3s names for its helper pod, from the text in ConfigMap local-path-config."""
    named = re.search(r"^\s*image:\s*[\"']?([^\s\"']+)", text, re.MULTILINE)
    return (named.group(1),) if named else ()


def of_node(node: Mapping[str, Any]) -> Tuple[str, ...]:
    """PURE: return the names in a Node's list, which has its largest images only (kubelet, nodeStatusMaxImages)."""
    return tuple(str(name) for item in node.get("status", {}).get("images") or () for name in item.get("names") or ())


def image_trouble(pod: Mapping[str, Any]) -> bool:
    """PURE: return whether a pod waits for an image that its node does not have."""
    states = [item.get("state", {}) for item in pod.get("status", {}).get("containerStatuses") or ()]
    return any((state.get("waiting") or {}).get("reason") in _NOT_THERE for state in states)


async def on_this_host(system: Reading) -> Tuple[str, ...]:
    """Return the images of this host's containerd, () if it does not say."""
    done = await system.ask("images", paths.BINARY)
    return tuple(done.stdout.split()) if done.returncode == 0 else ()


async def on_node(kube: KubeReading, name: str) -> Tuple[str, ...]:
    """Return a node's own list, () if it is not there or cannot be had now."""
    try:
        return of_node(await kube.get(f"/api/v1/nodes/{name}"))
    except ContractError:
        return ()


async def named_by_cluster(kube: KubeReading) -> Tuple[str, ...]:
    """Return what K3s' own storage provisioner would run."""
    storage = await kube.get(_HELPER_POD)
    return of_helper_pod(str(storage.get("data", {}).get("helperPod.yaml", "")))


async def named_by_release(system: Reading, version: str) -> Tuple[str, ...]:
    """Return the list that K3s publishes for a version; () where it cannot be had, and so the images neither."""
    try:
        answer = await system.get(f"{version_url(RELEASES, version)}/k3s-images.txt", ca=b"", timeout=_NET_SECONDS)
    except ContractError:
        return ()
    return tuple(answer.body.decode(errors="replace").split()) if answer.status == 200 else ()


class Images:
    """What becomes known of images during a trial. Nodes are asked again until they name one that can be used."""

    def __init__(self, kube: KubeReading, system: Reading, *, asked: str, host_node: str) -> None:
        self._kube = kube
        self._system = system
        self._known = Known(asked, host_node)
        self._refused: Dict[str, List[str]] = {}
        self._asked_at: Dict[str, float] = {}
        self._has_looked = False

    async def look(self, names: Sequence[str], config: Mapping[str, Any], version: str, *, may_pull: bool) -> None:
        """Look at this host and at the cluster once; `names` are those of the release, as it publishes them."""
        if self._has_looked or self._known.asked:
            return
        registry = "".join(config_words(config, "system-default-registry")[:1])
        here = await on_this_host(self._system)
        others = (*of_release(names, registry), *await named_by_cluster(self._kube))
        if not others and not any(map(is_usable, here)) and may_pull and version:
            others = of_release(await named_by_release(self._system, version), registry)
        self._known = replace(self._known, here=here, others=others)
        self._has_looked = True

    async def of(self, node: str) -> str:
        """Return the image for a node, '' if none is known yet."""
        is_listed = any(map(is_usable, self._known.on_nodes.get(node, ())))
        now = await self._system.monotonic()
        if (
            not self._known.asked
            and not is_listed
            and now - self._asked_at.get(node, -_AGAIN_SECONDS) >= _AGAIN_SECONDS
        ):
            await self._ask(node)
        return choose(self._known, node, self._refused.get(node, ()))

    async def other(self, node: str, refused: str) -> str:
        """Return another image for a node on which one did not start, '' if none is known."""
        self._refused.setdefault(node, []).append(refused)
        await self._ask(node)
        found = await self.of(node)
        return "" if found == refused else found

    async def _ask(self, node: str) -> None:
        self._asked_at[node] = await self._system.monotonic()
        listed = {**self._known.on_nodes, node: await on_node(self._kube, node)}
        self._known = replace(self._known, on_nodes=listed)
