"""The provider `aws`: the nodes of one cluster file as instances of Amazon EC2, made by OpenTofu."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from productive_k3s_infra.cluster_file.model import AwsProvider as Wanted
from productive_k3s_infra.cluster_file.model import ClusterSpec, Node
from productive_k3s_infra.errors import BadInput, Refused
from productive_k3s_infra.hosts.ssh.first_contact import OpenFleet, Patience, fleet_of_endpoints
from productive_k3s_infra.inventory.build import declared_endpoint
from productive_k3s_infra.inventory.model import Location
from productive_k3s_infra.inventory.survey import Assumption, MachineState, Resource, Survey, SurveyedMachine
from productive_k3s_infra.providers.aws import desired
from productive_k3s_infra.providers.aws.contact import FirstContact
from productive_k3s_infra.providers.aws.document import (
    ADDRESS_PREFIX,
    OF_NODE,
    STARTED,
    InventoryOutput,
    ResourceChange,
    State,
    summary,
)
from productive_k3s_infra.providers.aws.ground import Ground, Snapshot
from productive_k3s_infra.providers.aws.host_keys import HostKeys
from productive_k3s_infra.providers.aws.tofu import OnObject, Tofu
from productive_k3s_infra.providers.aws.workdir import WorkFolder
from productive_k3s_infra.providers.protocol import OnProgress
from productive_k3s_infra.providers.thread import finishing
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.operator_key import ensure_operator_key

_STATES: Mapping[str, MachineState] = {"running": "running", "stopped": "stopped", "stopping": "stopped"}
_SHARED = {"aws_security_group": "the security group", "aws_key_pair": "the key pair"}
T = TypeVar("T")


@dataclass(frozen=True)
class _There:
    """An instance's id and addresses."""

    instance_id: str
    private: str
    public: str


class AwsProvider:
    """Implements `Provider`. What a survey has planned is what `create` does, if the plan's file is still the same."""

    def __init__(
        self,
        spec: ClusterSpec,
        workspace: Workspace,
        *,
        tofu: Tofu | None = None,
        patience: Patience | None = None,
        open_fleet: OpenFleet = fleet_of_endpoints,
    ) -> None:
        self._spec = spec
        self._workspace = workspace
        work = WorkFolder(workspace)
        self._keys = HostKeys(work)
        self._tofu = tofu or Tofu(work.path)
        self._ground = Ground(spec, work, self._tofu, self._keys, self._public_key)
        self._contact = FirstContact(self._keys, patience or Patience(), open_fleet)
        self._look: Snapshot | None = None

    async def survey(self) -> Survey:
        """See Provider."""
        look = await self._off(lambda: self._ground.look(self._all))
        self._look = look
        return self._surveyed(look)

    async def create(self, names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        """See Provider."""
        look = await self._off(lambda: self._agreed(names))
        made: Mapping[str, _There] | None = None
        self._look = None
        if look.plan.changes:
            found = await self._off(lambda: self._ground.apply(look, self._teller(on_progress)))
            made = None if _starts(look) else self._made(found)
            if made is None:  # where it is after its start is known only after another look
                look = await self._off(lambda: self._ground.look(self._all))
        locations = made if made is not None else self._there(look)
        waiting = [name for name in locations if name in names or self._keys.seeded(name) is not None]
        ended = await asyncio.gather(
            *(self._meet(name, locations[name], on_progress) for name in waiting), return_exceptions=True
        )
        # The others were waited for all the same: what they came to need not be done again.
        for error in ended:
            if error is not None:
                raise error
        return self._surveyed(look) if made is None else self._just_made(made)

    async def destroy(self, names: tuple[str, ...], on_progress: OnProgress) -> None:
        """See Provider."""
        look = await self._off(lambda: self._ground.look(lambda recorded: sorted(recorded - set(names))))
        going = [one for one in look.plan.changes if one.destroys]
        if not going:
            return
        strange = tuple(one for one in going if one.node not in names)
        if strange:
            raise _destroys(tuple(summary(strange)), ", ".join(names))
        gone = {name: str(look.state.nodes()[name].get("id")) for name in names if name in look.state.nodes()}
        await self._off(lambda: self._ground.apply(look, self._teller(on_progress)))
        self._look = None
        self._keys.forget(gone)

    async def destroy_all(self, on_progress: OnProgress) -> None:
        """See Provider."""
        before = await self._off(lambda: self._ground.destroy(self._teller(on_progress)))
        self._look = None
        self._keys.forget({name: str(attributes.get("id")) for name, attributes in before.nodes().items()})
        self._ground.work.clear()

    def _all(self, recorded: frozenset[str]) -> tuple[str, ...]:
        declared = tuple(node.name for node in self._spec.nodes)
        return (*declared, *sorted(recorded - set(declared)))

    def _agreed(self, names: tuple[str, ...]) -> Snapshot:
        """Return the look whose plan was agreed to; a new one may change no more than that, and these machines."""
        seen = self._look
        if seen is not None and seen.making <= set(names) and seen.digest == self._ground.work.plan_digest():
            look = seen
        else:
            look = self._ground.look(lambda recorded: sorted(recorded | set(names)))
            known = {(one.address, one.change.actions) for one in seen.plan.changes} if seen is not None else set()
            more = tuple(
                one
                for one in look.plan.changes
                if one.node not in names and seen is not None and (one.address, one.change.actions) not in known
            )
            if more:
                raise Refused(
                    "there is more to change than was approved, so nothing was done",
                    where=self._spec.name,
                    evidence="; ".join(summary(more)),
                    remedy="run it again: it makes a new plan and asks",
                    code="aws.plan-changed",
                )
        going = look.destroying()
        if going:
            raise _destroys(going, self._spec.name)
        return look

    async def _meet(self, name: str, there: _There, on_progress: OnProgress) -> None:
        location = self._at(name, there)
        await self._contact.meet(name, there.instance_id, location, lambda what: on_progress(name, what))

    def _made(self, found: InventoryOutput) -> dict[str, _There] | None:
        """Return where the machines are that the output names, None where it does not know that yet."""
        there = {
            name: _There(node.instance_id, node.private_address, node.public_address or "")
            for name, node in found.nodes.items()
            if node.instance_id and node.private_address
        }
        return there if len(there) == len(found.nodes) else None

    def _there(self, look: Snapshot) -> dict[str, _There]:
        return {
            name: _There(
                str(one.get("id")),
                str(one.get("private_ip")),
                look.addresses.get(name) or str(one.get("public_ip") or ""),
            )
            for name, one in look.existing.items()
        }

    def _just_made(self, made: Mapping[str, _There]) -> Survey:
        """Return the survey after an apply that left nothing to do."""
        declared = [node.name for node in self._spec.nodes]
        machines = tuple(
            SurveyedMachine(name, "running" if name in declared else "extra", self._at(name, made[name]))
            for name in self._all(frozenset(made))
            if name in made
        )
        return Survey(owns_machines=True, machines=machines, assumption=self._assumption())

    def _assumption(self) -> Assumption:
        return Assumption("ubuntu", "24.04", self._wanted.architecture, "ens5")

    def _surveyed(self, look: Snapshot) -> Survey:
        declared = {node.name: desired.wanted_size(self._wanted, node) for node in self._spec.nodes}
        machines = tuple(self._machine(name, look, declared.get(name)) for name in self._all(frozenset(look.existing)))
        return Survey(
            owns_machines=True,
            machines=machines,
            resources=tuple(_resource(one) for one in look.plan.changes),
            assumption=self._assumption(),
            shared=tuple(_shared(look.state)),
            notes=tuple(self._notes(look)),
        )

    def _machine(self, name: str, look: Snapshot, wanted: desired.Size | None) -> SurveyedMachine:
        attributes = look.existing.get(name)
        if attributes is None:
            return SurveyedMachine(name, "missing")
        there = str(attributes.get("instance_state"))
        state = _STATES.get(there, "broken")
        evidence = f"instance {attributes.get('id')} is {there}"
        if attributes.get("id") in look.adopted.values():
            state, evidence = "broken", f"instance {attributes.get('id')} was created by an interrupted run"
        elif state == "running" and self._keys.seeded(name) is not None:
            state, evidence = "broken", f"instance {attributes.get('id')} was created, and still has its first host key"
        if wanted is None:
            return SurveyedMachine(name, "extra", self._at(name, self._there(look)[name]), evidence)
        differences = desired.differences(wanted, desired.existing_size(attributes))
        location = self._at(name, self._there(look)[name]) if state == "running" else None
        return SurveyedMachine(name, state, location, evidence, differences)

    def _at(self, name: str, there: _There) -> Location:
        node = next((one for one in self._spec.nodes if one.name == name), Node(name=name, role="agent"))
        declared = declared_endpoint(self._spec, node)
        # People on a VPN never use the public address: it is neither in their kubeconfig nor in the certificate.
        outside = "" if self._spec.ssh.via == "private" else there.public
        seed = self._keys.seeded(name)
        keys = (*self._keys.pinned(there.instance_id), *((seed,) if seed else ()))
        key = declared.key or (None if self._wanted.key_pair else str(self._workspace.operator_key))
        address = node.ssh.address or outside or there.private
        return Location(there.private, replace(declared, address=address, key=key, host_keys=keys), outside)

    def _notes(self, look: Snapshot) -> Iterator[str]:
        if look.program.startswith("terraform"):
            yield f"{look.program} is used; pk3s is tested with OpenTofu"
        if not self._wanted.elastic_ip and self._spec.ssh.via != "private":
            yield "without elasticIp, the public address of a machine changes when it is stopped"
        for use in ("ssh", "api"):
            if {"0.0.0.0/0", "::/0"} & set(getattr(self._wanted.allowed_cidrs, use)):
                yield f"allowedCidrs.{use} allows all addresses, as set in the file"
        if look.unknown:
            yield f"instances with this cluster's mark that are not recorded: {', '.join(look.unknown)}"

    def _public_key(self) -> str:
        """Return the operator's public key: that of spec.ssh.key, else the cluster directory's own."""
        named = self._spec.ssh.key
        if named is None:
            return ensure_operator_key(self._workspace).public_text
        path = Path(f"{named}.pub")
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(
                "the public half of the SSH key cannot be read, and the machines need it",
                where=str(path),
                evidence=str(error),
                remedy="write it: ssh-keygen -y -f KEY > KEY.pub; or leave spec.ssh.key out: then a key is created",
                code="aws.public-key",
            ) from error

    @property
    def _wanted(self) -> Wanted:
        if not isinstance(self._spec.provider, Wanted):
            raise TypeError(f"the cluster's provider is {self._spec.provider.kind}")
        return self._spec.provider

    def _teller(self, on_progress: OnProgress) -> OnObject:
        def tell(address: str, what: str) -> None:
            short = address.removeprefix(ADDRESS_PREFIX)
            if short.startswith("terraform_data."):
                return
            kind, _, index = short.partition('["')
            on_progress(index.rstrip('"]') if kind.partition(".")[0] in OF_NODE else "", f"{what} {kind}")

        return tell

    async def _off(self, work: Callable[[], T]) -> T:
        """Run what blocks in a thread; if the run is stopped, OpenTofu is, and it writes down what there is."""
        return await finishing(asyncio.ensure_future(asyncio.to_thread(work)), self._tofu.interrupt)


def _starts(look: Snapshot) -> bool:
    return any(one.type == STARTED for one in look.plan.changes)


def _resource(one: ResourceChange) -> Resource:
    name = one.address.removeprefix(ADDRESS_PREFIX)
    actions = set(one.change.actions)
    if one.change.importing is not None:
        return Resource(
            name, "update", one.node, f"take over {one.change.importing.get('id')}, left by an interrupted run"
        )
    if one.type == STARTED and "delete" not in actions:
        return Resource(name, "update", one.node, "start it")
    if actions == {"create", "delete"}:
        return Resource(name, "replace", one.node)
    return Resource(name, "delete" if "delete" in actions else "create" if "create" in actions else "update", one.node)


def _shared(state: State) -> Iterator[str]:
    for resource in state.resources:
        for instance in resource.instances if resource.mode == "managed" and resource.type in _SHARED else ():
            yield f"{_SHARED[resource.type]} {instance.attributes.get('id')}"


def _destroys(what: tuple[str, ...], where: str) -> Refused:
    return Refused(
        "OpenTofu would destroy more than it may, so nothing was done",
        where=where,
        evidence="; ".join(what),
        remedy="put back what was changed in the file; to move a cluster, destroy it and apply again",
        code="aws.plan-destroys",
    )
