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

from productive_k3s.k3s.flags import VARIABLES, table

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
    import yaml

    try:
        document = yaml.load(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
        raise ConfigUnreadable(f"{where}: {getattr(error, 'problem', error)}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigUnreadable(f"{path}: expected a mapping of flags, found {type(document).__name__}")
    return {str(key): value for key, value in document.items()}


def canonical(values: Mapping[str, Any]) -> Canonical:
    """Write every value as a list of strings, so that equal wishes are equal: `true` and "true", `x` and [x].

    Lists are sorted where K3s takes them as sets; arguments of components keep their order.
    """
    result: Canonical = {}
    for key, value in values.items():
        flag = table().find(key)
        items = [_word(item) for item in (value if isinstance(value, (list, tuple)) else [value])]
        keeps_order = key.endswith("-arg") or key in {"cluster-cidr", "service-cidr", "node-ip"}
        result[flag.name if flag else key] = items if keeps_order else sorted(items)
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


def digest(values: Mapping[str, List[str]]) -> str:
    """Digest the meaning of a configuration."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def document_digest(text: str) -> str:
    """Digest the meaning of a YAML document (registries.yaml); of its bytes where it cannot be parsed."""
    import yaml

    try:
        meaning = json.dumps(yaml.load(text, Loader=yaml.SafeLoader), sort_keys=True, default=str)
    except yaml.YAMLError:
        meaning = text
    return hashlib.sha256(meaning.encode()).hexdigest()


def render(values: Mapping[str, Any], header: str) -> str:
    """Write a config.yaml: keys in the given order, block style, the header as comment lines."""
    import yaml

    body = yaml.dump(dict(values), Dumper=yaml.SafeDumper, sort_keys=False, default_flow_style=False, width=120)
    return "".join(f"# {line}\n" for line in header.splitlines()) + body
