"""PURE: what goes into a support bundle, as text without secrets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from productive_k3s.contract.redaction import REDACTED, redact
from productive_k3s.facts import masking
from productive_k3s.k3s import registries

_SECRET_NAME = re.compile(r"token|secret|passw|credential|access.?key|private.?key|(^|_)auth", re.IGNORECASE)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PUBLIC_DIGESTS = ("binary", "images", "staged", "ca_hash")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-[^}]*)?\}")
_ONE_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_COMMENT = re.compile(r"(^|\s)#[^\n]*(?:token|secret|passw|credential)[^\n]*", re.IGNORECASE | re.MULTILINE)


def masked_cluster_file(text: str) -> str:
    """Return the cluster file with secret values masked; a variable stays as it is written, `${NAME}`.

    Raises yaml.YAMLError where the text is none: nothing is known of it then.
    """
    for start, end in sorted(_secret_spans(text), reverse=True):
        if not _ONE_VARIABLE.fullmatch(text[start:end].strip("\"'")):
            text = text[:start] + REDACTED + text[end:]
    return redact(_COMMENT.sub(rf"\1# {REDACTED}", text))


def _secret_spans(text: str) -> set[tuple[int, int]]:
    """Return where the values of secret keys stand."""
    found: set[tuple[int, int]] = set()
    seen: set[int] = set()
    waiting: list[tuple[yaml.Node | None, bool]] = [(yaml.compose(text, Loader=yaml.SafeLoader), False)]
    while waiting:
        node, is_secret = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = str(getattr(key, "value", ""))
                waiting.append((value, is_secret or _names_a_secret(name)))
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend((item, is_secret) for item in node.value)
        elif is_secret:
            found.add((node.start_mark.index, node.end_mark.index))
    return found


def _names_a_secret(key: str) -> bool:
    # `auth` holds a user's name too; what is secret in it has a name of its own.
    if key == "auth":
        return False
    return masking.is_secret(key) or key in registries.SECRET_KEYS or bool(_SECRET_NAME.search(key))


def secrets_of(text: str, environment: Mapping[str, str]) -> frozenset[str]:
    """Return the secrets that a cluster file says or takes from the environment, to be taken out everywhere."""
    said = {text[start:end].strip("\"'") for start, end in _secret_spans(text)}
    names = {name for item in said for name in _VARIABLE.findall(item)}
    names |= {name for name in _VARIABLE.findall(text) if _SECRET_NAME.search(name)}
    written = {item for item in said if not _VARIABLE.search(item)}
    found = written | {environment[name] for name in names if environment.get(name)}
    # A proxy's URL says its password in a variable of any name.
    urls = (urlsplit(environment.get(name, "")) for name in _VARIABLE.findall(text))
    found |= {unquote(url.password) for url in urls if url.scheme in ("http", "https") and url.password}
    return frozenset(item for item in found if not item.startswith(("/", "~", ".")))


def salted(facts: Any, salt: str) -> Any:
    """Return facts whose digests of texts say only what is equal: of a short secret's digest the secret can be guessed.

    Those of release files are public anyway, and so is that of the CA.
    """
    if isinstance(facts, Mapping):
        return {key: item if key in _PUBLIC_DIGESTS else salted(item, salt) for key, item in facts.items()}
    if isinstance(facts, list | tuple):
        return [salted(item, salt) for item in facts]
    if isinstance(facts, str) and _DIGEST.fullmatch(facts):
        return f"salted-{hashlib.sha256(f'{salt}{facts}'.encode()).hexdigest()[:16]}"
    return facts


def document(value: Any, secrets: Iterable[str]) -> str:
    """Return a value as JSON, each of its texts without secrets."""
    return json.dumps(_without(value, tuple(secrets)), indent=1, sort_keys=True, default=str) + "\n"


def journal(text: str, secrets: Iterable[str]) -> str:
    """Return the lines of a journal without secrets; what is no JSON is text."""
    known = tuple(secrets)
    return "".join(f"{line}\n" for line in _journal_lines(text, known))


def _journal_lines(text: str, secrets: tuple[str, ...]) -> Iterator[str]:
    for line in text.splitlines():
        try:
            yield json.dumps(_without(json.loads(line), secrets), ensure_ascii=False)
        except ValueError:
            yield redact(line, secrets)


def _without(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, Mapping):
        return {redact(str(key), secrets): _of_key(str(key), item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(item, secrets) for item in value]
    return value


def _of_key(key: str, value: Any, secrets: tuple[str, ...]) -> Any:
    """Return the value of a key; a text of a secret's name is one, unless it says where a file is."""
    is_text = isinstance(value, str) and value not in ("", masking.MASK) and not value.startswith("/")
    return REDACTED if is_text and _names_a_secret(key) else _without(value, secrets)
