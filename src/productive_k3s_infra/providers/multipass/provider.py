"""The provider `multipass`: the nodes of one cluster file as instances of Multipass on this computer."""

from __future__ import annotations

import asyncio
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from productive_k3s.k3s.release import MACHINES
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.cluster_file.model import MultipassProvider as Wanted
from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.hosts.ssh.first_contact import (
    OpenFleet,
    Patience,
    fleet_of_endpoints,
    identify,
    wait_for_machine,
)
from productive_k3s_infra.inventory.model import Endpoint, Location
from productive_k3s_infra.inventory.survey import Assumption, Survey, SurveyedMachine
from productive_k3s_infra.providers.multipass import instances
from productive_k3s_infra.providers.multipass.command import Multipass
from productive_k3s_infra.providers.multipass.instances import Own
from productive_k3s_infra.providers.multipass.launching import USER, Launching, Limits
from productive_k3s_infra.providers.multipass.records import load_records, remove_record, save_record
from productive_k3s_infra.providers.protocol import OnProgress
from productive_k3s_infra.providers.thread import in_thread
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.operator_key import ensure_operator_key

_SIZES = ("cpus", "memory", "disk")


@dataclass(frozen=True)
class _Found:
    """One look: our instances by node, and the nodes whose name somebody else's instance has."""

    own: Mapping[str, Own]
    taken: Mapping[str, str]


class MultipassProvider:
    """Implements `Provider`. An instance is ours if there is a record of it, and it shows the key that it was given.

    Everything else on this computer is left alone: there is no command here that touches more than one named instance.
    """

    def __init__(
        self,
        spec: ClusterSpec,
        workspace: Workspace,
        *,
        command: Multipass | None = None,
        limits: Limits | None = None,
        patience: Patience | None = None,
        open_fleet: OpenFleet = fleet_of_endpoints,
    ) -> None:
        self._spec = spec
        self._workspace = workspace
        self._command = command or Multipass()
        self._limits = limits or Limits()
        self._patience = patience or Patience()
        self._open_fleet = open_fleet

    async def survey(self) -> Survey:
        """See Provider."""
        found = await self._look()
        sizes = await self._sizes(found.own)
        declared = tuple(self._surveyed(node.name, found, sizes) for node in self._spec.nodes)
        names = {node.name for node in self._spec.nodes}
        extra = tuple(
            replace(self._surveyed(node, found, sizes), state="extra")
            for node, own in found.own.items()
            if node not in names and own.instance is not None
        )
        return Survey(True, (*declared, *extra), assumption=self._assumption(), notes=self._notes(found))

    async def create(self, names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        """See Provider. One after the other: launches at the same time fail more often (shared image, shared disk)."""
        if names:
            found = await self._look()
            for node in names:
                self._require_usable(node, found)
            key = await in_thread(ensure_operator_key, self._workspace)
            launching = Launching(self._spec, self._workspace, self._command, self._limits, key.public_text)
            for node in names:
                await launching.bring_up(node, found.own.get(node), on_progress)
            ended = await asyncio.gather(
                *(self._finish(node, launching, on_progress) for node in names), return_exceptions=True
            )
            # The others were waited for all the same: what they came to need not be done again.
            for error in ended:
                if error is not None:
                    raise error
        return await self.survey()

    async def destroy(self, names: tuple[str, ...], on_progress: OnProgress) -> None:
        """See Provider."""
        found = await self._look()
        for node in names:
            await self._remove(node, found.own.get(node), on_progress)

    async def destroy_all(self, on_progress: OnProgress) -> None:
        """See Provider."""
        found = await self._look()
        for node, own in found.own.items():
            await self._remove(node, own, on_progress)
        # Records of instances that are gone, or whose name is another's by now.
        for node in load_records(self._workspace):
            remove_record(self._workspace, node)

    async def _look(self) -> _Found:
        """Look at the instances, and ask those that run to show their key."""
        await in_thread(self._command.version)
        listed = await in_thread(self._command.list)
        own = instances.own_instances(self._spec, load_records(self._workspace), listed)
        others = await self._others(own)
        ours = {node: one for node, one in own.items() if node not in others}
        return _Found(ours, instances.taken(self._spec, ours, listed))

    async def _others(self, own: Mapping[str, Own]) -> frozenset[str]:
        """Return the nodes whose record is ours, and whose instance has been made by somebody else since."""
        endpoints = {node: self._endpoint(one) for node, one in own.items() if one.runs and one.address}
        shown = await identify(endpoints, self._open_fleet)
        asleep = [one for one in own.values() if one.instance is not None and not one.runs and one.record.image_hash]
        looks = await asyncio.gather(*(in_thread(self._command.info, one.record.instance) for one in asleep))
        # One that does not run shows no key: of another image it is certainly another.
        strange = [
            one.record.node
            for one, look in zip(asleep, looks, strict=True)
            if look is not None and look.image_hash and look.image_hash != one.record.image_hash
        ]
        return frozenset((*strange, *(node for node, who in shown.items() if who == "other")))

    async def _sizes(self, own: Mapping[str, Own]) -> Mapping[str, tuple[str, ...]]:
        """Return what differs from the file, by node; only what the file says is asked for."""
        wanted = {
            node.name: said
            for node in self._spec.nodes
            if node.name in own
            and own[node.name].instance is not None
            and (said := instances.said_size(self._spec, node)).model_dump(exclude_none=True)
        }
        keys = [(node, name) for node, said in wanted.items() for name in _SIZES if getattr(said, name) is not None]
        values = await asyncio.gather(
            *(in_thread(self._command.get, f"local.{own[node].record.instance}.{name}") for node, name in keys)
        )
        shown: dict[str, dict[str, str]] = {}
        for (node, name), value in zip(keys, values, strict=True):
            shown.setdefault(node, {})[name] = value
        return {node: instances.differences(said, shown[node]) for node, said in wanted.items()}

    def _surveyed(self, node: str, found: _Found, sizes: Mapping[str, tuple[str, ...]]) -> SurveyedMachine:
        own = found.own.get(node)
        if own is None:
            taken = found.taken.get(node)
            return SurveyedMachine(node, "missing", evidence=f"{taken} belongs to something else" if taken else "")
        location = Location(own.address, self._endpoint(own)) if own.runs and own.address else None
        return SurveyedMachine(node, own.state, location, own.evidence, sizes.get(node, ()))

    def _endpoint(self, own: Own) -> Endpoint:
        key = str(self._workspace.operator_key)
        return Endpoint(own.address, USER, key=key, host_keys=own.record.host_keys)

    def _notes(self, found: _Found) -> tuple[str, ...]:
        before = _last_addresses(self._workspace)
        moved = [
            (
                f"{node}: Multipass gave it another address, {own.address} instead of {before[node]}; "
                "the settings with the old one are planned again"
            )
            for node, own in found.own.items()
            if own.state == "running" and before.get(node, own.address) != own.address
        ]
        refused = [instances.name_taken(node, name) for node, name in found.taken.items()]
        refused += [error for node, own in found.own.items() if (error := _unusable(node, own)) is not None]
        return (*moved, *(f"{error}: apply will refuse" for error in refused))

    def _require_usable(self, node: str, found: _Found) -> None:
        """Raise before anything is made: nothing is begun that cannot be finished."""
        if node in found.taken:
            raise instances.name_taken(node, found.taken[node])
        own = found.own.get(node)
        error = _unusable(node, own) if own is not None else None
        if error is not None:
            raise error

    async def _finish(self, node: str, launching: Launching, on_progress: OnProgress) -> None:
        """Wait for the address, SSH and cloud-init, in that order; then the machine counts as made."""
        own = await launching.wait_for_address(node, on_progress)
        await wait_for_machine(
            node,
            self._endpoint(own),
            say=lambda what: on_progress(node, what),
            patience=self._patience,
            open_fleet=self._open_fleet,
        )
        image = own.instance.image_hash if own.instance is not None else ""
        save_record(self._workspace, own.record.model_copy(update={"finished": True, "image_hash": image}))
        on_progress(node, f"answers on {own.address}")

    async def _remove(self, node: str, own: Own | None, on_progress: OnProgress) -> None:
        if own is None:
            return
        if own.instance is not None:
            await in_thread(self._command.delete, own.record.instance)
        remove_record(self._workspace, node)
        on_progress(node, "destroyed")

    def _assumption(self) -> Assumption:
        provider = self._spec.provider
        if not isinstance(provider, Wanted):
            raise ProviderFailed("the cluster file does not ask for Multipass", code="multipass.failed")
        architecture = MACHINES.get(platform.machine(), "amd64")
        return Assumption("ubuntu", provider.image, architecture, "ens3")


def _unusable(node: str, own: Own) -> ProviderFailed | None:
    """Return why an instance of ours can neither be used nor made, None if there is no such reason."""
    if own.instance is not None and own.instance.state == "Deleted":
        return instances.deleted(node, own.record.instance)
    if own.instance is not None and own.instance.state == "Unknown":
        return instances.bad_state(node, own.record.instance, own.instance.state)
    return None


def _last_addresses(workspace: Workspace) -> Mapping[str, str]:
    """Return the addresses of the last apply: for a note only, nothing is decided on them."""
    try:
        document: Any = json.loads(workspace.inventory.read_text(encoding="utf-8"))
        return {str(host["name"]): str(host["address"]) for host in document["hosts"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
