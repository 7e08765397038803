"""The kubeconfig that pk3s hands out: K3s' own, with the address people reach and the cluster's name."""

from __future__ import annotations

import ipaddress
from typing import Any

import yaml

from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra.errors import BadInput, StepFailed
from productive_k3s_infra.workspace.directory import AREA, Workspace, open_workspace

_LONG = 1 << 20  # certificates stay on one line each, as kubectl writes them


def rewrite_kubeconfig(text: str, *, address: str, port: int, context: str) -> str:
    """PURE: name cluster, user and context of the current context `context`, and point it at `https://address:port`.

    Everything else stays: other entries, credentials, extensions, namespaces. The text is worked on as a document,
    never by replacing words. Raises StepFailed for what is no kubeconfig; the error never shows its content.
    """
    document = _load(text)
    current = _named(document, "contexts", document.get("current-context"))
    detail = _mapping(current, "context")
    old = {"clusters": detail.get("cluster"), "users": detail.get("user"), "contexts": current["name"]}
    cluster = _mapping(_named(document, "clusters", old["clusters"]), "cluster")
    if not isinstance(cluster.get("server"), str):
        raise _no_kubeconfig("its cluster has no server")
    _named(document, "users", old["users"])
    cluster["server"] = f"https://{_bracketed(address)}:{port}"
    for section, name in old.items():
        _rename(document, section, name, context)
    for entry in document["contexts"]:
        for section, key in (("clusters", "cluster"), ("users", "user")):
            refers = _mapping(entry, "context")
            if refers.get(key) == old[section]:
                refers[key] = context
    document["current-context"] = context
    return yaml.safe_dump(document, sort_keys=False, width=_LONG, allow_unicode=True)


def write_kubeconfig(workspace: Workspace, text: str) -> bool:
    """Keep the kubeconfig in the cluster directory, readable by its owner only; say whether it changed."""
    open_workspace(workspace.cluster_file, workspace.cluster)
    with explained(workspace.kubeconfig, AREA):
        return replace_file(workspace.kubeconfig, text.encode(), 0o600)


def read_kubeconfig(workspace: Workspace) -> dict[str, Any]:
    """Return the kubeconfig of the cluster directory as a document; what its current context names is in it.

    Raises BadInput (`kubeconfig.damaged`) for what is none, and for a file that cannot be read. No error shows content.
    """
    with explained(workspace.kubeconfig, AREA):
        content = workspace.kubeconfig.read_bytes()
    try:
        document = _load(content.decode())
        context = _mapping(_named(document, "contexts", document.get("current-context")), "context")
        _mapping(_named(document, "clusters", context.get("cluster")), "cluster")
        _mapping(_named(document, "users", context.get("user")), "user")
    except (UnicodeDecodeError, StepFailed) as error:
        raise BadInput(
            "the kubeconfig of this cluster is damaged",
            where=str(workspace.kubeconfig),
            evidence=error.evidence if isinstance(error, StepFailed) else "it is not text",
            remedy="pk3s kubeconfig fetches it again",
            code="kubeconfig.damaged",
        ) from None
    return document


def _load(text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        raise _no_kubeconfig("it is not YAML") from None  # the parser's message quotes the document
    if not isinstance(document, dict) or document.get("kind") != "Config":
        raise _no_kubeconfig("it is not of kind Config")
    for section in ("clusters", "users", "contexts"):
        entries = document.get(section)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) and "name" in entry for entry in entries):
            raise _no_kubeconfig(f"it has no list of {section}")
    return document


def _named(document: dict[str, Any], section: str, name: object) -> dict[str, Any]:
    for entry in document[section]:
        if entry["name"] == name:
            found: dict[str, Any] = entry
            return found
    raise _no_kubeconfig(f"the current context's entry is missing among its {section}")


def _mapping(entry: dict[str, Any], key: str) -> dict[str, Any]:
    value = entry.get(key)
    if not isinstance(value, dict):
        raise _no_kubeconfig(f"an entry has no {key}")
    return value


def _rename(document: dict[str, Any], section: str, old: object, new: str) -> None:
    for entry in document[section]:
        if entry["name"] == old:
            entry["name"] = new
        elif entry["name"] == new:
            raise _no_kubeconfig(f"another entry of its {section} is already called {new}")


def _bracketed(address: str) -> str:
    bare = address.strip("[]")
    try:
        version = ipaddress.ip_address(bare).version
    except ValueError:
        return bare
    return f"[{bare}]" if version == 6 else bare


def _no_kubeconfig(evidence: str) -> StepFailed:
    return StepFailed(
        "the server's kubeconfig cannot be used",
        evidence=evidence,
        remedy="check /etc/rancher/k3s/k3s.yaml on the server",
        code="kubeconfig.invalid",
    )
