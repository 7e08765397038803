"""PURE: the cluster file as it is written: its keys, types and what single values may be.

Rules that look at several values at once are in `rules`, `network_rules` and `flag_rules`; they work on the tree, so
that one mistake does not hide another. The JSON Schema is generated from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from productive_k3s_infra.spec import text_checks
from productive_k3s_infra.spec.mistake import Objection, Path
from productive_k3s_infra.spec.substitute import Substituted
from productive_k3s_infra.spec.tree import EMPTY

# A machine needs an address of the local provider's /24, and memory of this computer.
MOST_MACHINES = 200
OBJECTION = "objection"


def _refuse(objection: Objection) -> PydanticCustomError:
    return PydanticCustomError(OBJECTION, "refused", {"objection": objection})


def _checked(check: Callable[[str], Objection | None]) -> AfterValidator:
    def validate(text: str) -> str:
        objection = check(text)
        if objection is not None:
            raise _refuse(objection)
        return text

    return AfterValidator(validate)


def number(value: Any) -> Any:
    """Return the number that a variable's value spells; what the file itself says stays as it is."""
    if isinstance(value, Substituted) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value


def _left_out(empty: Callable[[], Any]) -> BeforeValidator:
    # `agent:` with everything under it commented out is an empty mapping; `user:` without a name is a mistake.
    return BeforeValidator(lambda value: empty() if value is EMPTY else value)


def _jump(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = text_checks.jump_parts(value)
    if isinstance(parts, Objection):
        raise _refuse(parts)
    return parts


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Port = Annotated[int, Field(ge=1, le=65535), BeforeValidator(number)]
Address = Annotated[str, _checked(text_checks.address)]
Login = Annotated[str, _checked(text_checks.login)]
HostKeys = Annotated[
    list[Annotated[str, _checked(text_checks.host_key)]],
    BeforeValidator(_one_or_more),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Flags = Annotated[dict[str, Any], _left_out(dict)]
_File = Annotated[str, Field(min_length=1)]


class _Written(BaseModel):
    # Strict: YAML's types are taken at their word, "6443" is no number.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel)


class Metadata(_Written):
    """What the cluster is called."""

    name: Annotated[str, _checked(text_checks.cluster_name)] = Field(description="Name of the cluster.")


class Provider(_Written):
    """Where the machines come from."""

    kind: Literal["local", "onprem"] = Field(
        description="local: machines on this computer, made and destroyed by pk3s. onprem: hosts that exist."
    )


class Jump(_Written):
    """A host through which the others are reached."""

    address: Address = Field(description="Where it is reached.")
    user: Login | None = Field(default=None, description="User to log in as. Default: the host's own `user`.")
    port: Port = Field(default=22, description="Port of its SSH server.")
    key: _File | None = Field(default=None, description="Private key for it. Default: the host's own `key`.")
    host_key: HostKeys = Field(default=[], description="Its public host key, one or several.")


class Ssh(_Written):
    """How hosts are reached."""

    user: Login | None = Field(default=None, description="User to log in as. Default: root.")
    port: Port | None = Field(default=None, description="Port of the SSH server. Default: 22.")
    key: _File | None = Field(
        default=None,
        description="Private key; relative to the cluster file, ~ is your home. Default: the agent's, usual keys.",
    )
    jump: Annotated[Jump, BeforeValidator(_jump)] | None = Field(
        default=None, description="Host to go through: user@host:port, or a mapping."
    )


class NodeSsh(Ssh):
    """How one node is reached; what is left out is taken from spec.ssh."""

    address: Address | None = Field(default=None, description="Where SSH reaches it. Default: the node's own address.")


class Artifacts(_Written):
    """Where K3s' release comes from, and how it gets to the hosts."""

    source: _File = Field(
        default="release", description="release (GitHub), a mirror's URL, or a directory shaped like both."
    )
    delivery: Literal["auto", "pull", "push"] = Field(
        default="auto",
        description="pull: hosts download. push: this computer uploads. auto: push from a directory, else pull.",
    )


class K3s(_Written):
    """What K3s shall be."""

    version: Annotated[str, _checked(text_checks.version)] = Field(description="Exact version.")
    artifacts: Annotated[Artifacts, _left_out(dict)] = Field(
        default=Artifacts(), description="Where the release comes from."
    )
    datastore: Literal["etcd", "sqlite"] = Field(
        default="etcd", description="etcd can grow to three servers; sqlite cannot."
    )
    tls_san: Annotated[list[Address], _left_out(list)] = Field(
        default=[], description="Further names and addresses in the API's certificate."
    )
    server: Flags = Field(default={}, description="K3s flags of servers, long names without dashes.")
    agent: Flags = Field(default={}, description="K3s flags of agents, long names without dashes.")


class Node(_Written):
    """One node, or with `count` several alike."""

    name: str = Field(description="Name of the node; with count, name-1, name-2 and so on.")
    role: Literal["server", "agent"] = Field(description="What K3s is there.")
    address: Address | None = Field(
        default=None, description="onprem: where the other nodes reach it; an address or a name."
    )
    count: Annotated[int, Field(ge=1, le=MOST_MACHINES), BeforeValidator(number)] | None = Field(
        default=None, description="local: how many machines of this kind."
    )
    host_key: HostKeys = Field(default=[], description="onprem: its public SSH host key, one or several.")
    labels: Annotated[dict[str, str], _left_out(dict)] = Field(
        default={}, description="Labels, set when the node joins."
    )
    taints: Annotated[list[str], _left_out(list)] = Field(default=[], description="Taints, set when the node joins.")
    ssh: Annotated[NodeSsh, _left_out(dict)] = Field(default=NodeSsh(), description="How this node is reached.")


class Spec(_Written):
    """The wish."""

    provider: Provider = Field(description="Where the machines come from.")
    ssh: Annotated[Ssh, _left_out(dict)] = Field(
        default=Ssh(), description="How hosts are reached, unless a node says it."
    )
    k3s: K3s = Field(alias="k3s", description="What K3s shall be.")
    nodes: list[Node] = Field(description="The nodes; the first server is the registration address.")


class ClusterDocument(_Written):
    """A cluster file of productive-k3s."""

    api_version: Literal["productive-k3s/v1alpha1"] = Field(description="Version of this file's form.")
    kind: Literal["Cluster"] = Field(description="Always Cluster.")
    metadata: Metadata = Field(description="What the cluster is called.")
    spec: Spec = Field(description="The wish.")


def keys_at(path: Path) -> tuple[str, ...]:
    """Return the keys that the mapping at a path may have."""
    model = ClusterDocument
    for part in path:
        if isinstance(part, int):
            continue
        inner = [item.annotation for item in model.model_fields.values() if item.alias == part]
        models = [item for annotation in inner for item in _models(annotation)]
        if not models:
            return ()
        model = models[0]
    return tuple(item.alias or name for name, item in model.model_fields.items())


def _models(annotation: Any) -> list[type[Any]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for item in get_args(annotation) for model in _models(item)]
