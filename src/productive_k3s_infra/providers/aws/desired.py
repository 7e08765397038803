"""PURE: from the cluster file to what OpenTofu is given: the root module and the values of its variables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from productive_k3s_infra.cluster_file.model import AwsProvider, ClusterSpec, Node

PROVIDER_VERSION = ">= 5.100.0, < 7.0.0"
OPENTOFU_VERSION = ">= 1.10.0"
DEFAULT_TYPE, DEFAULT_DISK = "t3a.xlarge", "80G"
GROUP, KEY_PAIR = "module.nodes.aws_security_group.nodes", "module.nodes.aws_key_pair.operator[0]"
NODE_TAG, ID_TAG = "productive-k3s/node", "productive-k3s/id"
ALL_INSTANCES, ALL_GROUPS, ALL_ADDRESSES = "data.aws_instances.all", "data.aws_security_groups.all", "data.aws_eips.all"
VARIABLES = (
    "cluster",
    "nodes",
    "allowed_cidrs",
    "public_key",
    "key_name",
    "key_pair",
    "host_keys",
    "architecture",
    "image_id",
    "vpc_id",
    "subnet_id",
    "elastic_ip",
    "running",
    "tags",
)
# What no stop undoes: `terminated` and `shutting-down` are on their way out.
_ALIVE = ["pending", "running", "stopping", "stopped"]


@dataclass(frozen=True)
class Size:
    """What an instance is: what the file says, or what there is."""

    role: str
    instance_type: str
    root_gb: int
    private_ip: str | None = None


def wanted_size(provider: AwsProvider, node: Node) -> Size:
    """Return what the file says of a node's instance."""
    machine = node.machine.over(provider.machine)
    return Size(node.role, machine.type or DEFAULT_TYPE, gigabytes(machine.disk or DEFAULT_DISK), node.address)


def gigabytes(text: str) -> int:
    """Return the size of a disk, which the file's rules let be written as 80G only."""
    return int(text.removesuffix("G"))


def existing_size(attributes: Mapping[str, Any]) -> Size:
    """Return what a recorded instance is; its role is a tag."""
    disks = attributes.get("root_block_device") or [{}]
    tags = attributes.get("tags") or {}
    return Size(
        tags.get("productive-k3s/role", "agent"),
        attributes["instance_type"],
        int(disks[0].get("volume_size") or 0),
        attributes.get("private_ip"),
    )


def differences(wanted: Size, existing: Size) -> tuple[str, ...]:
    """Say what of a living instance is not as the file says; no part of it changes while it lives."""
    rows = (
        ("the role", existing.role, wanted.role),
        ("the instance type", existing.instance_type, wanted.instance_type),
        ("the root disk", f"{existing.root_gb}G", f"{wanted.root_gb}G"),
        ("the private address", existing.private_ip, wanted.private_ip or existing.private_ip),
    )
    return tuple(f"{what} is {there}, the file says {asked}" for what, there, asked in rows if there != asked)


def variables(
    spec: ClusterSpec,
    nodes: Mapping[str, Size],
    identity: str,
    *,
    public_key: str,
    running: Collection[str] = (),
) -> dict[str, Any]:
    """Return the values of the module's variables, without what is secret."""
    provider = _aws(spec)
    return {
        "cluster": spec.name,
        "nodes": {
            name: {
                "role": size.role,
                "instance_type": size.instance_type,
                "root_gb": size.root_gb,
                "private_ip": size.private_ip,
            }
            for name, size in nodes.items()
        },
        "allowed_cidrs": {
            "ssh": list(provider.allowed_cidrs.ssh),
            "api": list(provider.allowed_cidrs.api),
            "http": list(provider.allowed_cidrs.http),
        },
        "public_key": None if provider.key_pair else public_key,
        "key_name": None if provider.key_pair else key_name(spec, identity),
        "key_pair": provider.key_pair,
        "host_keys": {},
        "architecture": provider.architecture,
        "image_id": provider.image_id,
        "vpc_id": provider.vpc_id,
        "subnet_id": provider.subnet_id,
        "elastic_ip": provider.elastic_ip,
        "running": sorted(running),
        "tags": {**provider.tags, ID_TAG: identity},
    }


def root_module(spec: ClusterSpec, identity: str, imports: Mapping[str, str]) -> dict[str, Any]:
    """Return the root module as a document. `imports` are ours and not recorded: address to id."""
    provider = _aws(spec)
    state = provider.state
    addresses = {_label(name): _tagged(identity, **{NODE_TAG: name}) for name in _names(spec)}
    backend = {state.backend: dict(state.config)} if state is not None else {"local": {"path": "terraform.tfstate"}}
    return {
        "terraform": {
            "required_version": OPENTOFU_VERSION,
            "required_providers": {"aws": {"source": "hashicorp/aws", "version": PROVIDER_VERSION}},
            "backend": backend,
        },
        "provider": {"aws": {"region": provider.region, **({"profile": provider.profile} if provider.profile else {})}},
        "variable": {name: {"sensitive": True} if name == "host_keys" else {} for name in VARIABLES},
        # Says whose state this is, and marks what is made: an instance that a killed run left behind is found by it.
        "resource": {
            "terraform_data": {
                "cluster": {
                    "input": {"name": spec.name, "id": identity},
                    "lifecycle": {"ignore_changes": ["input"]},
                }
            }
        },
        "data": {
            "aws_instances": {
                "all": _living(identity),
                **{_label(name): _of_node(identity, name) for name in _names(spec)},
            },
            "aws_security_groups": {"all": _tagged(identity)},
            "aws_eips": {"all": _tagged(identity), **(addresses if provider.elastic_ip else {})},
        },
        "module": {"nodes": {"source": "./modules/aws-nodes", **{name: f"${{var.{name}}}" for name in VARIABLES}}},
        "output": {"inventory": {"value": "${module.nodes.inventory}"}},
        **({"import": _imports(imports)} if imports else {}),
    }


def lookups(names: Collection[str]) -> dict[str, str]:
    """Return what could be ours and not recorded: addresses of objects, and of the data sources that find them."""
    own = {f'module.nodes.aws_instance.node["{name}"]': f"data.aws_instances.{_label(name)}" for name in names}
    addresses = {f'module.nodes.aws_eip.node["{name}"]': f"data.aws_eips.{_label(name)}" for name in names}
    return {GROUP: ALL_GROUPS, **own, **addresses}


def shared_identity(spec: ClusterSpec) -> str:
    """Return the mark of the cluster's objects where a team shares the state: all of them know the same one."""
    state = _aws(spec).state
    if state is None:
        return ""
    words = json.dumps([spec.name, state.backend, dict(state.config)], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def key_name(spec: ClusterSpec, identity: str) -> str:
    """Return what the key pair is called: nobody else's is called so."""
    return f"{spec.name}-{identity[:8]}"


def _imports(imports: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"to": address, "id": found} for address, found in imports.items()]


def _names(spec: ClusterSpec) -> tuple[str, ...]:
    return tuple(node.name for node in spec.nodes)


def _label(name: str) -> str:
    return f"node-{name}"


def _tagged(identity: str, **more: str) -> dict[str, Any]:
    tags = {ID_TAG: identity, **more}
    return {"filter": [{"name": f"tag:{key}", "values": [value]} for key, value in tags.items()]}


def _living(identity: str) -> dict[str, Any]:
    return {"instance_tags": {ID_TAG: identity}, "instance_state_names": _ALIVE}


def _of_node(identity: str, name: str) -> dict[str, Any]:
    return {"instance_tags": {ID_TAG: identity, NODE_TAG: name}, "instance_state_names": _ALIVE}


def _aws(spec: ClusterSpec) -> AwsProvider:
    if not isinstance(spec.provider, AwsProvider):
        raise TypeError(f"the cluster's provider is {spec.provider.kind}")
    return spec.provider
