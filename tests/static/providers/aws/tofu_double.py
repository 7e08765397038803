"""OpenTofu as the provider sees it, over an account that is a dictionary. What it is told lies in files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.providers.aws.document import Plan, State

GROUP, KEY = "module.nodes.aws_security_group.nodes", "module.nodes.aws_key_pair.operator[0]"


def instance(name: str, **more: Any) -> dict[str, Any]:
    """Return an instance's attributes."""
    number = int(hashlib.sha256(name.encode()).hexdigest()[:2], 16)
    return {
        "id": f"i-{name}",
        "instance_type": "t3a.xlarge",
        "instance_state": "running",
        "private_ip": f"10.0.0.{number}",
        "public_ip": f"203.0.113.{number}",
        "ami": "ami-1",
        "root_block_device": [{"volume_size": 80}],
        "tags": {"productive-k3s/role": "server" if name.startswith("server") else "agent"},
        **more,
    }


@dataclass
class TofuDouble:
    """`account` is what there is at AWS, `recorded` what the state knows, both by address."""

    folder: Path
    account: dict[str, dict[str, Any]] = field(default_factory=dict)
    recorded: dict[str, dict[str, Any]] = field(default_factory=dict)
    cluster: dict[str, str] | None = None
    output_schema: int = 1
    strange: list[dict[str, Any]] = field(default_factory=list)
    left: dict[str, list[str]] = field(default_factory=dict)
    cut_at: str = ""
    said: list[str] = field(default_factory=list)
    names: list[list[str]] = field(default_factory=list)

    def version(self) -> str:
        return "tofu 1.10.6"

    def init(self) -> None:
        self.said.append("init")
        (self.folder / ".terraform").mkdir(exist_ok=True)

    def state_pull(self) -> State:
        resources: list[dict[str, Any]] = [self._resource(address, found) for address, found in self.recorded.items()]
        if self.cluster is not None:
            held = {"index_key": None, "attributes": {"input": {"value": self.cluster}}}
            resources.append({"mode": "managed", "type": "terraform_data", "name": "cluster", "instances": [held]})
        outputs = {"inventory": {"value": self.output("inventory")}} if self.recorded else {}
        return State.model_validate({"version": 4, "resources": resources, "outputs": outputs})

    def plan(self, target: Path, variables: Path, *more: str) -> None:
        self.said.append(" ".join(("plan", *more)))
        values = json.loads(variables.read_text())
        root = json.loads((self.folder / "main.tf.json").read_text())
        for one in root.get("import", ()):
            if one["to"] not in self.account:
                raise ProviderFailed("failed", evidence="Cannot import non-existent remote object", code="tofu.failed")
        self.names.append(sorted(values["nodes"]))
        target.write_text(json.dumps({"values": values, "root": root, "destroy": "-destroy" in more}))

    def show(self, plan: Path) -> Plan:
        found = json.loads(plan.read_text())
        known = [
            {"address": address, "values": {"ids": ids}}
            for address, ids in {**self._found(found["root"]), **self.left}.items()
        ]
        return Plan.model_validate(
            {
                "format_version": "1.2",
                "resource_changes": [*self._changes(found), *self.strange],
                "prior_state": {"values": {"root_module": {"resources": known}}},
            }
        )

    def apply(self, plan: Path, on_object: Callable[[str, str], None]) -> None:
        self.said.append("apply")
        found = json.loads(plan.read_text())
        self.cluster = found["root"]["resource"]["terraform_data"]["cluster"]["input"]
        for change in self._changes(found):
            address, actions = change["address"], change["change"]["actions"]
            if actions == ["create"]:
                on_object(address, "creating")
                self.account[address] = change["change"]["after"]
                if self.cut_at in address and self.cut_at:
                    raise ProviderFailed("killed", code="tofu.failed")
                self.recorded[address] = self.account[address]
            elif actions == ["delete"]:
                self.account.pop(address)
                self.recorded.pop(address)
            elif change["change"].get("importing"):
                self.recorded[address] = self.account[address]
            if change["type"] == "aws_ec2_instance_state":
                self.account[self._node(change["index"])]["instance_state"] = "running"

    def output(self, name: str) -> Any:
        assert name == "inventory"
        nodes = {
            str(found["index"]): {
                "role": found["tags"]["productive-k3s/role"],
                "instance_id": found["id"],
                "instance_type": found["instance_type"],
                "state": found["instance_state"],
                "image_id": found["ami"],
                "root_gb": found["root_block_device"][0]["volume_size"],
                "private_address": found["private_ip"],
                "public_address": found["public_ip"],
            }
            for address, found in self.recorded.items()
            if ".aws_instance." in address
        }
        head = {"schema": self.output_schema, "module_version": "1.0.0", "cluster": "edge", "elastic_ip": False}
        return {**head, "nodes": nodes}

    def interrupt(self) -> None:
        self.said.append("interrupt")

    def made(self, name: str, **more: Any) -> None:
        """Have an instance there and recorded, with what all of them share."""
        self.cluster = self.cluster or {"name": "edge", "id": "1d" * 16}
        for address in (GROUP, KEY):
            self.account[address] = self.recorded[address] = {"id": address.rpartition(".")[2]}
        self.account[self._node(name)] = self.recorded[self._node(name)] = {**instance(name), "index": name, **more}

    @staticmethod
    def _node(name: str) -> str:
        return f'module.nodes.aws_instance.node["{name}"]'

    def _changes(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        values = {} if found["destroy"] else found["values"]
        wanted: dict[str, dict[str, Any]] = {}
        if not found["destroy"]:
            wanted = {address: {"id": address.rpartition(".")[2]} for address in (GROUP, KEY)}
        for name, size in values.get("nodes", {}).items():
            own = {"instance_type": size["instance_type"], "root_block_device": [{"volume_size": size["root_gb"]}]}
            wanted[self._node(name)] = {**instance(name, **own), "index": name}
        started = {f'module.nodes.aws_ec2_instance_state.node["{name}"]': name for name in values.get("running", ())}
        wanted |= {address: {"index": name} for address, name in started.items()}
        imports = {one["to"]: one["id"] for one in found["root"].get("import", ())}
        return [
            self._change(address, wanted.get(address), imports.get(address))
            for address in dict.fromkeys((*wanted, *self.recorded))
        ]

    def _change(self, address: str, wanted: dict[str, Any] | None, importing: str | None) -> dict[str, Any]:
        there = self.account.get(address) if address in self.recorded or importing else None
        actions = ["no-op"] if wanted and there else ["create"] if wanted else ["delete"] if there else ["no-op"]
        change: dict[str, Any] = {"actions": actions, "before": there, "after": wanted}
        if importing:
            change["importing"] = {"id": importing}
        return {**self._named(address, wanted or there or {}), "address": address, "change": change}

    def _found(self, root: dict[str, Any]) -> dict[str, list[str]]:
        ours = (
            self.cluster is None or root["resource"]["terraform_data"]["cluster"]["input"]["id"] == self.cluster["id"]
        )
        there = {address: found for address, found in self.account.items() if ours}
        nodes = {
            f"data.aws_instances.node-{one['index']}": [one["id"]] for a, one in there.items() if ".aws_instance." in a
        }
        every = [one["id"] for address, one in there.items() if ".aws_instance." in address]
        groups = [one["id"] for address, one in there.items() if address == GROUP]
        return {**nodes, "data.aws_instances.all": every, "data.aws_security_groups.all": groups}

    def _resource(self, address: str, found: dict[str, Any]) -> dict[str, Any]:
        named = self._named(address, found)
        held = [{"index_key": found.get("index"), "attributes": found}]
        return {"mode": "managed", "type": named["type"], "name": named["name"], "instances": held}

    @staticmethod
    def _named(address: str, found: dict[str, Any]) -> dict[str, Any]:
        kind, _, rest = address.removeprefix("module.nodes.").partition(".")
        return {"mode": "managed", "type": kind, "name": rest.partition("[")[0], "index": found.get("index")}
