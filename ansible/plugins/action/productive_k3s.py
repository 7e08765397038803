"""Runs verbs of the host program. What it takes and returns is documented in plugins/modules/productive_k3s.py."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.productive_k3s.infra.plugins.plugin_utils.program import Program, Run, in_words, read_result

_FACTS_SECONDS = 60.0
_SHORT_SECONDS = 60.0
_STAGE_SECONDS = 900.0
_UNINSTALL_SECONDS = 300.0
_MARGIN_SECONDS = 60.0
_FAILED = ("failed", "refused", "locked", "interrupted")
Result = dict[str, Any]


class ActionModule(ActionBase):
    """One verb on one host: the request goes to standard input, the wire's result becomes Ansible's."""

    _supports_check_mode = True
    _supports_diff = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> Result:
        """Run the verb."""
        result = super().run(tmp, task_vars)
        arguments = self._arguments()
        self._program = Program(arguments["program"])
        verbs: dict[str, Callable[[Result], Result]] = {
            "look": self._look,
            "apply": self._apply,
            "stage": self._stage,
            "token": self._token,
            "label": self._label,
            "validate": self._validate,
            "note": self._note,
            "uninstall": self._uninstall,
        }
        result.update(verbs[arguments["verb"]](arguments))
        return result

    def _arguments(self) -> Result:
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "verb": {"choices": _VERBS, "required": True},
                "program": {
                    "type": "dict",
                    "required": True,
                    "options": {
                        "path": {"type": "path", "required": True},
                        "sha256": {"type": "str", "required": True},
                        "loader": {"type": "path", "required": True},
                        "command": {"type": "list", "elements": "str", "required": True},
                    },
                },
                "request": {"type": "dict"},
                "agreed": {"type": "list", "elements": "str"},
                "others_are_members": {"type": "bool", "default": False},
                "token": {"type": "str", "no_log": True},
                "file": {"type": "dict"},
                "members": {"type": "list", "elements": "list", "default": []},
                "facts": {"type": "dict"},
                "expectation": {"type": "dict", "default": {}},
                "scope": {"choices": ["host", "cluster"], "default": "host"},
                "full": {"type": "bool", "default": False},
                "unless_passed": {"type": "bool", "default": False},
                "seen": {"type": "dict", "default": {}},
                "cluster": {"type": "str"},
                "force": {"type": "bool", "default": False},
            },
            required_if=[
                ("verb", "look", ["request"]),
                ("verb", "apply", ["request"]),
                ("verb", "stage", ["file"]),
                ("verb", "label", ["facts"]),
                ("verb", "uninstall", ["cluster"]),
            ],
        )
        # Plain values: Ansible's own know where they come from, and that is nobody's business on a host.
        plain: Result = json.loads(json.dumps(arguments))
        return plain

    def _call(self, run: Run) -> Result:
        done = self._low_level_execute_command(self._program.command, in_data=self._program.input(run))
        return read_result(done["rc"], done["stdout"], done["stderr"])

    def _look(self, arguments: Result) -> Result:
        """Say what a run would change; nothing is written, and nothing is changed by having looked."""
        found = self._call(_plan_of(arguments["request"]))
        result = self._said(found, changed=False)
        if result.get("failed"):
            return result
        wanted = {change["id"]: change["action"] for change in found["changes"]}
        needs = self._program.decide("needs", request=arguments["request"], facts=found["facts"], wanted=wanted)
        return {**result, "facts": found["facts"], **needs}

    def _apply(self, arguments: Result) -> Result:
        """Make the host what the request asks, or say in check mode what that would change."""
        request = arguments["request"]
        request["others_are_members"] = request["mode"] != "agent" and arguments["others_are_members"]
        if self._task.check_mode:
            found = self._call(_plan_of(request))
            return self._said(found, changed=bool(found.get("changes")))
        if arguments["agreed"] is not None:
            request["agreed"] = arguments["agreed"]
        if request.get("join") and arguments["token"]:
            request["join"]["token"] = arguments["token"]
        limits = request["deadlines"]
        seconds = limits["download"] + limits["start"] + limits["ready"] + _MARGIN_SECONDS
        found = self._call(Run((_verb(request),), request, seconds, keep=True))
        after = {"facts": found["facts"]} if found.get("facts") else {}
        return {**self._said(found), **after}

    def _stage(self, arguments: Result) -> Result:
        """Push a file: Ansible brings it, the program verifies it and gives it its name."""
        if self._task.check_mode:
            return {"changed": True}
        file = arguments["file"]
        # A run that keeps the program: what comes as a file cannot come behind it on one standard input.
        kept = self._call(Run(("facts",), keep=True))
        if kept["outcome"] in _FAILED:
            return self._said(kept)
        folder = self._make_tmp_path()
        try:
            there = self._transfer_file(file["path"], f"{folder.rstrip('/')}/artifact")
            words = ("stage", "--json", "--sha256", file["sha256"], "--to", file["name"])
            limit = shlex.join(("timeout", "--kill-after=10", str(int(_STAGE_SECONDS))))
            command = f"{limit} {self._program.kept_command} {shlex.join(words)} < {shlex.quote(there)}"
            done = self._low_level_execute_command(command)
        finally:
            self._remove_tmp_path(folder)
        found = read_result(done["rc"], done["stdout"], done["stderr"])
        return self._said(found, changed=found["outcome"] == "done")

    def _token(self, arguments: Result) -> Result:
        """Return the agent token. The task has to have no_log; its failure holds no secret."""
        del arguments
        if self._task.no_log is not True:
            raise AnsibleActionFail("the token is a secret [ansible.no-log]; next: give the task no_log: true")
        found = self._call(Run(("token",), deadline_seconds=_SHORT_SECONDS))
        result = self._said(found, changed=False)
        if not result.get("failed"):
            result["token"] = found["data"]["agent"]
        return result

    def _label(self, arguments: Result) -> Result:
        """Set labels and taints of nodes that are members, as the API of this server's cluster shows them."""
        server, members = arguments["facts"], arguments["members"]
        if not members or not (server["cluster"] or {}).get("reachable"):
            return {"changed": False}
        result: Result = {"changed": False, "notes": [], "diff": []}
        for action, node, words in self._program.decide("node_differences", server=server, members=members):
            said = " ".join(words)
            result["changed"] = True
            result["notes"].append(f"{node}: {said}")
            if self._task.diff:
                result["diff"].append({"prepared": f"{action}s of {node}: {said}\n"})
            if self._task.check_mode:
                continue
            run = Run(("node", action, node, *words), deadline_seconds=_SHORT_SECONDS)
            done = self._said(self._call(run), changed=True)
            if done.get("failed"):
                return {**done, "notes": result["notes"]}
        return result

    def _validate(self, arguments: Result) -> Result:
        """Judge the host, from a server its cluster too; a check that failed fails the task.

        With `unless_passed` a full validation is a quick one where it has passed for what the hosts are by `seen`.
        That one did not pass is noted in the cluster at once; that it did is for the verb `note`.
        """
        expectation, cluster = arguments["expectation"], arguments["scope"] == "cluster"
        full = cluster and arguments["full"]
        seconds = _FACTS_SECONDS
        if cluster:
            seconds += expectation.get("deadline", 60.0)
        if full:
            seconds += expectation.get("trial_deadline", 120.0) + _MARGIN_SECONDS
        if full and arguments["unless_passed"]:
            state = self._program.decide("state", expectation=expectation, facts=arguments["seen"])
            expectation = {**expectation, "state": state, "unless_passed": True}
        words = ("validate", "--scope", arguments["scope"], *(("--full",) if full else ()))
        found = self._call(Run(words, expectation, seconds))
        result = self._said(found, changed=False)
        result["scope"] = (found.get("data") or {}).get("scope", "full" if full else "host")
        if found.get("facts"):
            result["facts"] = found["facts"]
        if result.get("failed") and result["scope"] == "full":
            self._call(Run(("validate", "--note", ""), deadline_seconds=_SHORT_SECONDS))
        checks = found.get("checks", [])
        failed = [check for check in checks if not check["passed"]]
        wrong = [check for check in failed if check["severity"] == "error"]
        result["checks"] = {"passed": len(checks) - len(failed), "failed": failed}
        result["warnings"] = [_in_words(check) for check in failed if check["severity"] == "warning"]
        if wrong:
            result["msg"] = "; ".join((*map(_in_words, wrong), *map(in_words, found.get("failures", []))))
        return result

    def _note(self, arguments: Result) -> Result:
        """Note in the cluster that a full validation has passed for what the hosts are by `seen`, if all are known.

        Where it cannot be noted the next run tries it once more, which does no harm.
        """
        state = self._program.decide("state", expectation=arguments["expectation"], facts=arguments["seen"])
        noted = False
        if state and not self._task.check_mode:
            found = self._call(Run(("validate", "--note", state), deadline_seconds=_SHORT_SECONDS))
            noted = found["outcome"] == "done"
        return {"changed": False, "noted": noted}

    def _uninstall(self, arguments: Result) -> Result:
        """Take K3s off the host."""
        words = ("uninstall", "--cluster", arguments["cluster"], "--yes", *(("--force",) if arguments["force"] else ()))
        if self._task.check_mode:
            found = self._call(Run((*words, "--plan")))
            return self._said(found, changed=bool(found.get("changes")))
        return self._said(self._call(Run(words, deadline_seconds=_UNINSTALL_SECONDS)))

    def _said(self, found: Result, *, changed: bool | None = None) -> Result:
        """Return what Ansible shows of a result: changes with their reasons, notes, or why it failed."""
        changes = found.get("changes", []) if found["outcome"] not in ("refused", "locked") else []
        made = found["outcome"] in ("done", "failed", "interrupted") and bool(changes)
        result: Result = {
            "changed": made if changed is None else changed,
            "outcome": found["outcome"],
            "changes": [f"{change['id']}: {change['reason']}" for change in changes],
            "change_ids": [change["id"] for change in changes],
            "notes": found.get("notes", []),
        }
        if self._task.diff and result["changed"]:
            result["diff"] = [{"prepared": _diff_of(change)} for change in changes]
        if found["outcome"] in _FAILED:
            failures = found.get("failures", [])
            result["failed"] = True
            result["failures"] = failures
            result["msg"] = "; ".join(map(in_words, failures)) or f"the run ended as {found['outcome']}"
        return result


_VERBS = ["look", "apply", "stage", "token", "label", "validate", "note", "uninstall"]


def _verb(request: Mapping[str, Any]) -> str:
    return str(request["mode"])


def _plan_of(request: Mapping[str, Any]) -> Run:
    return Run((_verb(request), "--plan"), request, _FACTS_SECONDS)


def _in_words(check: Mapping[str, Any]) -> str:
    return in_words({**check, "code": check["id"], "what": f"{check['subject']}: {check['message']}"})


def _diff_of(change: Mapping[str, Any]) -> str:
    return "".join(f"{line}\n" for line in (f"{change['id']}: {change['reason']}", *change["diff"]))
