"""PURE: the providers as a cluster file names them: the keys of each, and what each can do.

Code that finds or makes machines is in `providers`, with one row for each of these in `providers.registry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, Field

from productive_k3s_infra.cluster_file import text_checks
from productive_k3s_infra.cluster_file.values import (
    Cidr,
    Labels,
    Listed,
    Size,
    Text,
    Truth,
    Written,
    checked,
    left_out,
    number,
)

# RFC 1123, 2.1: a label of a host name; a node's name is the value of its label kubernetes.io/hostname too.
HOST_LABEL = 63


@dataclass(frozen=True)
class Capabilities:
    """What a provider can do, and what it wants of the file: rules, plans and `init` ask here, never for its kind.

    `address` says what a node's `address` is: `required`; `chosen`, where the file may choose one that is free; or
    `given` by the provider alone. `sizes` are the keys of `machine` that it has, disks in whole gigabytes or not.
    `longest_name` and `dotted_names` are about the names of nodes, `most_machines` about all of them together. Where
    `own_key` is, machines are reached with a key of pk3s' own, whatever `ssh` says. With `two_addresses` SSH may use a
    machine's public or its private one; with `public_address` the file says the public one. `first_agents` is how many
    agents a first file has.
    """

    makes_machines: bool
    address: Literal["required", "chosen", "given"]
    machines_have_way_out: bool = True
    sizes: tuple[str, ...] = ()
    whole_gigabytes: bool = False
    longest_name: int = HOST_LABEL
    dotted_names: bool = True
    most_machines: int | None = None
    own_key: bool = False
    two_addresses: bool = False
    public_address: bool = False
    default_user: str = "root"
    first_agents: int = 2


class Machine(Written):
    """The size of a machine that is made. A node's own words come before the provider's; None: not said."""

    cpus: Annotated[int, Field(ge=1, le=256), BeforeValidator(number)] | None = Field(
        default=None, description="multipass: number of CPUs. Default: 2."
    )
    memory: Size | None = Field(default=None, description="multipass: memory, as 4G or 512M. Default: 4G.")
    disk: Size | None = Field(default=None, description="Root disk, as 40G. Default: 20G (multipass), 80G (aws).")
    type: Annotated[str, checked(text_checks.instance_type)] | None = Field(
        default=None, description="aws: instance type. Default: t3a.xlarge."
    )

    def over(self, other: Machine) -> Machine:
        """Return this one, with what it does not say taken from the other."""
        said = self.model_dump(exclude_none=True)
        return other.model_copy(update=said)


class LocalProvider(Written):
    """Machines on this computer, made and destroyed by pk3s."""

    # RFC 1123 has no dot in a host name's label; 40, because file names, units and cgroups are made of two names. A set
    # has a /24 of its own, of which the machines get 11 to 250.
    capabilities: ClassVar = Capabilities(
        makes_machines=True,
        machines_have_way_out=False,
        address="given",
        longest_name=40,
        dotted_names=False,
        most_machines=240,
        own_key=True,
    )

    kind: Literal["local"] = Field(description="Machines on this computer, made and destroyed by pk3s.")


class MultipassProvider(Written):
    """Virtual machines of Multipass on this computer."""

    capabilities: ClassVar = Capabilities(
        makes_machines=True, address="given", sizes=("cpus", "memory", "disk"), own_key=True, default_user="pk3s"
    )

    kind: Literal["multipass"] = Field(description="Virtual machines of Multipass on this computer.")
    image: Annotated[str, checked(text_checks.image)] = Field(default="24.04", description="Image to launch.")
    machine: Annotated[Machine, left_out(dict)] = Field(
        default=Machine(), description="Size of the machines, unless a node says it."
    )


class OnpremProvider(Written):
    """Hosts that exist; every node has an address."""

    capabilities: ClassVar = Capabilities(makes_machines=False, address="required", public_address=True)

    kind: Literal["onprem"] = Field(description="Hosts that exist; every node has an address.")


class AllowedCidrs(Written):
    """From where the machines may be reached. Nothing is detected, and nothing is open that is not written here."""

    ssh: Annotated[Listed[Cidr], Field(min_length=1)] = Field(description="Networks from which SSH is allowed.")
    api: Annotated[Listed[Cidr], Field(min_length=1)] = Field(description="Networks from which the API is allowed.")
    http: Listed[Cidr] = Field(
        default=(), description="Networks from which ports 80 and 443 are allowed. Default: none."
    )


class State(Written):
    """A backend of OpenTofu and its settings."""

    backend: Annotated[str, checked(text_checks.word)] = Field(description="Name of an OpenTofu backend, as s3.")
    config: Labels = Field(default={}, description="The backend's settings; secrets belong in the environment.")


class AwsProvider(Written):
    """Instances of Amazon EC2, made through OpenTofu."""

    capabilities: ClassVar = Capabilities(
        makes_machines=True,
        address="chosen",
        sizes=("disk", "type"),
        whole_gigabytes=True,
        dotted_names=False,
        two_addresses=True,
        default_user="ubuntu",
        first_agents=0,
    )

    kind: Literal["aws"] = Field(description="Instances of Amazon EC2, made through OpenTofu.")
    region: Annotated[str, checked(text_checks.region)] = Field(description="The region, as eu-central-1.")
    allowed_cidrs: AllowedCidrs = Field(description="Networks for ssh and api, from where machines may be reached.")
    profile: Text | None = Field(
        default=None, description="Profile of the AWS configuration. Default: the usual chain."
    )
    machine: Annotated[Machine, left_out(dict)] = Field(
        default=Machine(), description="Size of the machines, unless a node says it."
    )
    architecture: Literal["amd64", "arm64"] = Field(
        default="amd64", description="Architecture of the image; it has to be that of the instance types."
    )
    vpc_id: Text | None = Field(
        default=None, description="An existing VPC, with subnetId. Default: the region's default VPC."
    )
    subnet_id: Text | None = Field(default=None, description="A subnet of that VPC.")
    elastic_ip: Truth = Field(default=False, description="A public address that outlives a stop of the machine.")
    key_pair: Text | None = Field(
        default=None, description="An existing key pair. Default: one is made from your public key."
    )
    image_id: Text | None = Field(
        default=None, description="Image of new machines. Default: the newest Ubuntu 24.04 when they are made."
    )
    tags: Labels = Field(default={}, description="Further tags of everything that is made.")
    state: State | None = Field(
        default=None, description="Where OpenTofu keeps its state. Default: the cluster directory."
    )


# One member for each row of `providers.registry`, in the order in which people are told of them.
Document: TypeAlias = LocalProvider | MultipassProvider | OnpremProvider | AwsProvider
DOCUMENTS: tuple[type[Document], ...] = get_args(Document)
Provider: TypeAlias = Annotated[Document, Field(discriminator="kind")]


def kind_of(document: type[Document]) -> str:
    """Return the word by which a cluster file names the provider."""
    (kind,) = document.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
    return str(kind)


def capabilities_of(kind: str | None) -> Capabilities | None:
    """Return what the provider of that kind can do, None where there is no such provider."""
    return next((document.capabilities for document in DOCUMENTS if kind_of(document) == kind), None)


def kinds_with(key: str) -> tuple[str, ...]:
    """Return the kinds of provider that have a key of `spec.provider`."""
    return tuple(
        kind_of(document) for document in DOCUMENTS if key in {item.alias for item in document.model_fields.values()}
    )
