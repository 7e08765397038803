"""The published JSON Schema is the generated one, and the reference names every key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from productive_k3s.k3s import flags
from productive_k3s_infra.cluster_file.schema import MODELINE, SCHEMA_FILE, cluster_file_schema, schema_text

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_published_schema_is_current() -> None:
    # python -m productive_k3s_infra.cluster_file.schema > docs/cluster-file.schema.json
    assert (DOCS / "cluster-file.schema.json").read_text(encoding="utf-8") == schema_text()


def test_the_use_cases_are_what_their_schema_says_and_name_it() -> None:
    schema = cluster_file_schema()
    Draft202012Validator.check_schema(schema)
    files = sorted((DOCS.parent / "use-cases").glob("*/cluster.yaml"))
    assert len(files) >= 4
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert text.startswith(MODELINE), file
        assert (file.parent / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text()
        assert [error.message for error in Draft202012Validator(schema).iter_errors(yaml.safe_load(text))] == []


def test_what_the_loader_refuses_the_schema_refuses() -> None:
    document = yaml.safe_load((DOCS.parent / "use-cases/local/cluster.yaml").read_text(encoding="utf-8"))
    document["spec"]["nodes"][0]["rule"] = "server"
    assert not Draft202012Validator(cluster_file_schema()).is_valid(document)


def test_the_reference_names_every_key() -> None:
    definitions = cluster_file_schema()["$defs"]
    reference = (DOCS / "cluster-file.md").read_text(encoding="utf-8")
    models = {name: item for name, item in definitions.items() if name != "Variable"}
    keys = {key for definition in models.values() for key in definition.get("properties", {})}
    assert "hostKey" in keys
    assert [key for key in sorted(keys) if not re.search(rf"`([\w.]+\.)?{key}(\.[\w.]+)?`", reference)] == []


def test_every_key_and_flag_says_what_it_is_for() -> None:
    schema = cluster_file_schema()
    assert schema["$id"]
    silent = [path for path, item in _properties(schema, "") if not item.get("description") and "$ref" not in item]
    silent += [name for name, item in schema["$defs"].items() if not item.get("description")]
    assert [path for path in silent if "/registries/" not in path] == []
    for place in ("/K3s/properties/server/", "/Node/properties/k3s/"):
        assert sum(place in path for path, _ in _properties(schema, "")) > 80


def _properties(schema: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, item in schema.items() if isinstance(schema, dict) else ():
        if key == "properties":
            yield from ((f"{path}/{name}", value) for name, value in item.items())
        yield from _properties(item, f"{path}/{key}")


def test_numbers_and_choices_may_be_variables() -> None:
    definitions = cluster_file_schema()["$defs"]
    port = definitions["ClusterSsh"]["properties"]["port"]
    assert port["anyOf"] == [{"type": "integer", "minimum": 1, "maximum": 65535}, {"$ref": "#/$defs/Variable"}]
    assert {"$ref": "#/$defs/Variable"} in definitions["Node"]["properties"]["role"]["anyOf"]


def test_the_schema_offers_the_flags_that_may_be_written() -> None:
    k3s = cluster_file_schema()["$defs"]["K3s"]["properties"]
    assert "disable" in k3s["server"]["properties"]
    assert "disable" not in k3s["agent"]["properties"]
    assert not set(flags.RESERVED) & set(k3s["server"]["properties"])
