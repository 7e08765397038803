"""PURE: config.yaml and its drop-ins, merged by K3s' rules, and compared by meaning.

Rules: k3s-io docs, installation/configuration.md: the last file wins, `key+` appends, once used every later file must
write `key+` too or it resets; the command line overrides single values. Variables come last: K3s reads config.yaml as
arguments before those of the command line (k3s-io/k3s, pkg/configfilearg), and looks for no given flag in the
environment.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from productive_k3s.k3s import paths, yaml_text
from productive_k3s.k3s.flags import OF_THE_NODE, SPLIT_AT_COMMAS, VARIABLES, table

# The first one counts for the family that a cluster starts with.
_ORDERED = ("cluster-cidr", "service-cidr", "cluster-dns", "node-ip", "node-external-ip")
UNIT = "unit"
ENVIRONMENT = "environment"
Canonical = Dict[str, List[str]]


class ConfigUnreadable(ValueError):
    """A configuration file is no mapping of flags; the message says where."""


@dataclass(frozen=True)
class Effective:
    """The merged flags, each as a list of strings, and what had the last word on each: a file, UNIT, ENVIRONMENT."""

    values: Mapping[str, List[str]]
    sources: Mapping[str, str]


def load(text: str, path: str) -> Dict[str, Any]:
    """Parse one file; ConfigUnreadable says what is wrong with it and where."""
    parsed = yaml_text.parse(text)
    if parsed.error:
        raise ConfigUnreadable(f"{path}{'' if parsed.error.startswith(':') else ':'}{parsed.error}")
    if parsed.value is None:
        return {}
    if not isinstance(parsed.value, dict):
        raise ConfigUnreadable(f"{path}: expected a mapping of flags, found {type(parsed.value).__name__}")
    return {str(key): value for key, value in parsed.value.items()}


def canonical(values: Mapping[str, Any]) -> Canonical:
    """Write every value as a list of strings, so that equal wishes are equal: `true` and "true", `x` and [x].

    Lists are sorted where K3s takes them as sets; arguments of components keep their order. `a,b` is [a, b] for the
    flags that K3s splits.
    """
    result: Canonical = {}
    for key, value in values.items():
        flag = table().find(key)
        name = flag.name if flag else key
        items = [_word(item) for item in (value if isinstance(value, (list, tuple)) else [value])]
        if name in SPLIT_AT_COMMAS:
            items = [part.strip() for item in items for part in item.split(",") if part.strip()] or items[:1]
        result[name] = items if name.endswith("-arg") or name in _ORDERED else sorted(items)
    return result


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def merge(
    files: Sequence[Tuple[str, str]], arguments: Sequence[str] = (), variables: Optional[Mapping[str, str]] = None
) -> Effective:
    """Merge (path, text) in order, then the unit's arguments after the sub-command; variables fill what is left."""
    values: Dict[str, Any] = {}
    sources: Dict[str, str] = {}
    for path, text in files:
        for written, value in load(text, path).items():
            key = written[: -len("+")] if written.endswith("+") else written
            before = values.get(key)
            if written.endswith("+") and before is not None:
                value = _listed(before) + _listed(value)  # noqa: PLW2901 - the appended list is the value
            values[key] = value
            sources[key] = path
    for key, value in _from_arguments(arguments).items():
        values[key] = value
        sources[key] = UNIT
    for name, value in (variables or {}).items():
        key = VARIABLES.get(name, "")
        if key and value and key not in values:
            values[key] = value
            sources[key] = ENVIRONMENT
    return Effective(canonical(values), sources)


def _listed(value: Any) -> List[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _from_arguments(arguments: Sequence[str]) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            continue
        name, has_value, value = word.lstrip("-").partition("=")
        flag = table().find(name)
        if not has_value:
            takes_next = bool(words) and not words[0].startswith("-") and not (flag and flag.type == "bool")
            value = words.pop(0) if takes_next else "true"
        name = flag.name if flag else name
        if flag and flag.repeatable:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def without_defaults(values: Mapping[str, Sequence[str]]) -> Canonical:
    """Leave out what says nothing: an empty list, an empty string, a switch that is off, the default data-dir."""
    return {
        key: list(value)
        for key, value in values.items()
        if value and list(value) not in (["false"], [""]) and (key, list(value)) != ("data-dir", [paths.DATA])
    }


def digest(values: Mapping[str, List[str]]) -> str:
    """Digest the meaning of a configuration that a start depends on.

    A node's labels and taints are none of it: they follow the file through the API, and K3s sets the labels of its
    configuration again at whichever start comes next (held by tests/contract/k3s).
    """
    said = {key: value for key, value in values.items() if key not in OF_THE_NODE}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def document_digest(document: Any) -> str:
    """Digest the meaning of a YAML document (registries.yaml)."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def text_digest(text: str) -> str:
    """Digest the meaning of a document's text; its bytes where it cannot be parsed."""
    parsed = yaml_text.parse(text)
    return document_digest(text if parsed.error else parsed.value)


def render(values: Mapping[str, Any], header: str) -> str:
    """Write a config.yaml: keys in the given order, block style, the header as comment lines."""
    return "".join(f"# {line}\n" for line in header.splitlines()) + yaml_text.dump(values, sort_keys=False)
