"""PURE: the documents in which OpenTofu and pk3s meet: the output `inventory`, a plan, a state.

Of OpenTofu's own documents only what is used is named here; it may say more. Of the output everything is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from productive_k3s_infra.errors import ProviderFailed

SCHEMA = 1
NODE, CLUSTER = "aws_instance", "terraform_data"
STARTED = "aws_ec2_instance_state"
OF_NODE = (NODE, "aws_eip", STARTED)
ADDRESS_PREFIX = "module.nodes."


class _Theirs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Ours(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InventoryNode(_Ours):
    """One instance. In a plan, what is known only after apply is None."""

    role: Literal["server", "agent"]
    instance_id: str | None = None
    instance_type: str | None = None
    state: str | None = None
    image_id: str | None = None
    root_gb: int | None = None
    private_address: str | None = None
    public_address: str | None = None


class InventoryOutput(_Ours):
    """The output `inventory` of the module."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: int = Field(alias="schema")
    module_version: str
    cluster: str
    elastic_ip: bool
    nodes: dict[str, InventoryNode]


class Change(_Theirs):
    """What a plan would do to one object."""

    actions: tuple[str, ...]
    before: Any = None
    after: Any = None
    importing: dict[str, Any] | None = None


class ResourceChange(_Theirs):
    """One object of a plan."""

    address: str
    mode: str
    type: str
    name: str
    index: str | int | None = None
    change: Change

    @property
    def node(self) -> str:
        """The node to which the object belongs alone, '' for what is shared."""
        return str(self.index) if self.type in OF_NODE and self.index is not None else ""

    @property
    def changes(self) -> bool:
        """Whether something would be done."""
        return self.mode == "managed" and (self.change.actions != ("no-op",) or self.change.importing is not None)

    @property
    def destroys(self) -> bool:
        """Whether the object, or the one that is there now, would go."""
        return "delete" in self.change.actions


class Plan(_Theirs):
    """What `tofu show -json PLAN` prints."""

    format_version: str
    resource_changes: tuple[ResourceChange, ...] = ()
    output_changes: dict[str, Change] = Field(default_factory=dict)
    prior_state: dict[str, Any] = Field(default_factory=dict)

    @property
    def changes(self) -> tuple[ResourceChange, ...]:
        """What would be done to objects at AWS."""
        return tuple(one for one in self.resource_changes if one.changes and one.type != CLUSTER)

    def instances(self) -> dict[str, dict[str, Any]]:
        """Return the attributes of the instances that exist now, by node."""
        return {
            str(one.index): one.change.before
            for one in self.resource_changes
            if one.mode == "managed" and one.type == NODE and one.change.before is not None
        }

    def addresses(self) -> dict[str, str]:
        """Return the Elastic IPs that exist now, by node."""
        return {
            str(one.index): str(one.change.before["public_ip"])
            for one in self.resource_changes
            if one.mode == "managed" and one.type == "aws_eip" and one.change.before is not None
        }

    def found(self, address: str) -> tuple[str, ...]:
        """Return the ids that a data source of the root module has found."""
        root = self.prior_state.get("values", {}).get("root_module", {})
        for one in root.get("resources", ()):
            if one.get("address") == address:
                values = one.get("values", {})
                return tuple(values.get("ids") or values.get("allocation_ids") or ())
        return ()


class _StateInstance(_Theirs):
    index_key: str | int | None = None
    attributes: dict[str, Any] = Field(default_factory=dict)


class _StateResource(_Theirs):
    mode: str
    type: str
    name: str
    instances: tuple[_StateInstance, ...] = ()


class _Output(_Theirs):
    value: Any = None


class State(_Theirs):
    """What `tofu state pull` prints; an empty state has nothing."""

    version: int = 4
    resources: tuple[_StateResource, ...] = ()
    outputs: dict[str, _Output] = Field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether no object is recorded."""
        return not any(one.instances for one in self.resources if one.mode == "managed")

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Return the attributes of the recorded instances, by node."""
        return {
            str(instance.index_key): instance.attributes
            for resource in self.resources
            if resource.mode == "managed" and resource.type == NODE
            for instance in resource.instances
        }

    def started(self) -> frozenset[str]:
        """Return the nodes that are kept running by their own object."""
        return frozenset(
            str(instance.index_key)
            for resource in self.resources
            if resource.mode == "managed" and resource.type == STARTED
            for instance in resource.instances
        )

    def cluster(self) -> dict[str, str] | None:
        """Return name and id of the cluster whose state this is, None where it is nobody's yet."""
        for resource in self.resources:
            if resource.type == CLUSTER and resource.mode == "managed":
                for instance in resource.instances:
                    found = instance.attributes.get("input", {}).get("value")
                    return dict(found) if isinstance(found, dict) else None
        return None


def read_inventory(value: Any, where: str) -> InventoryOutput:
    """Return the output of the module; raises ProviderFailed where another version of it has made it."""
    schema = value.get("schema") if isinstance(value, dict) else None
    try:
        if schema == SCHEMA:
            return InventoryOutput.model_validate(value)
        evidence = f"its schema is {schema!r}, this pk3s knows {SCHEMA}"
    except ValidationError as error:
        evidence = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
    raise ProviderFailed(
        "the output `inventory` belongs to another version of the module",
        where=where,
        evidence=evidence,
        remedy="use the pk3s that the team uses: a newer one has written this state",
        code="aws.module-version",
    )


def summary(changes: tuple[ResourceChange, ...]) -> Iterator[str]:
    """PURE: say the changes in a few words each."""
    for one in changes:
        yield f"{'/'.join(one.change.actions)} {one.address.removeprefix(ADDRESS_PREFIX)}"
