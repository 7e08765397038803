"""The JSON Schemas of the documents, made from their types. `scripts/docs-reference` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from productive_k3s_infra.answers.looks import ExplainAnswer, LogsAnswer, RunsAnswer, VersionAnswer
from productive_k3s_infra.answers.model import (
    Answer,
    ApplyAnswer,
    DestroyAnswer,
    ErrorAnswer,
    InitAnswer,
    InventoryAnswer,
    KubeconfigAnswer,
    NodeAnswer,
    PlanAnswer,
    ProgressLine,
    StatusAnswer,
    SupportAnswer,
    ValidateAnswer,
)

VERSION = 1
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ANSWERS: Mapping[str, type[Answer]] = {
    "init": InitAnswer,
    "plan": PlanAnswer,
    "apply": ApplyAnswer,
    "status": StatusAnswer,
    "validate": ValidateAnswer,
    "kubeconfig": KubeconfigAnswer,
    "cordon": NodeAnswer,
    "drain": NodeAnswer,
    "uncordon": NodeAnswer,
    "inventory": InventoryAnswer,
    "support": SupportAnswer,
    "destroy": DestroyAnswer,
    "runs": RunsAnswer,
    "logs": LogsAnswer,
    "explain": ExplainAnswer,
    "version": VersionAnswer,
}
"""Every verb with `-o`, and the type of its document."""


class _Schemas(GenerateJsonSchema):
    """As they are printed: every key is there, and a secret never is."""

    schema_dialect = DIALECT

    def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: ARG002
        return True

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:  # noqa: ARG002
        return {"not": {}, "description": "A secret: never in a document."}


def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by its name: one a document, `error` and `progress`."""
    found = {name_of(kind): kind for kind in ANSWERS.values()}
    made = {name: _schema(name, kind, kind | ErrorAnswer) for name, kind in found.items()}
    return {**made, "error": _schema("error", ErrorAnswer), "progress": _schema("progress", ProgressLine)}


def name_of(kind: type[Answer]) -> str:
    """Return the name of a document's schema: `plan` for PlanAnswer."""
    return kind.__name__.removesuffix("Answer").lower()


def schema_of(verb: str) -> str:
    """Return the name of the schema of what a verb answers."""
    return name_of(ANSWERS[verb])


def _schema(name: str, kind: type[Any], form: Any = None) -> dict[str, Any]:
    made = _tidy(_made(form or kind))
    shared = _tidy(_made(Answer))["properties"]
    for definition in made.get("$defs", {}).values():
        # What stands under a field is found in the class that has it, not in those below.
        for field, written in definition.get("properties", {}).items():
            if field in shared and issubclass(kind, Answer) and definition["title"].endswith("Answer"):
                written.setdefault("description", shared[field]["description"])
    head = {"$schema": DIALECT, "$id": f"urn:productive-k3s:schema:{name}:{VERSION}", "title": f"pk3s: {name}"}
    said = " ".join((kind.__doc__ or "").split())
    return {**head, "description": said, **{key: value for key, value in made.items() if key not in head}}


def _made(form: Any) -> dict[str, Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(form)
    return adapter.json_schema(mode="serialization", schema_generator=_Schemas)


def _tidy(value: Any) -> Any:
    """Return a schema with each description on one line."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    said = value.get("description")
    rest = {key: _tidy(item) for key, item in value.items()}
    return {**rest, "description": " ".join(said.split())} if isinstance(said, str) else rest


def schema_text(schema: Mapping[str, Any]) -> str:
    """Return a schema as it is published."""
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
