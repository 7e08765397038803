"""Situations as inventories for Ansible, and what their hosts answer to the role."""

from __future__ import annotations

from typing import Any

from productive_k3s.contract.change import Change
from productive_k3s.contract.codec import encode
from productive_k3s.contract.failure import Failure
from productive_k3s.contract.request import Request
from productive_k3s.plan.changes import assess
from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.artifacts.release import Resolved
from productive_k3s_infra.inventory.observed import Observed
from productive_k3s_infra.operations.inventory import ansible_inventory
from productive_k3s_infra.operations.observe import Observation
from productive_k3s_infra.plan.requests import Situation, request_for
from productive_k3s_infra.validate.quick import expectation
from productive_k3s_infra.workspace.ansible_files import AnsibleInventory
from static.contract_program.hosts import TOKEN

Answers = dict[str, dict[str, Any]]


def seen(situation: Situation, **local_files: Any) -> Observation:
    """What pk3s would have seen."""
    return Observation(situation.inventory, Observed({}, {}), situation, Resolved(situation.files, local_files))


def inventory(situation: Situation) -> AnsibleInventory:
    return ansible_inventory(seen(situation), build_program(), "", expectation(situation.spec, situation.inventory))


def changes_of(situation: Situation, name: str) -> tuple[Change, ...]:
    host = next(host for host in situation.inventory.hosts if host.name == name)
    return assess(request_for(situation, host), situation.facts[name], planning=True).changes


def answers(situation: Situation) -> Answers:
    """Hosts that look as the situation says, do what they are asked, and are valid then."""
    found: Answers = {}
    for host in situation.inventory.hosts:
        changes = [encode(change) for change in changes_of(situation, host.name)]
        facts = encode(situation.facts[host.name])
        look = {"outcome": "planned" if changes else "unchanged", "changes": changes, "facts": facts}
        made = {"outcome": "done", "changes": changes, "facts": facts}
        judged = {"outcome": "done", "checks": [check(passed=True)], "facts": facts, "data": {"scope": "quick"}}
        found[host.name] = {
            "look": look,
            host.role: made,
            "token": {"outcome": "done", "data": {"agent": TOKEN, "server": "K10-of-the-server"}},
            "node": {"outcome": "done"},
            "facts": {"facts": facts},
            "validate": judged,
            "note": {"outcome": "done"},
            "uninstall": {"outcome": "done", "changes": [encode(uninstallation())]},
        }
    return found


def check(*, passed: bool) -> dict[str, Any]:
    return {
        "id": "node.ready",
        "subject": "agent-1",
        "passed": passed,
        "severity": "error",
        "message": "is Ready" if passed else "is not Ready",
        "evidence": "" if passed else "NotReady for 40 s",
        "remedy": "" if passed else "see its unit",
    }


def uninstallation() -> Change:
    return Change("files:host", "remove-files", "files", "K3s is uninstalled from this host", "disrupt")


def failure(code: str = "k3s.no-token", exit_code: int = 4) -> dict[str, Any]:
    found = Failure(code, "a token is missing", "no file", "give one", exit_code)
    return {"outcome": "refused" if exit_code == 4 else "failed", "failures": [encode(found)]}


def asked(request: Request) -> dict[str, Any]:
    """The document of a request, secrets and all."""
    document: dict[str, Any] = encode(request, unmask=True)
    return document
