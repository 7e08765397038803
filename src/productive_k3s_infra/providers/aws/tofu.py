"""The OpenTofu command (or Terraform): one method per sub-command, JSON out, its errors as ours.

Nothing secret is in its arguments: variables lie in a file, credentials come to it through its environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from productive_k3s_infra import _process
from productive_k3s_infra._process import ProcessResult
from productive_k3s_infra.errors import ProcessFailed, ProviderFailed
from productive_k3s_infra.providers.aws.diagnostics import Diagnostic, explain
from productive_k3s_infra.providers.aws.document import Plan, State

PROGRAMS = ("tofu", "terraform")
AT_LEAST = (1, 10)
_LOCK = "-lock-timeout=20s"
_QUICK_SECONDS, _INIT_SECONDS, _PLAN_SECONDS, _APPLY_SECONDS = 60.0, 600.0, 300.0, 1800.0

OnObject = Callable[[str, str], None]
"""Called with an object's address and what happens to it."""
Run = Callable[..., ProcessResult]
RunWithLines = Callable[..., None]


def find_program(environment: Mapping[str, str]) -> str:
    """Return the command: TOFU_BIN, else `tofu`, else `terraform` of PATH."""
    named = environment.get("TOFU_BIN")
    found = (shutil.which(name, path=environment.get("PATH")) for name in ((named,) if named else PROGRAMS))
    program = next((path for path in found if path), None)
    if program is None:
        raise ProviderFailed(
            "OpenTofu is not installed on this computer",
            evidence=f"TOFU_BIN is {named}" if named else "neither tofu nor terraform is in PATH",
            remedy="install OpenTofu 1.10 or newer (opentofu.org), or set its path: TOFU_BIN=PATH",
            code="tofu.missing",
        )
    return program


@dataclass
class Tofu:
    """OpenTofu in one folder. Every call raises ProviderFailed (or a Refused) that says what to do."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    run: Run = _process.run
    run_with_lines: RunWithLines = _process.run_with_lines
    _program: str = ""
    _interrupt: Callable[[], None] | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    def version(self) -> str:
        """Return which program of which version this is; raises tofu.too-old."""
        self._program = self._program or find_program(self.environment)
        said = self.run((self._program, "version", "-json"), timeout_seconds=_QUICK_SECONDS, env=self._env()).stdout
        try:
            number = str(json.loads(said)["terraform_version"])
            parts = tuple(int(part) for part in re.findall(r"\d+", number)[:2])
        except (ValueError, KeyError, TypeError) as error:
            raise ProviderFailed(
                f"{self._program} does not report its version", evidence=said[:200], code="tofu.unknown-output"
            ) from error
        if parts < AT_LEAST:
            raise ProviderFailed(
                f"{Path(self._program).name} is too old",
                evidence=f"{self._program} is {number}, needed is {'.'.join(map(str, AT_LEAST))}",
                remedy="install a newer OpenTofu, or set its path: TOFU_BIN=PATH",
                code="tofu.too-old",
            )
        return f"{Path(self._program).name} {number}"

    def init(self) -> None:
        """Get providers, module and backend ready."""
        self._lines("init", "-input=false", "-json", timeout=_INIT_SECONDS)

    def plan(self, target: Path, variables: Path, *more: str) -> None:
        """Snapshot at what there is, and write the plan into a file."""
        words = ("plan", "-json", "-input=false", _LOCK, f"-var-file={variables}", f"-out={target}", *more)
        self._lines(*words, timeout=_PLAN_SECONDS)

    def show(self, plan: Path) -> Plan:
        """Return a plan as a document."""
        return Plan.model_validate_json(self._quick("show", "-json", str(plan), seconds=_PLAN_SECONDS))

    def apply(self, plan: Path, on_object: OnObject) -> None:
        """Do exactly what a plan says; refused by OpenTofu if the state has changed since."""
        self._lines("apply", "-json", "-input=false", _LOCK, str(plan), timeout=_APPLY_SECONDS, on_object=on_object)

    def output(self, name: str) -> Any:
        """Return the value of an output, None where there is none yet."""
        return json.loads(self._quick("output", "-json")).get(name, {}).get("value")

    def state_pull(self) -> State:
        """Return the state, wherever it is kept."""
        said = self._quick("state", "pull")
        return State.model_validate_json(said) if said.strip() else State()

    def interrupt(self) -> None:
        """Ask what runs now to stop: it finishes what it is at and writes down what there is."""
        self._stopped.set()
        if self._interrupt is not None:
            self._interrupt()

    def _quick(self, *words: str, seconds: float = _QUICK_SECONDS) -> str:
        argv = (self._program or find_program(self.environment), f"-chdir={self.folder}", *words)
        try:
            return self.run(argv, timeout_seconds=seconds, env=self._env()).stdout
        except ProcessFailed as error:
            raise explain((Diagnostic(error.evidence),), words[0], str(self.folder)) from error

    def _lines(self, *words: str, timeout: float, on_object: OnObject | None = None) -> None:
        argv = (self._program or find_program(self.environment), f"-chdir={self.folder}", *words)
        wrong: list[Diagnostic] = []
        last = "nothing"

        def hear(line: str) -> None:
            nonlocal last
            event = _event(line)
            last = str(event.get("@message") or line)
            diagnostic = event.get("diagnostic") or {}
            if diagnostic.get("severity") == "error" or (not diagnostic and event.get("@level") == "error"):
                wrong.append(Diagnostic.of(event))
            hook = event.get("hook")
            if on_object is not None and isinstance(hook, dict):
                _tell(event, hook, on_object)

        def started(interrupt: Callable[[], None]) -> None:
            self._interrupt = interrupt
            if self._stopped.is_set():
                interrupt()

        try:
            self.run_with_lines(argv, hear, timeout_seconds=timeout, env=self._env(), on_start=started)
        except ProcessFailed as error:
            if error.code == "process.timeout":
                raise _too_slow(words[0], timeout, last, str(self.folder)) from error
            if error.code == "process.missing":
                raise
            raise explain(
                tuple(wrong) or (Diagnostic(f"it stopped after: {last}"),), words[0], str(self.folder)
            ) from error
        finally:
            self._interrupt = None

    def _env(self) -> dict[str, str]:
        # What a person has set for runs by hand (arguments, variables, another folder) must not change what is planned.
        quiet = {name: "" for name in self.environment if name.startswith(("TF_CLI_ARGS", "TF_VAR_", "TF_WORKSPACE"))}
        own = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "TF_DATA_DIR": str(self.folder / ".terraform")}
        return {**quiet, **own, "CHECKPOINT_DISABLE": "1"}


def _too_slow(verb: str, seconds: float, last: str, where: str) -> ProviderFailed:
    return ProviderFailed(
        f"tofu {verb} did not end within {seconds:g} s and was killed",
        where=where,
        evidence=f"its last output: {last}",
        remedy="check that AWS is available and reachable from here, then run it again: it continues from what exists",
        code="tofu.timeout",
    )


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _tell(event: Mapping[str, Any], hook: Mapping[str, Any], on_object: OnObject) -> None:
    resource = hook.get("resource")
    kind = event.get("type")
    if not isinstance(resource, dict) or kind not in {"apply_start", "apply_complete", "apply_errored"}:
        return
    doing = {
        "create": ("creating", "created"),
        "update": ("changing", "changed"),
        "delete": ("destroying", "destroyed"),
    }
    begun, done = doing.get(str(hook.get("action")), ("at", "done"))
    word = {"apply_start": begun, "apply_complete": done, "apply_errored": "failed"}[str(kind)]
    on_object(str(resource.get("addr", "")), word)
