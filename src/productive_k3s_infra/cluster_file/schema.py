"""The JSON Schema of the cluster file as it is written, for editors.

`python -m productive_k3s_infra.cluster_file.schema` prints it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from productive_k3s.k3s import flags
from productive_k3s_infra.cluster_file.document import ClusterDocument
from productive_k3s_infra.cluster_file.flag_rules import Role

_VARIABLE = {"$ref": "#/$defs/Variable"}
_FLAG_TYPES: dict[str, dict[str, Any]] = {
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "string-list": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}


def cluster_file_schema() -> dict[str, Any]:
    """Return the schema, generated from the models and the table of flags; it describes the text before substitution.

    It knows what a single value may be; the rules that look at several values are the loader's alone.
    """
    schema = ClusterDocument.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    jump = definitions["ClusterSsh"]["properties"]["jump"]
    for name in ("ClusterSsh", "NodeSsh"):
        definitions[name]["properties"]["jump"] = {
            "anyOf": [{"type": "string"}, {"$ref": "#/$defs/Jump"}],
            "description": jump["description"],
        }
    properties = definitions["K3s"]["properties"]
    roles: tuple[Role, Role] = ("server", "agent")
    for role in roles:
        properties[role] = {**_flags(role), "description": properties[role]["description"]}
    written: dict[str, Any] = _as_written(schema)
    written["$defs"]["Variable"] = {
        "description": "A value of the environment: ${NAME} or ${NAME:-default}.",
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **written}


def _flags(role: Role) -> dict[str, Any]:
    usable = [flag for flag in flags.table().flags.values() if not flags.check(role, [flag.name])]
    properties = {flag.name: _flag(flag) for flag in usable}
    # A newer K3s may have flags that are not known here; the loader tells them apart, by the version.
    return {"type": "object", "properties": properties, "additionalProperties": True}


def _flag(flag: flags.Flag) -> dict[str, Any]:
    schema = dict(_FLAG_TYPES.get(flag.type, {"type": "string"}))
    return {**schema, "enum": list(flag.allowed)} if flag.allowed else schema


def _as_written(schema: Any) -> Any:
    """Drop null, which nothing may be, and let a variable stand where a number, a truth value or a word is wanted."""
    if isinstance(schema, list):
        return [_as_written(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if {"type": "null"} in schema.get("anyOf", []):
        others = [item for item in schema["anyOf"] if item != {"type": "null"}]
        rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
        return _as_written({**rest, **(others[0] if len(others) == 1 else {"anyOf": others})})
    # A default that is a mapping says no more than its keys' own defaults do.
    kept = {key: value for key, value in schema.items() if not (key == "default" and isinstance(value, dict))}
    result = {key: _as_written(value) for key, value in kept.items() if key != "title"}
    if schema.get("type") in ("integer", "boolean") or "enum" in schema or "const" in schema:
        outside = {key: result.pop(key) for key in ("description", "default") if key in result}
        return {"anyOf": [result, _VARIABLE], **outside}
    return result


def schema_text() -> str:
    """Return the schema as it is published."""
    return json.dumps(cluster_file_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
