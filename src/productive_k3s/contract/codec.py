"""Dataclasses to JSON values and back, by their type hints. Every mistake is named with its path, all in one go."""

from __future__ import annotations

import dataclasses
import functools
import json
import typing
from typing import Any, Callable, Dict, Hashable, List, Mapping, Tuple, Type, TypeVar, Union

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
Decoder = Callable[[Any, str, List[str]], Any]
"""Takes a JSON value, its path and the list of mistakes."""


def encode(value: Any, *, unmask: bool = False) -> Any:
    """Return `value` as JSON values. A Secret is a TypeError unless `unmask` says that this goes to standard input."""
    if isinstance(value, Secret):
        if not unmask:
            raise TypeError("this document must not contain a secret")
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
    value = _decoder(typing.cast("Hashable", kind))(document, name, mistakes)
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


@functools.lru_cache(maxsize=None)
def _decoder(kind: Any) -> Decoder:
    """Return what builds a value of this type. Hints are taken apart once: hundreds of hosts send the same shape."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return _anything
    if origin is Union:
        return _optional(arguments)
    if origin is typing.Literal:
        return _literal(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin is not None and isinstance(origin, type) and issubclass(origin, typing.cast("type", Mapping)):
        return _mapping(arguments)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    return {Secret: _secret, float: _float}.get(kind) or _scalar(kind)


def _anything(document: Any, _path: str, _mistakes: List[str]) -> Any:
    return document


def _optional(arguments: Tuple[Any, ...]) -> Decoder:
    may_be_none = type(None) in arguments
    decoder = _decoder(next(item for item in arguments if item is not type(None)))

    def decode_it(document: Any, path: str, mistakes: List[str]) -> Any:
        return None if document is None and may_be_none else decoder(document, path, mistakes)

    return decode_it


def _literal(arguments: Tuple[Any, ...]) -> Decoder:
    expected = f"one of {', '.join(map(str, arguments))}"

    def decode_it(document: Any, path: str, mistakes: List[str]) -> Any:
        return _known(document in arguments, document, expected, path, mistakes, shown=True)

    return decode_it


def _tuple(arguments: Tuple[Any, ...]) -> Decoder:
    decoder = _decoder(arguments[0])

    def decode_it(document: Any, path: str, mistakes: List[str]) -> Any:
        if not isinstance(document, (list, tuple)):
            return _known(False, document, "a list", path, mistakes)
        return tuple([decoder(item, f"{path}[{index}]", mistakes) for index, item in enumerate(document)])

    return decode_it


def _mapping(arguments: Tuple[Any, ...]) -> Decoder:
    decoder = _decoder(arguments[1] if arguments else Any)

    def decode_it(document: Any, path: str, mistakes: List[str]) -> Any:
        if not isinstance(document, Mapping):
            return _known(False, document, "a mapping", path, mistakes)
        return {str(key): decoder(item, f"{path}.{_shown(str(key))}", mistakes) for key, item in document.items()}

    return decode_it


@functools.lru_cache(maxsize=1024)
def _shown(key: str) -> str:
    """Return the key as a path may show it. The same ones come from host after host."""
    return redact(key)


def _secret(document: Any, path: str, mistakes: List[str]) -> Any:
    if isinstance(document, str):
        return Secret(document)
    mistakes.append(f"{path}: expected a string, found something else")
    return document


def _float(document: Any, path: str, mistakes: List[str]) -> Any:
    if isinstance(document, (int, float)) and not isinstance(document, bool):
        return float(document)
    return _known(False, document, "a number", path, mistakes, shown=True)


def _scalar(kind: Any) -> Decoder:
    expected = {str: "a string", int: "a whole number", bool: "true or false"}.get(kind, kind.__name__)
    shown = kind in (int, bool)

    def decode_it(document: Any, path: str, mistakes: List[str]) -> Any:
        # True is an int for Python, and no number for anybody else.
        good = isinstance(document, kind) and (kind is bool or not isinstance(document, bool))
        return document if good else _known(False, document, expected, path, mistakes, shown=shown)

    return decode_it


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


def _dataclass(kind: Any) -> Decoder:
    def decode_it(document: Any, path: str, mistakes: List[str]) -> Any:
        if not isinstance(document, Mapping):
            return _known(False, document, "a mapping", path, mistakes)
        fields = _fields(kind)
        values: Dict[str, Any] = {}
        for name, (decoder, is_required) in fields.items():
            if name in document:
                values[name] = decoder(document[name], f"{path}.{name}", mistakes)
            elif is_required:
                mistakes.append(f"{path}.{name}: is missing")
        mistakes.extend(f"{path}.{redact(str(key))}: is not known" for key in document if key not in fields)
        return kind(**values) if not mistakes else None

    return decode_it


@functools.lru_cache(maxsize=None)
def _fields(kind: Any) -> Dict[str, Tuple[Decoder, bool]]:
    """Return what builds each field and whether it must be there; only when first used, as a type may hold itself."""
    hints = typing.get_type_hints(kind)
    return {item.name: (_decoder(hints[item.name]), _is_required(item)) for item in dataclasses.fields(kind)}


def _is_required(item: "dataclasses.Field[Any]") -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
