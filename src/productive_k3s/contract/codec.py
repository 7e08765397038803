"""Dataclasses to JSON values and back, by their type hints. Every mistake is named with its path, all in one go."""

from __future__ import annotations

import dataclasses
import functools
import json
import typing
from typing import Any, Dict, List, Mapping, Tuple, Type, TypeVar, Union

from productive_k3s.contract.failure import ContractError, bad_input
from productive_k3s.contract.redaction import redact
from productive_k3s.contract.secret import Secret

# Words of a closed set are shorter; what is longer was meant for something else.
_SHOWN_LENGTH = 40
_KINDS: Tuple[Tuple[Any, str], ...] = (
    (type(None), "nothing"),
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "a string"),
    ((list, tuple), "a list"),
    (Mapping, "a mapping"),
)

T = TypeVar("T")


def encode(value: Any, *, unmask: bool = False) -> Any:
    """Return `value` as JSON values. A Secret is a TypeError unless `unmask` says that this goes to standard input."""
    if isinstance(value, Secret):
        if not unmask:
            raise TypeError("a secret has no place in this document")
        return value.unmask()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: encode(getattr(value, item.name), unmask=unmask) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item, unmask=unmask) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item, unmask=unmask) for item in value]
    return value


def decode(kind: Type[T], document: Any, name: str = "request") -> T:
    """Build a `kind` from JSON values; all unknown keys, missing keys and wrong types are one ContractError."""
    mistakes: List[str] = []
    value = _value(kind, document, name, mistakes)
    if mistakes:
        raise ContractError(
            bad_input(
                "request.invalid",
                f"the {name} is not valid",
                "; ".join(mistakes),
                "use the same version of both programs, or correct the document",
            )
        )
    return typing.cast("T", value)


def _value(kind: Any, document: Any, path: str, mistakes: List[str]) -> Any:
    if kind is Any:
        return document
    origin, arguments = _parts(kind)
    if origin is Union:
        return _optional(arguments, document, path, mistakes)
    if origin is typing.Literal:
        expected = f"one of {', '.join(map(str, arguments))}"
        return _known(document in arguments, document, expected, path, mistakes, shown=True)
    if origin is tuple:
        return _tuple(arguments, document, path, mistakes)
    if origin is not None and isinstance(origin, type) and issubclass(origin, typing.cast("type", Mapping)):
        return _mapping(arguments, document, path, mistakes)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, document, path, mistakes)
    return _scalar(kind, document, path, mistakes)


@functools.lru_cache(maxsize=None)
def _parts(kind: Any) -> Tuple[Any, Tuple[Any, ...]]:
    return typing.get_origin(kind), typing.get_args(kind)


def _optional(arguments: Tuple[Any, ...], document: Any, path: str, mistakes: List[str]) -> Any:
    if document is None and type(None) in arguments:
        return None
    first = next(item for item in arguments if item is not type(None))
    return _value(first, document, path, mistakes)


def _tuple(arguments: Tuple[Any, ...], document: Any, path: str, mistakes: List[str]) -> Any:
    if not isinstance(document, (list, tuple)):
        return _known(False, document, "a list", path, mistakes)
    return tuple(_value(arguments[0], item, f"{path}[{index}]", mistakes) for index, item in enumerate(document))


def _mapping(arguments: Tuple[Any, ...], document: Any, path: str, mistakes: List[str]) -> Any:
    if not isinstance(document, Mapping):
        return _known(False, document, "a mapping", path, mistakes)
    kind = arguments[1] if arguments else Any
    return {str(key): _value(kind, item, f"{path}.{_shown(str(key))}", mistakes) for key, item in document.items()}


@functools.lru_cache(maxsize=1024)
def _shown(key: str) -> str:
    """Return the key as a path may show it. The same ones come from host after host."""
    return redact(key)


def _scalar(kind: Any, document: Any, path: str, mistakes: List[str]) -> Any:
    if kind is Secret:
        good = isinstance(document, str)
        if not good:
            mistakes.append(f"{path}: expected a string, found something else")
        return Secret(document) if good else document
    if kind is float:
        good = isinstance(document, (int, float)) and not isinstance(document, bool)
        return float(document) if good else _known(False, document, "a number", path, mistakes, shown=True)
    words = {str: "a string", int: "a whole number", bool: "true or false"}
    good = isinstance(document, kind) and (kind is bool or not isinstance(document, bool))
    return _known(good, document, words.get(kind, kind.__name__), path, mistakes, shown=kind in (int, bool))


def _known(good: bool, document: Any, expected: str, path: str, mistakes: List[str], *, shown: bool = False) -> Any:
    if not good:
        mistakes.append(f"{path}: expected {expected}, found {_found(document, shown)}")
    return document


def _found(document: Any, shown: bool) -> str:
    """Return what stands there, in words. A value is shown only where no secret has a place, and then a short one.

    A mistake travels to logs and journals: what somebody gave for a token, a proxy or a whole document is not theirs.
    """
    if shown and isinstance(document, (bool, int, float)):
        return json.dumps(document)
    if shown and isinstance(document, str) and len(document) <= _SHOWN_LENGTH:
        return redact(repr(document))
    return next((words for kind, words in _KINDS if isinstance(document, kind)), type(document).__name__)


def _dataclass(kind: Any, document: Any, path: str, mistakes: List[str]) -> Any:
    if not isinstance(document, Mapping):
        return _known(False, document, "a mapping", path, mistakes)
    hints = _hints(kind)
    values: Dict[str, Any] = {}
    for item in dataclasses.fields(kind):
        if item.name in document:
            values[item.name] = _value(hints[item.name], document[item.name], f"{path}.{item.name}", mistakes)
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            mistakes.append(f"{path}.{item.name}: is missing")
    mistakes.extend(f"{path}.{redact(str(key))}: is not known" for key in document if key not in hints)
    return kind(**values) if not mistakes else None


_HINTS: Dict[Any, Dict[str, Any]] = {}


def _hints(kind: Any) -> Dict[str, Any]:
    if kind not in _HINTS:
        _HINTS[kind] = typing.get_type_hints(kind)
    return _HINTS[kind]
