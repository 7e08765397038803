"""The module aws-nodes, its README and the program that uses it say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.providers.aws import desired, workdir
from productive_k3s_infra.providers.aws.document import SCHEMA, InventoryNode, InventoryOutput, read_inventory
from static.providers.aws.test_aws_provider import FILE, SERVER

MODULE = Path(__file__).resolve().parents[4] / "opentofu" / "modules" / "aws-nodes"
_HEAD = re.compile(r'^(variable|output) "(\w+)" \{$(.*?)^\}', re.MULTILINE | re.DOTALL)


def declared(file: str) -> dict[str, str]:
    """Return the descriptions of a file's variables or outputs."""
    found = _HEAD.findall((MODULE / file).read_text())
    return {name: re.search(r'description = "(.*)"', body)[1].replace('\\"', '"') for _, name, body in found}  # type: ignore[index]


def optional(name: str) -> bool:
    body = next(body for _, found, body in _HEAD.findall((MODULE / "variables.tf").read_text()) if found == name)
    return re.search(r"^  default ", body, re.MULTILINE) is not None


def table(title: str) -> dict[str, tuple[str, ...]]:
    """Return the rows of a table of the README."""
    text = (MODULE / "README.md").read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in text.splitlines() if line[:2] == "| "
    ]
    return {row[0].strip("` "): row[1:] for row in rows[1:] if not row[0].startswith("-")}


def test_the_readme_has_every_input_and_every_output() -> None:
    inputs = declared("variables.tf")
    rows = table("Inputs")
    assert list(rows) == list(inputs)
    for name, description in inputs.items():
        default, said = rows[name][1], rows[name][-1].rstrip(" |")
        assert said.replace("\\|", "|") == description, name
        assert (default == "required") == (not optional(name)), name
    assert {name: row[-1].rstrip(" |") for name, row in table("Outputs").items()} == declared("outputs.tf")


def test_the_program_gives_every_variable_that_it_declares(tmp_path: Path) -> None:
    assert set(desired.VARIABLES) <= set(declared("variables.tf"))
    file = tmp_path / "cluster.yaml"
    file.write_text(FILE.format(nodes=SERVER, more=", keyPair: mine, elasticIp: true", ssh=""))
    spec = load_cluster_file(file, {})
    values = desired.variables(spec, {"server-1": desired.Size("server", "t3a.large", 40)}, "mark", public_key="")
    assert set(values) == set(desired.VARIABLES)
    assert (values["key_pair"], values["public_key"], values["key_name"]) == ("mine", None, None)
    assert values["allowed_cidrs"] == {"ssh": ["203.0.113.7/32"], "api": ["203.0.113.0/24"], "http": []}
    root = desired.root_module(spec, "mark", {})
    assert set(root["module"]["nodes"]) - {"source"} == set(desired.VARIABLES) == set(root["variable"])
    assert root["variable"]["host_keys"] == {"sensitive": True}
    assert root["terraform"]["backend"] == {"local": {"path": "terraform.tfstate"}}


def test_a_shared_state_has_one_mark_for_all(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    state = ", state: {backend: s3, config: {bucket: states, key: a}}"
    file.write_text(FILE.format(nodes=SERVER, more=state, ssh=""))
    spec = load_cluster_file(file, {})
    assert desired.root_module(spec, "", {})["terraform"]["backend"] == {"s3": {"bucket": "states", "key": "a"}}
    file.write_text(FILE.format(nodes=SERVER, more=state.replace("key: a", "key: b"), ssh=""))
    assert desired.shared_identity(spec) != desired.shared_identity(load_cluster_file(file, {})) != ""


def test_the_output_is_the_document() -> None:
    text = next(body for _, name, body in _HEAD.findall((MODULE / "outputs.tf").read_text()) if name == "inventory")
    keys = re.findall(r"^ +(\w+) += ", text, re.MULTILINE)
    outer = [item.alias or name for name, item in InventoryOutput.model_fields.items()]
    assert set(keys) - {"description", "value"} == {*outer, *InventoryNode.model_fields}
    assert f"schema         = {SCHEMA}" in text


def test_more_than_the_document_has_is_another_version() -> None:
    whole = {"schema": SCHEMA, "module_version": "1", "cluster": "edge", "elastic_ip": False, "nodes": {}}
    assert read_inventory(whole, "x").cluster == "edge"
    for wrong in ({**whole, "more": 1}, {"schema": SCHEMA}, None, {**whole, "schema": 9}):
        with pytest.raises(Exception, match="another version of the module"):
            read_inventory(wrong, "x")


def test_the_module_is_found_in_a_checkout_and_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert workdir.module_source() == MODULE
    packaged = tmp_path / "modules" / "aws-nodes"
    packaged.mkdir(parents=True)
    monkeypatch.setattr(workdir, "__file__", str(tmp_path / "workdir.py"))
    assert workdir.module_source() == packaged


def test_no_image_and_no_user_data_ever_replaces_a_node() -> None:
    text = (MODULE / "main.tf").read_text()
    ignored = re.search(r"ignore_changes = \[(ami.*)\]", text)
    assert ignored is not None
    assert {"ami", "user_data", "user_data_base64", "key_name"} <= set(ignored[1].split(", "))
