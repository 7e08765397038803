"""The published schemas, and what holds a document against them: more strictly than they do, as nothing is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from productive_k3s_infra.answers.schema import schema_of

SCHEMAS = Path(__file__).parents[3] / "docs/reference/answers"


def published(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return schema


def mistakes_in(document: Any, name: str) -> list[str]:
    """Return what the schema of this name has against a document, a key that it does not describe included."""
    found = Draft202012Validator(closed(published(name))).iter_errors(document)
    return [f"{error.json_path}: {error.message[:300]}" for error in found]


def require_answer(document: Any, verb: str, exit_code: int) -> None:
    """Require that the document is what the verb answers, with this exit code, and why where there is a reason."""
    assert mistakes_in(document, schema_of(verb)) == []
    assert document["exit_code"] == exit_code
    assert (document["error"] is None) == (exit_code in (0, 3))


def closed(value: Any) -> Any:
    """Return a schema that allows no other keys than those it describes."""
    if isinstance(value, list):
        return [closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    rest = {key: closed(item) for key, item in value.items()}
    return {"additionalProperties": False, **rest} if "properties" in value and "required" in value else rest
