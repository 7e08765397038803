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

from productive_k3s_infra.cluster_file import registries, text_checks
from productive_k3s_infra.cluster_file.mistake import Objection, Path
from productive_k3s_infra.cluster_file.substitute import Substituted
from productive_k3s_infra.cluster_file.tree import EMPTY

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


def truth(value: Any) -> Any:
    """Return the truth value that a variable's value spells; what the file itself says stays as it is."""
    return value == "true" if isinstance(value, Substituted) and value in {"true", "false"} else value


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
Registries = Annotated[dict[str, Any], _left_out(dict), WithJsonSchema(registries.SCHEMA)]
_File = Annotated[str, Field(min_length=1)]


class _Written(BaseModel):
    # Strict: YAML's types are taken at their word, "6443" is no number.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel)


class Metadata(_Written):
    """What the cluster is called."""

    name: Annotated[str, _checked(text_checks.cluster_name)] = Field(description="Name of the cluster.")


class Machine(_Written):
    """The size of a machine that is made."""

    cpus: Annotated[int, Field(ge=1, le=256), BeforeValidator(number)] | None = Field(
        default=None, description="multipass: number of CPUs. Default: 2."
    )
    memory: Annotated[str, _checked(text_checks.size)] | None = Field(
        default=None, description="multipass: memory, as 4G or 512M. Default: 4G."
    )
    disk: Annotated[str, _checked(text_checks.size)] | None = Field(
        default=None, description="Root disk, as 40G. Default: 20G (multipass), 80G (aws)."
    )
    type: Annotated[str, _checked(text_checks.instance_type)] | None = Field(
        default=None, description="aws: instance type. Default: t3a.xlarge."
    )


Cidrs = list[Annotated[str, _checked(text_checks.cidr)]]


class AllowedCidrs(_Written):
    """From where the machines may be reached. Nothing is detected, and nothing is open that is not written here."""

    ssh: Annotated[Cidrs, Field(min_length=1)] = Field(description="Networks from which SSH is allowed.")
    api: Annotated[Cidrs, Field(min_length=1)] = Field(description="Networks from which the API is allowed.")
    http: Annotated[Cidrs, _left_out(list)] = Field(
        default=[], description="Networks from which ports 80 and 443 are allowed. Default: none."
    )


class State(_Written):
    """Where OpenTofu keeps its state."""

    backend: Annotated[str, _checked(text_checks.word)] = Field(description="Name of an OpenTofu backend, as s3.")
    config: Annotated[dict[str, str], _left_out(dict)] = Field(
        default={}, description="The backend's settings; secrets belong in the environment."
    )


class Provider(_Written):
    """Where the machines come from; the other keys are for the kinds that their descriptions name."""

    kind: Literal["local", "multipass", "onprem", "aws"] = Field(
        description="local, multipass: machines on this computer. aws: machines there. onprem: hosts that exist."
    )
    machine: Annotated[Machine, _left_out(dict)] = Field(
        default=Machine(), description="multipass, aws: size of the machines, unless a node says it."
    )
    image: Annotated[str, _checked(text_checks.image)] | None = Field(
        default=None, description="multipass: image to launch. Default: 24.04."
    )
    region: Annotated[str, _checked(text_checks.region)] | None = Field(default=None, description="aws: the region.")
    profile: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="aws: profile of the AWS configuration. Default: the usual chain."
    )
    architecture: Literal["amd64", "arm64"] = Field(
        default="amd64", description="aws: architecture of the image; it has to be that of the instance types."
    )
    allowed_cidrs: AllowedCidrs | None = Field(default=None, description="aws: from where machines may be reached.")
    vpc_id: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="aws: an existing VPC, with subnetId. Default: the region's default VPC."
    )
    subnet_id: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="aws: a subnet of that VPC."
    )
    elastic_ip: Annotated[bool, BeforeValidator(truth)] = Field(
        default=False, description="aws: a public address that outlives a stop of the machine."
    )
    key_pair: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="aws: an existing key pair. Default: one is made from your public key."
    )
    image_id: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="aws: image of new machines. Default: the newest Ubuntu 24.04 when they are made."
    )
    tags: Annotated[dict[str, str], _left_out(dict)] = Field(
        default={}, description="aws: further tags of everything that is made."
    )
    state: State | None = Field(
        default=None, description="aws: where OpenTofu keeps its state. Default: the cluster directory."
    )


class Jump(_Written):
    """A host through which the others are reached."""

    address: Address = Field(description="Where it is reached.")
    user: Login | None = Field(
        default=None, description="User to log in as. Default: ~/.ssh/config's, else the host's own `user`."
    )
    port: Port | None = Field(default=None, description="Port of its SSH server. Default: ~/.ssh/config's, else 22.")
    key: _File | None = Field(default=None, description="Private key for it. Default: the host's own `key`.")
    host_key: HostKeys = Field(default=[], description="Its public host key, one or several.")


class Ssh(_Written):
    """How hosts are reached."""

    user: Login | None = Field(default=None, description="User to log in as. Default: ~/.ssh/config's, else root.")
    port: Port | None = Field(default=None, description="Port of the SSH server. Default: ~/.ssh/config's, else 22.")
    key: _File | None = Field(
        default=None,
        description="Private key; relative to the cluster file, ~ is your home. Default: the agent's, usual keys.",
    )
    jump: Annotated[Jump, BeforeValidator(_jump)] | None = Field(
        default=None, description="Host to go through: user@host:port, or a mapping."
    )


class ClusterSsh(Ssh):
    """How hosts are reached, unless a node says it."""

    via: Literal["public", "private"] | None = Field(
        default=None, description="aws: which address SSH and the kubeconfig use. Default: public."
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


class Proxy(_Written):
    """The proxy that leads hosts to the internet."""

    http: Annotated[str, _checked(text_checks.proxy)] | None = Field(
        default=None, description="URL of the proxy for http://. With a password in it, write ${NAME}."
    )
    https: Annotated[str, _checked(text_checks.proxy)] | None = Field(
        default=None, description="URL of the proxy for https://."
    )
    no_proxy: Annotated[list[Annotated[str, _checked(text_checks.no_proxy)]], _left_out(list)] = Field(
        default=[],
        description="Reached directly: addresses, networks, domains. The nodes' and the cluster's own are added.",
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
    registration_address: Address | None = Field(
        default=None, description="Where nodes join. Default: the first server's address."
    )
    api_address: Address | None = Field(
        default=None, description="What the kubeconfig names. Default: the first server's public address, else its own."
    )
    tls_san: Annotated[list[Address], _left_out(list)] = Field(
        default=[], description="Further names and addresses in the API's certificate."
    )
    proxy: Annotated[Proxy, _left_out(dict)] | None = Field(
        default=None, description="Proxy of K3s, its images and the hosts' own downloads. Default: none."
    )
    registries: Registries | None = Field(
        default=None, description="Mirrors and logins of image registries, in the words of K3s' registries.yaml."
    )
    server: Flags = Field(default={}, description="K3s flags of servers, long names without dashes.")
    agent: Flags = Field(default={}, description="K3s flags of agents, long names without dashes.")


class Node(_Written):
    """One node, or with `count` several alike."""

    name: str = Field(description="Name of the node; with count, name-1, name-2 and so on.")
    role: Literal["server", "agent"] = Field(description="What K3s is there.")
    address: Address | None = Field(
        default=None,
        description="Where the other nodes reach it. onprem: address or name. aws: a free one of the subnet.",
    )
    public_address: Address | None = Field(
        default=None, description="onprem: where people reach it from outside; it is put into the certificate."
    )
    count: Annotated[int, Field(ge=1, le=MOST_MACHINES), BeforeValidator(number)] | None = Field(
        default=None, description="local, multipass, aws: how many machines of this kind."
    )
    machine: Annotated[Machine, _left_out(dict)] = Field(
        default=Machine(), description="multipass, aws: size of its machine. Default: that of the provider."
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
    ssh: Annotated[ClusterSsh, _left_out(dict)] = Field(
        default=ClusterSsh(), description="How hosts are reached, unless a node says it."
    )
    k3s: K3s = Field(alias="k3s", description="What K3s shall be.")
    hosts_file: Annotated[bool, BeforeValidator(truth)] = Field(
        default=False, description="Whether the nodes' names are written into the hosts' /etc/hosts."
    )
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
