"""PURE: a cluster's kubeconfig within a person's own: put in, taken out again, everything else as it was.

Ours are the entries with an extension of our name, as the kubeconfig's format has them for tools (kubectl keeps them).
It says of which cluster file they are: a context that only has the same name is never touched.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from productive_k3s_infra.errors import BadInput, Refused

MARK = "productive-k3s"
_SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_LONG = 1 << 20  # certificates stay on one line each, as kubectl writes them
_EMPTY = "apiVersion: v1\nkind: Config\npreferences: {}\nclusters: []\nusers: []\ncontexts: []\ncurrent-context: ''\n"


@dataclass(frozen=True)
class Ours:
    """What is ours: the name of cluster, user and context, and the folder of the cluster file."""

    name: str
    folder: str


def merged(text: str, where: str, ours: Ours, ours_document: Mapping[str, Any], *, use: bool) -> str:
    """Return the person's text with our entries; `use` makes the context the current one.

    Raises Refused for an entry of the same name that is not ours, BadInput for a text that is no kubeconfig.
    """
    document = _load(text, where)
    ca = _ca(ours_document)
    previous = _previous(document, ours)
    if use and document.get("current-context") != ours.name:
        previous = str(document.get("current-context") or "")
    mark = {"name": MARK, "extension": {"folder": ours.folder, "ca": ca, "previous": previous}}
    changed = use and document.get("current-context") != ours.name
    for section, key in _SECTIONS.items():
        entry = {"name": ours.name, key: {**_entry(ours_document, section, ours.name)[key], "extensions": [mark]}}
        there = _find(document, section, ours.name)
        if there is not None and not _is_ours(there, key, ours, ca):
            raise _taken(section, where, ours)
        if there is None:
            document[section].append(entry)
        elif _plain(there) != entry:
            document[section][document[section].index(there)] = entry
        else:
            continue
        changed = True
    if use:
        document["current-context"] = ours.name
    return _dump(document, text) if changed else text


def unmerged(text: str, where: str, ours: Ours, ca: str = "") -> str:
    """Return the person's text without our entries. What another context of theirs refers to stays.

    `ca` is the hash of our cluster's CA where that is known. The current context is again the one before ours.
    """
    document = _load(text, where)
    found = {section: _find(document, section, ours.name) for section in _SECTIONS}
    gone = [
        section
        for section, entry in found.items()
        if entry is not None and _is_ours(entry, _SECTIONS[section], ours, ca)
    ]
    previous = _previous(document, ours)
    # Contexts first: what is left of them says which clusters and users are still wanted.
    for section in sorted(gone, key=lambda name: name != "contexts"):
        if section == "contexts" or not _is_wanted(document, _SECTIONS[section], ours.name):
            document[section].remove(found[section])
    if "contexts" in gone and document.get("current-context") == ours.name:
        document["current-context"] = previous if _find(document, "contexts", previous) is not None else ""
    return _dump(document, text) if gone else text


def ca_of(document: Mapping[str, Any]) -> str:
    """Return the hash of the CA of a kubeconfig's first cluster."""
    return _ca(document)


def _load(text: str, where: str) -> Any:
    try:
        document = _yaml().load(text if text.strip() else _EMPTY)
    except YAMLError:
        raise _unusable(where, "it is not YAML") from None  # the parser's message quotes the document
    if not isinstance(document, dict) or document.get("kind", "Config") != "Config":
        raise _unusable(where, "it is not of kind Config")
    for section in _SECTIONS:
        if not document.get(section):
            document[section] = []  # a plain one, which is written in lines where a `[]` that was read is not
        entries = document[section]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) and "name" in entry for entry in entries):
            raise _unusable(where, f"{section} is not a list of named entries")
    return document


def _dump(document: Any, before: str) -> str:
    out = io.StringIO()
    yaml = _yaml()
    yaml.explicit_start = before.startswith("---")
    yaml.dump(document, out)
    return out.getvalue()


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _LONG
    return yaml


def _find(document: Mapping[str, Any], section: str, name: str) -> Any:
    return next((entry for entry in document[section] if entry["name"] == name), None)


def _entry(document: Mapping[str, Any], section: str, name: str) -> Any:
    return next(entry for entry in document[section] if entry["name"] == name)


def _ca(document: Mapping[str, Any]) -> str:
    said = str(document["clusters"][0]["cluster"].get("certificate-authority-data") or "")
    return hashlib.sha256(said.encode()).hexdigest() if said else ""


def _marks(entry: Any, key: str) -> Iterator[Mapping[str, Any]]:
    said = entry.get(key)
    for extension in (said.get("extensions") or ()) if isinstance(said, dict) else ():
        if isinstance(extension, dict) and extension.get("name") == MARK:
            yield extension.get("extension") or {}


def _is_ours(entry: Any, key: str, ours: Ours, ca: str) -> bool:
    """Say whether an entry is of this cluster file, or of this cluster where the file was moved."""
    marks = _marks(entry, key)
    return any(mark.get("folder") == ours.folder or (ca and mark.get("ca") == ca) for mark in marks)


def _previous(document: Mapping[str, Any], ours: Ours) -> str:
    """Return which context was the current one before ours was made that."""
    entry = _find(document, "contexts", ours.name)
    marks = _marks(entry, "context") if entry is not None else ()
    return next((str(mark.get("previous") or "") for mark in marks), "")


def _is_wanted(document: Mapping[str, Any], key: str, name: str) -> bool:
    return any((entry.get("context") or {}).get(key) == name for entry in document["contexts"])


def _plain(value: Any) -> Any:
    """Return what ruamel read as plain values."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _taken(section: str, where: str, ours: Ours) -> Refused:
    return Refused(
        f"another entry of its {section} is called {ours.name}, and does not belong to this cluster file",
        where=where,
        evidence=f"this cluster file is in {ours.folder}",
        remedy=f"rename that one (kubectl config rename-context {ours.name} NAME), or remove it; nothing was changed",
        code="kubeconfig.taken",
    )


def _unusable(where: str, evidence: str) -> BadInput:
    return BadInput(
        "nothing can be merged into this kubeconfig",
        where=where,
        evidence=evidence,
        remedy="repair it or move it away; nothing was changed",
        code="kubeconfig.unusable",
    )
