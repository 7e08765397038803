"""The JSON Schema of the cluster file as it is written, for editors.

`python -m productive_k3s_infra.cluster_file.schema` prints it.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

from productive_k3s.k3s import flags
from productive_k3s_infra.cluster_file.model import ClusterDocument, Role

# The same schema, wherever the page lies from which an editor takes it.
SCHEMA_ID = "urn:productive-k3s:cluster-file:v1alpha1"
# It lies beside the file and is committed with it, so that a colleague's editor has it too, offline, and knows the keys
# of the version that wrote the file. The cluster directory (.pk3s) is not committed.
SCHEMA_FILE = "cluster-file.schema.json"
MODELINE = f"# yaml-language-server: $schema={SCHEMA_FILE}\n"
_VARIABLE = {"$ref": "#/$defs/Variable"}
_FLAG_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "duration": "a duration such as 5m0s",
    "string-list": "a string or a list of strings",
}
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
    node, own = definitions["Node"]["properties"], definitions.pop("NodeK3s")
    flags_and_files = {**_flags(*roles)["properties"], **own["properties"]}
    node["k3s"] = {**_flags(*roles), "properties": flags_and_files, "description": node["k3s"]["description"]}
    written: dict[str, Any] = _as_written(schema)
    written["$defs"]["Variable"] = {
        "description": "A value of the environment: ${NAME} or ${NAME:-default}.",
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID}
    return {**head, "title": "The cluster file of pk3s", **written}


def _flags(*roles: Role) -> dict[str, Any]:
    usable = [
        flag
        for flag in flags.table().flags.values()
        if any(role in flag.roles and not flags.check(role, [flag.name]) for role in roles)
    ]
    # A newer K3s may have flags that are not known here; the loader tells them apart, by the version.
    return {"type": "object", "properties": {flag.name: _flag(flag) for flag in usable}, "additionalProperties": True}


def _flag(flag: flags.Flag) -> dict[str, Any]:
    schema = dict(_FLAG_TYPES.get(flag.type, {"type": "string"}))
    return {**schema, **({"enum": list(flag.allowed)} if flag.allowed else {}), "description": _described(flag)}


def _described(flag: flags.Flag) -> str:
    """Say what the table of flags knows of one; what it does is for K3s' own pages to say."""
    roles = " and ".join(f"k3s {role}" for role in flag.roles)
    said = [f"--{flag.name} of {roles}: {_FLAG_WORDS.get(flag.type, 'a string')}."]
    if flag.allowed:
        said.append(f"One of {', '.join(flag.allowed)}.")
    if flag.critical:
        said.append("The same on all servers, or K3s does not start.")
    if flag.aliases:
        said.append(f"Also called {', '.join(flag.aliases)}.")
    return " ".join((*said, f"See https://docs.k3s.io/cli/{flag.roles[0]}."))


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
    # A variable may stand for the word that tells the kinds of provider apart.
    kept.pop("discriminator", None)
    if "oneOf" in kept:
        kept["anyOf"] = kept.pop("oneOf")
    result = {key: _as_written(value) for key, value in kept.items() if key != "title"}
    if "anyOf" in result:
        forms = [form for item in result["anyOf"] for form in (item["anyOf"] if set(item) == {"anyOf"} else [item])]
        result["anyOf"] = [form for index, form in enumerate(forms) if form not in forms[:index]]
    if schema.get("type") in ("integer", "boolean") or "enum" in schema or "const" in schema:
        outside = {key: result.pop(key) for key in ("description", "default") if key in result}
        return {"anyOf": [result, _VARIABLE], **outside}
    return result


@cache
def schema_text() -> str:
    """Return the schema as it is published."""
    return json.dumps(cluster_file_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
