"""PURE: pydantic's errors about a cluster file, in words of the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from productive_k3s_infra.cluster_file.mistake import Found, Objection, Path, found, nearest, quoted
from productive_k3s_infra.cluster_file.model import ClusterDocument
from productive_k3s_infra.cluster_file.provider import DOCUMENTS, kind_of, kinds_with
from productive_k3s_infra.cluster_file.tree import EMPTY, Tree
from productive_k3s_infra.cluster_file.values import OBJECTION

PROVIDER: Path = ("spec", "provider")

# What pydantic expected, by its error's type.
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a string",
    "string_unicode": "a string of Unicode text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "bool_type": "true or false",
}


def validate(tree: Tree) -> tuple[ClusterDocument | None, tuple[Found, ...]]:
    """Return the document, or what is wrong with keys, types and single values."""
    try:
        return ClusterDocument.model_validate(tree.value, by_alias=True, by_name=False), ()
    except ValidationError as error:
        details = error.errors(include_url=False)
    return None, tuple(item for detail in details for item in _found(tree, detail))


def _found(tree: Tree, detail: ErrorDetails) -> Iterator[Found]:
    path = _written(tuple(detail["loc"]))
    kind = detail["type"]
    # The value of an unknown key does not matter, that of a known one was called unreadable already.
    whole = path[:-1] if kind == "extra_forbidden" else path
    if any(whole[:length] in tree.broken for length in range(len(whole) + 1)):
        return
    if kind in {"missing", "union_tag_not_found"}:
        yield from _missing(tree, path if kind == "missing" else (*path, "kind"))
    elif kind == "extra_forbidden":
        yield _unknown(tree, path)
    elif kind == "union_tag_invalid":
        kinds = ", ".join(kind_of(document) for document in DOCUMENTS)
        yield Found((*path, "kind"), _not_one_of((*path, "kind"), tree.get(*path, "kind"), kinds))
    else:
        yield Found(path, _objection(path, detail))


def _written(path: Path) -> Path:
    """Return the path in the file: pydantic puts the provider's kind behind the key of the provider."""
    return (*PROVIDER, *path[3:]) if path[:2] == PROVIDER and len(path) > 2 else path


def _missing(tree: Tree, path: Path) -> Iterator[Found]:
    around, key = path[:-1], path[-1]
    if around == PROVIDER and key == "kind" and "kind" in tree.mapping(*around):
        # It is there and no string: its place is known better than that.
        yield Found(path, wrong_type(path, tree.mapping(*around)["kind"], "a string"))
        return
    what, expected = f"missing key {quoted(key)}{_inside(around)}", ""
    kind = tree.text(*PROVIDER, "kind")
    if around == PROVIDER and kind is not None:
        document = next(document for document in DOCUMENTS if kind_of(document) == kind)
        field = next(field for field in document.model_fields.values() if field.alias == key)
        description = (field.description or "").rstrip(".")
        what, expected = f"missing key {quoted(key)} of the provider {kind}", description[:1].lower() + description[1:]
    yield found(around, "file.missing-key", what, expected=expected, at_key=not expected)


def _unknown(tree: Tree, path: Path) -> Found:
    kinds = kinds_with(str(path[-1])) if path[:-1] == PROVIDER else ()
    if kinds:
        return of_another_provider(path, kinds, tree.text(*PROVIDER, "kind") or "")
    known = keys_at(path[:-1], tree.text(*PROVIDER, "kind"))
    remedy = nearest(str(path[-1]), known)
    expected = "" if remedy else f"one of {', '.join(known)}"
    what = f"unknown key {quoted(path[-1])}"
    return found(path, "file.unknown-key", what, expected=expected, remedy=remedy, at_key=True)


def of_another_provider(path: Path, kinds: tuple[str, ...], kind: str) -> Found:
    """Return the objection to a key that other kinds of provider have."""
    what = f"{quoted(path[-1])} is for the provider {' or '.join(kinds)}, this is {kind}"
    return found(path, "file.other-provider", what, remedy="leave it out", at_key=True)


def keys_at(path: Path, kind: str | None = None) -> tuple[str, ...]:
    """Return the keys that the mapping at a path may have; `kind` is that of the provider, None for any."""
    models: list[type[BaseModel]] = [ClusterDocument]
    for part in path:
        if isinstance(part, int):
            continue
        fields = (item for model in models for item in model.model_fields.values() if item.alias == part)
        models = [model for item in fields for model in _models(item.annotation)]
        if part == PROVIDER[-1] and kind is not None:
            models = [document for document in DOCUMENTS if kind_of(document) == kind]
    keys = (item.alias or name for model in models for name, item in model.model_fields.items())
    return tuple(dict.fromkeys(keys))


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for item in get_args(annotation) for model in _models(item)]


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
    if len(allowed) > 1:
        expected = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
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
