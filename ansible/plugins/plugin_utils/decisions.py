"""Run in a process of its own: what the host program, from its file, says to a question. Standard library only.

Standard input is one document: `program`, the path of its file; `question`, the name of a function here; `documents`,
what it takes. Standard output is one, too: `answer`, or `failure` with what is wrong with the documents.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from importlib import import_module
from typing import Any


def _module(name: str) -> Any:
    return import_module(f"productive_k3s.{name}")


def _decode(kind: str, document: Any) -> Any:
    home = {"Expectation": "contract.expectation", "Facts": "contract.facts", "Request": "contract.request"}[kind]
    return _module("contract.codec").decode(getattr(_module(home), kind), document, kind.lower())


def needs(request: Any, facts: Any, wanted: dict[str, str]) -> dict[str, Any]:
    """Return whether the host is a member, whether it wants the token, and the digests of files that it lacks.

    `wanted` are its changes: id to action.
    """
    asked, seen = _decode("Request", request), _decode("Facts", facts)
    assessed = _module("plan.changes").assess(asked, seen, planning=True)
    there = {item.sha256 for item in seen.k3s.staged}
    files = (("binary", asked.binary), *((f"image:{item.name}", item) for item in asked.images))
    return {
        "member": _module("plan.effective").is_member(seen),
        "wants_token": bool(wanted) and (assessed.needs_token or "write-secret" in wanted.values()),
        "lacks": [
            item.sha256 for name, item in files if item and not item.url and name in wanted and item.sha256 not in there
        ],
    }


def node_differences(server: Any, members: list[Any]) -> list[tuple[str, str, list[str]]]:
    """Return what differs on nodes that are members: `label` or `taint`, the node, and the words for `node`.

    `server` are the facts of a server, which sees the cluster; `members` are pairs of a node's request and facts.
    """
    cluster, of_node = _decode("Facts", server).cluster, _module("plan.node")
    found = []
    for wish, seen in members:
        request = _decode("Request", wish)
        facts = dataclasses.replace(_decode("Facts", seen), cluster=cluster)
        labels, taints = of_node.node_differences(request, facts)
        words = [f"{key}={value}" if value is not None else f"{key}-" for key, value in sorted(labels.items())]
        for action, asked in (("label", words), ("taint", of_node.taint_words(taints) if taints is not None else ())):
            if asked:
                found.append((action, request.node_name, list(asked)))
    return found


def state(expectation: Any, facts: dict[str, Any]) -> str:
    """Return the digest of what the hosts are made of, for which a full validation passes; '' if one is not known.

    `facts` are by the node's name.
    """
    seen = {name: _decode("Facts", item) for name, item in facts.items()}
    found: str = _module("plan.state").state_of(_decode("Expectation", expectation), seen)
    return found


def main() -> None:
    """Answer one question."""
    asked = json.load(sys.stdin)
    sys.path.insert(0, asked["program"])
    found = str(import_module("productive_k3s").__file__)
    if not found.startswith(asked["program"]):
        sys.exit(f"{asked['program']} is not the program: productive_k3s comes from {found}")
    question = {"needs": needs, "node_differences": node_differences, "state": state}[asked["question"]]
    try:
        answer = {"answer": question(**asked["documents"])}
    except _module("contract.failure").ContractError as error:
        failure = error.failure
        answer = {"failure": {name: getattr(failure, name) for name in ("code", "what", "evidence", "remedy")}}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
