"""A new cluster file and the schema beside it: nothing of anybody else's is replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from productive_k3s_infra.cluster_file.first_file import NewCluster
from productive_k3s_infra.cluster_file.schema import MODELINE, SCHEMA_FILE, SCHEMA_ID, schema_text
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.inventory.build import nothing_configured
from productive_k3s_infra.operations.init import init
from productive_k3s_infra.workspace.cluster_file import write_cluster_file

VERSION = "v1.34.4+k3s1"


@pytest.mark.parametrize("provider", ["local", "multipass", "onprem"])
def test_what_init_writes_names_a_schema_that_is_there_and_fits(provider: str, tmp_path: Path) -> None:
    servers = ("10.0.0.11",) if provider == "onprem" else ()
    wanted = NewCluster(name="edge", provider=provider, version=VERSION, servers=servers)
    init(tmp_path / "cluster.yaml", wanted, {}, nothing_configured)
    text = (tmp_path / "cluster.yaml").read_text()
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    schema = json.loads((tmp_path / first.partition("=")[2]).read_text())
    assert schema["$id"] == SCHEMA_ID
    assert [error.message for error in Draft202012Validator(schema).iter_errors(yaml.safe_load(text))] == []


def test_a_schema_of_an_earlier_version_is_replaced(tmp_path: Path) -> None:
    (tmp_path / SCHEMA_FILE).write_text(json.dumps({"$id": SCHEMA_ID, "title": "an old one"}))
    write_cluster_file(tmp_path / "cluster.yaml", "kind: Cluster\n")
    assert (tmp_path / "cluster.yaml").read_text() == f"{MODELINE}kind: Cluster\n"
    assert (tmp_path / SCHEMA_FILE).read_text() == schema_text()


@pytest.mark.parametrize("content", ['{"$id": "urn:somebody"}', "[1]", "no JSON"])
def test_a_file_of_somebody_else_is_left_alone(content: str, tmp_path: Path) -> None:
    (tmp_path / SCHEMA_FILE).write_text(content)
    write_cluster_file(tmp_path / "cluster.yaml", "kind: Cluster\n")
    assert (tmp_path / SCHEMA_FILE).read_text() == content


def test_a_folder_in_the_schemas_place_costs_no_cluster_file(tmp_path: Path) -> None:
    (tmp_path / SCHEMA_FILE).mkdir()
    write_cluster_file(tmp_path / "cluster.yaml", "kind: Cluster\n")
    assert (tmp_path / "cluster.yaml").exists()


def test_a_cluster_file_that_is_there_stays_and_gets_no_schema(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("mine\n")
    with pytest.raises(BadInput):
        write_cluster_file(tmp_path / "cluster.yaml", "kind: Cluster\n")
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.yaml"]
