"""What there is at AWS, seen through OpenTofu, and the plan that belongs to it. Everything here blocks."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from productive_k3s_infra.cluster_file.model import AwsProvider, ClusterSpec
from productive_k3s_infra.errors import ProviderFailed, Refused
from productive_k3s_infra.providers.aws import desired
from productive_k3s_infra.providers.aws.document import (
    ADDRESS_PREFIX,
    NODE,
    InventoryOutput,
    Plan,
    State,
    read_inventory,
    summary,
)
from productive_k3s_infra.providers.aws.host_keys import HostKeys
from productive_k3s_infra.providers.aws.tofu import OnObject, Tofu
from productive_k3s_infra.providers.aws.workdir import WorkFolder

_STOPPED = ("stopped", "stopping")
_LOOKUPS = (desired.ALL_INSTANCES, desired.ALL_GROUPS, desired.ALL_ADDRESSES)


@dataclass(frozen=True)
class Snapshot:
    """One look.

    `existing` are the instances' attributes as AWS shows them. `adopted` are objects of ours
    that nobody has recorded, left by a run that was killed: address to id."""

    plan: Plan
    state: State
    digest: str
    program: str
    existing: Mapping[str, Mapping[str, Any]]
    addresses: Mapping[str, str]
    adopted: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def making(self) -> frozenset[str]:
        """The nodes whose instances the plan would make."""
        return frozenset(
            one.node for one in self.plan.changes if one.type == NODE and one.change.actions == ("create",)
        )

    def destroying(self) -> tuple[str, ...]:
        """Say what would go that must not go by the way."""
        return tuple(summary(tuple(one for one in self.plan.changes if one.destroys)))


@dataclass
class Ground:
    """The cluster's objects. A look writes the plan's file; `apply` does exactly what that file says."""

    spec: ClusterSpec
    work: WorkFolder
    tofu: Tofu
    keys: HostKeys
    public_key: Callable[[], str]
    _identity: str = ""

    def recorded(self) -> tuple[str, State]:
        """Return the program that was used and the state, once OpenTofu is ready."""
        program = self.tofu.version()
        self._identity = self._identity or desired.shared_identity(self.spec) or self.work.identity()
        self.work.write(desired.root_module(self.spec, self._identity, {}), {})
        if self.work.needs_init(program):
            self.tofu.init()
            self.work.initialised(program)
        state = self.tofu.state_pull()
        self._require_ours(state)
        self._identity = (state.cluster() or {}).get("id", self._identity)
        return program, state

    def look(self, choose: Callable[[frozenset[str]], Collection[str]]) -> Snapshot:
        """Snapshot at everything and plan for the nodes that are chosen from those recorded."""
        program, state = self.recorded()
        recorded = state.nodes()
        names = tuple(choose(frozenset(recorded)))
        started = state.started()
        plan = self._plan(names, recorded, {}, started)
        # Gone without us, or made by a run that was killed before it was written down.
        alive = {name: attributes for name, attributes in recorded.items() if name in plan.instances()}
        adopted = self._unrecorded(plan)
        stopped = {name for name, found in plan.instances().items() if found.get("instance_state") in _STOPPED}
        stopped &= {node.name for node in self.spec.nodes}
        key_pair = self.work.was_cut_off() and _makes(plan, desired.KEY_PAIR)
        if adopted or key_pair or stopped - started or set(recorded) & (set(names) - set(alive)):
            names = tuple(name for name in names if name in alive or self._declared(name))
            plan = self._plan_again(names, alive, adopted, started | stopped, key_pair=key_pair)
        existing = plan.instances()
        known = {str(one.get("id")) for one in existing.values()}
        unknown = tuple(found for found in plan.found(desired.ALL_INSTANCES) if found not in known)
        return Snapshot(plan, state, self.work.plan_digest(), program, existing, plan.addresses(), adopted, unknown)

    def apply(self, look: Snapshot, on_object: OnObject) -> InventoryOutput:
        """Do what the look's plan says; refused if its file is not the one that was looked at."""
        if not look.digest or look.digest != self.work.plan_digest():
            raise Refused(
                "the plan's file has changed since it was checked, so nothing was done",
                where=str(self.work.plan),
                evidence="another digest",
                remedy="run it again",
                code="aws.plan-changed",
            )
        self.keys.keep(look.making)
        self.work.begin(self._identity)
        try:
            self.tofu.apply(self.work.plan, on_object)
        finally:
            # The plan holds seeded keys. What is not done is planned anew.
            self.work.drop_plan()
        self.work.ended(self._identity)
        return self.inventory()

    def inventory(self) -> InventoryOutput:
        """Return the module's output."""
        return read_inventory(self.tofu.output("inventory"), str(self.work.path))

    def destroy(self, on_object: OnObject) -> State:
        """Destroy every object and make sure that nothing is left; return the state as it was before."""
        _, state = self.recorded()
        if self.work.was_cut_off():
            state = self._take_over(on_object)
        if state.empty:
            return state
        self._write(tuple(state.nodes()), state.nodes(), {}, running=state.started())
        self.tofu.plan(self.work.plan, self.work.variables, "-destroy")
        try:
            self.tofu.apply(self.work.plan, on_object)
            self._write((), {}, {})
            self.tofu.plan(self.work.plan, self.work.variables, "-refresh-only")
            plan = self.tofu.show(self.work.plan)
        finally:
            self.work.drop_plan()
        left = [found for address in _LOOKUPS for found in plan.found(address)]
        if left:
            raise ProviderFailed(
                "parts of the cluster still exist",
                where=self._provider.region,
                evidence=", ".join(left),
                remedy=f"check what has the tag {desired.ID_TAG}={self._identity}, and delete it manually",
                code="aws.leftovers",
            )
        return state

    def _take_over(self, on_object: OnObject) -> State:
        """Have OpenTofu write down what a killed run has left: it destroys only what it knows."""
        declared = {node.name for node in self.spec.nodes}
        look = self.look(lambda recorded: sorted(recorded | declared))
        if look.adopted:
            self._plan(tuple(look.existing), look.state.nodes(), look.adopted, look.state.started())
            self.tofu.apply(self.work.plan, on_object)
        self.work.ended(self._identity)
        return self.tofu.state_pull()

    def _plan(
        self,
        names: Collection[str],
        existing: Mapping[str, Mapping[str, Any]],
        adopted: Mapping[str, str],
        running: Collection[str],
    ) -> Plan:
        taken = {address for address in adopted if ".aws_instance." in address}
        new = [name for name in names if name not in existing and not any(f'"{name}"' in one for one in taken)]
        seeds = {name: self.keys.seed(name).private.unmask() for name in new}
        values = self._write(names, existing, adopted, running=running)
        # A plan that nobody applies goes with this run: it holds seeded keys.
        atexit.unregister(self.work.drop_plan)
        atexit.register(self.work.drop_plan)
        with self.work.secret_variables({**values, "host_keys": seeds}) as variables:
            self.tofu.plan(self.work.plan, variables)
        return self.tofu.show(self.work.plan)

    def _write(
        self,
        names: Collection[str],
        existing: Mapping[str, Mapping[str, Any]],
        adopted: Mapping[str, str],
        *,
        running: Collection[str] = (),
    ) -> dict[str, Any]:
        declared = {node.name: desired.wanted_size(self._provider, node) for node in self.spec.nodes}
        sizes = {
            name: desired.existing_size(existing[name]) if name in existing else declared[name]
            for name in names
            if name in existing or name in declared
        }
        public_key = "" if self._provider.key_pair else self.public_key()
        values = desired.variables(self.spec, sizes, self._identity, public_key=public_key, running=running)
        self.work.write(desired.root_module(self.spec, self._identity, adopted), values)
        return values

    def _plan_again(
        self,
        names: Collection[str],
        existing: Mapping[str, Mapping[str, Any]],
        adopted: dict[str, str],
        running: Collection[str],
        *,
        key_pair: bool,
    ) -> Plan:
        """Plan for what was found. A key pair cannot be looked for: its name is ours, so taking it over is tried."""
        if key_pair:
            adopted[desired.KEY_PAIR] = desired.key_name(self.spec, self._identity)
            try:
                return self._plan(names, existing, adopted, running)
            except ProviderFailed as error:
                if "non-existent" not in error.evidence:
                    raise
                del adopted[desired.KEY_PAIR]
        return self._plan(names, existing, adopted, running)

    def _unrecorded(self, plan: Plan) -> dict[str, str]:
        """Return our own objects that the plan would make a second time."""
        making = {one.address for one in plan.changes if one.change.actions == ("create",)}
        places = desired.lookups([node.name for node in self.spec.nodes])
        found = {address: plan.found(place) for address, place in places.items() if address in making}
        several = {address: ids for address, ids in found.items() if len(ids) > 1}
        if several:
            address, ids = next(iter(several.items()))
            raise ProviderFailed(
                "several objects are marked as this one, and none is recorded",
                where=address.removeprefix(ADDRESS_PREFIX),
                evidence=", ".join(ids),
                remedy="delete all but one manually, then run it again",
                code="aws.several-objects",
            )
        return {address: ids[0] for address, ids in found.items() if ids}

    def _declared(self, name: str) -> bool:
        return any(node.name == name for node in self.spec.nodes)

    def _require_ours(self, state: State) -> None:
        owner = state.cluster()
        if (owner is None and state.empty) or (owner is not None and owner.get("name") == self.spec.name):
            if "inventory" in state.outputs and state.outputs["inventory"].value is not None:
                read_inventory(state.outputs["inventory"].value, str(self.work.path))
            return
        raise Refused(
            "this state is another cluster's",
            where=str(self.work.path),
            evidence=f"it belongs to {owner.get('name') if owner else 'something that pk3s did not create'}",
            remedy="give each cluster its own state: another key, or workspace, in spec.provider.state",
            code="aws.other-state",
        )

    @property
    def _provider(self) -> AwsProvider:
        if not isinstance(self.spec.provider, AwsProvider):
            raise TypeError(f"the cluster's provider is {self.spec.provider.kind}")
        return self.spec.provider


def _makes(plan: Plan, address: str) -> bool:
    return any(one.address == address and one.change.actions == ("create",) for one in plan.changes)
