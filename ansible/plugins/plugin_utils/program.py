"""The host program: as it is run on a host, and as it is asked here.

On a host it runs as `pk3s` runs it: one fixed command reads a loader, one line that says what to run, and the program
from standard input. Nothing of a run is in an argument vector or in a file. Here the same file makes the few decisions
that need several hosts, so that they are made by the code that the hosts run; in a process of its own, as Ansible's has
its modules for all plays and hosts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail

# After the deadline the program has this long to stop between two changes; then it is ended where it is.
_GRACE_SECONDS = 10.0
_EVIDENCE_CHARACTERS = 300
_KEPT = "/usr/local/lib/productive-k3s"
_DECISIONS = Path(__file__).with_name("decisions.py")
_DECIDE_SECONDS = 60.0
_REWRITE = "write the inventory again: pk3s inventory"


@dataclass(frozen=True)
class Run:
    """One run of the program: a verb with its flags, the document for its standard input, and its deadline.

    `keep` is for runs that change the host: those keep the program there, the others leave nothing behind.
    """

    arguments: tuple[str, ...]
    document: Mapping[str, Any] | None = None
    deadline_seconds: float = 60.0
    keep: bool = False


class Program:
    """The program's file, verified, and the loader that runs it on a host."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        self._path = Path(described["path"])
        self._sha256 = str(described["sha256"])
        self._command = [str(word) for word in described["command"]]
        try:
            self._data = self._path.read_bytes()
            self._loader = Path(described["loader"]).read_bytes()
        except OSError as error:
            raise AnsibleActionFail(
                f"the host program is not here [ansible.program]; seen: {error.filename}: {error.strerror}; "
                f"next: {_REWRITE}"
            ) from error
        found = hashlib.sha256(self._data).hexdigest()
        if found != self._sha256:
            raise AnsibleActionFail(
                "the host program is not the one that the inventory names [ansible.program]; "
                f"seen: {self._path} has sha256 {found[:12]}..., not {self._sha256[:12]}...; next: {_REWRITE}"
            )

    @property
    def command(self) -> str:
        """The one command, for a shell."""
        return shlex.join(self._command)

    @property
    def kept_command(self) -> str:
        """The command that runs the program from where an earlier run kept it."""
        return shlex.join((self._command[0], "-I", f"{_KEPT}/{self._sha256}.pyz"))

    def input(self, run: Run) -> bytes:
        """Return all that the command reads."""
        request = ("--request", "-") if run.document is not None else ()
        asked = {
            "arguments": (run.arguments[0], "--json", *request, *run.arguments[1:]),
            "document": json.dumps(run.document) if run.document is not None else None,
            "deadline": run.deadline_seconds,
            "grace": _GRACE_SECONDS,
            # Ansible closes standard input behind what it sends: its end is not that of whoever reads the answer.
            "payload": True,
            "sha256": self._sha256,
            "keep": run.keep,
        }
        return self._loader + json.dumps(asked).encode("ascii") + b"\n" + base64.b64encode(self._data) + b"\n"

    def decide(self, question: str, **documents: Any) -> Any:
        """Return what the program says to a question of plugin_utils/decisions.py, asked in a process of its own."""
        asked = json.dumps({"program": str(self._path), "question": question, "documents": documents})
        try:
            done = subprocess.run(
                (sys.executable, "-I", str(_DECISIONS)),
                input=asked,
                capture_output=True,
                text=True,
                check=False,
                timeout=_DECIDE_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _does_not_run(str(error)) from error
        if done.returncode != 0:
            raise _does_not_run((done.stderr.strip() or f"it ended with {done.returncode}").splitlines()[-1])
        answer = json.loads(done.stdout)
        if "failure" in answer:
            raise AnsibleActionFail(in_words(answer["failure"]))
        return answer["answer"]


def _does_not_run(seen: str) -> AnsibleActionFail:
    what = "the host program does not run on this computer [ansible.program]"
    return AnsibleActionFail(f"{what}; seen: {seen[:_EVIDENCE_CHARACTERS]}; next: {_REWRITE}")


def in_words(failure: Mapping[str, Any]) -> str:
    """Return a failure as one line: what, its code, what was seen, what to do."""
    seen = f"; seen: {failure['evidence']}" if failure.get("evidence") else ""
    remedy = f"; next: {failure['remedy']}" if failure.get("remedy") else ""
    return f"{failure['what']} [{failure['code']}]{seen}{remedy}"


def read_result(code: int, output: str, errors: str) -> dict[str, Any]:
    """Return the one result of a run. Without one, what is known of the cause is a failed result."""
    messages = [found for line in output.splitlines() if (found := _message(line)) is not None]
    results = [found for found in messages if found["type"] == "result"]
    if len(results) == 1:
        return results[0]
    said = [line.strip() for line in (*output.splitlines(), *errors.splitlines()) if line.strip()]
    words = [line for line in said if not line.startswith("{")]
    evidence = words[-1][:_EVIDENCE_CHARACTERS] if words else f"it printed nothing and ended with {code}"
    failure = _cause(code, " ".join(words).lower(), begun=any(found["type"] == "hello" for found in messages))
    return {"type": "result", "outcome": "failed", "failures": [{**failure, "evidence": evidence, "exit_code": 5}]}


def _message(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("type"), str) else None


def _cause(code: int, said: str, *, begun: bool) -> dict[str, str]:
    if not begun and "pk3s-old-python" in said:
        remedy = "Python 3.9 or newer is needed: use a newer release of the host's operating system"
        return {"code": "host.old-python", "what": "the host's Python is too old", "remedy": remedy}
    if not begun and "python3" in said and (code == 127 or "not found" in said or "no such file" in said):
        remedy = "install it so that /usr/bin/python3 is there, for example: apt-get install python3"
        return {"code": "host.no-python", "what": "there is no Python on the host", "remedy": remedy}
    if not begun and "sudo" in said:
        remedy = "let the user become root there, or give its password: ansible-playbook --ask-become-pass"
        return {"code": "sudo.refused", "what": "sudo does not run the program", "remedy": remedy}
    return {
        "code": "host.no-result",
        "what": "the host program ended without a result, so it is not known what it did",
        "remedy": "run the playbook again: it looks at the host first and goes on from what is true there",
    }
