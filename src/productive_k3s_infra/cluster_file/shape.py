"""PURE: pydantic's errors about a cluster file, in words of the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from productive_k3s_infra.cluster_file.document import OBJECTION, ClusterDocument, keys_at
from productive_k3s_infra.cluster_file.mistake import Found, Objection, Path, found, nearest, quoted
from productive_k3s_infra.cluster_file.tree import EMPTY, Tree

# What pydantic expected, by its error's type.
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a string",
    "string_unicode": "a string of Unicode text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "bool_type": "true or false",
}


def validate(tree: Tree) -> tuple[ClusterDocument | None, tuple[Found, ...]]:
    """Return the document, or what is wrong with keys, types and single values."""
    try:
        return ClusterDocument.model_validate(tree.value), ()
    except ValidationError as error:
        details = error.errors(include_url=False)
    return None, tuple(item for detail in details for item in _found(tree, detail))


def _found(tree: Tree, detail: ErrorDetails) -> Iterator[Found]:
    path: Path = tuple(detail["loc"])
    kind = detail["type"]
    # The value of an unknown key does not matter, that of a known one was called unreadable already.
    whole = path[:-1] if kind == "extra_forbidden" else path
    if any(whole[:length] in tree.broken for length in range(len(whole) + 1)):
        return
    if kind == "missing":
        around = path[:-1]
        yield found(around, "file.missing-key", f"missing key {quoted(path[-1])}{_inside(around)}", at_key=True)
    elif kind == "extra_forbidden":
        known = keys_at(path[:-1])
        remedy = nearest(str(path[-1]), known)
        expected = "" if remedy else f"one of {', '.join(known)}"
        yield found(
            path, "file.unknown-key", f"unknown key {quoted(path[-1])}", expected=expected, remedy=remedy, at_key=True
        )
    else:
        yield Found(path, _objection(path, detail))


def _objection(path: Path, detail: ErrorDetails) -> Objection:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == OBJECTION and isinstance(context.get("objection"), Objection):
        objection: Objection = context["objection"]
        return objection
    if kind in _TYPES:
        return wrong_type(path, value, _TYPES[kind])
    if kind == "literal_error":
        return _not_one_of(path, value, str(context.get("expected", "")))
    if kind in {"greater_than_equal", "less_than_equal"}:
        edge = f"at least {context.get('ge')}" if "ge" in context else f"at most {context.get('le')}"
        return Objection("file.out-of-range", f"{named(path)} is {quoted(value)}", edge)
    if kind in {"string_too_short", "too_short"}:
        return Objection("file.empty-value", f"{named(path)} is empty")
    return Objection("file.invalid", f"{named(path)}: {detail['msg']}")


def wrong_type(path: Path, value: Any, expected: str) -> Objection:
    """Return the objection to a value of another type than the expected one."""
    remedy = ""
    if expected == "a string" and isinstance(value, bool | int | float):
        remedy = f'write it in quotes: "{str(value).lower()}"' if isinstance(value, bool) else "write it in quotes"
    elif isinstance(value, str) and (value.isdigit() if expected == "a whole number" else value in {"true", "false"}):
        remedy = "write it without quotes"
    return Objection("file.wrong-type", f"{named(path)} is {_kind_of(value)}", expected, remedy)


def _not_one_of(path: Path, value: Any, expected: str) -> Objection:
    allowed = [item.strip("'") for item in expected.replace(" or ", ", ").split(", ")]
    remedy = nearest(value, allowed) if isinstance(value, str) and len(allowed) > 1 else ""
    shown = quoted(value) if isinstance(value, str) else _kind_of(value)
    return Objection("file.not-allowed", f"{named(path)} is {shown}", expected.replace("'", ""), remedy)


def named(path: Path) -> str:
    """Return how a message calls what stands at a path."""
    if not path:
        return "the file"
    last = path[-1]
    return f"item {last + 1} of {named(path[:-1])}" if isinstance(last, int) else quoted(last)


def _inside(path: Path) -> str:
    return f" in {named(path)}" if path else ""


def _kind_of(value: Any) -> str:
    kinds = (
        (bool, "true or false"),
        (int | float, "a number"),
        (str, "a string"),
        (dict, "a mapping"),
        (list, "a list"),
    )
    if value is EMPTY:
        return "empty"
    return next((name for kind, name in kinds if isinstance(value, kind)), "something else")
