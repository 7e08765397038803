"""The OpenTofu command: how it is found and called, what is heard of it, and what its complaints mean."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from productive_k3s_infra import _process
from productive_k3s_infra._process import ProcessResult
from productive_k3s_infra.errors import Pk3sError, ProcessFailed
from productive_k3s_infra.providers.aws.diagnostics import Diagnostic, explain
from productive_k3s_infra.providers.aws.tofu import Tofu, find_program

NAMED = {"TOFU_BIN": "/bin/true", "PATH": "/bin"}

# A shell cannot trap a signal that was ignored when it began, as in a job in the background; this and OpenTofu can.
STOPS_IN_ORDER = """
import signal, sys
def stop(*_):
    print("stopped", flush=True)
    sys.exit(0)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""


class Program:
    """Stands in for the process: `lines` are said, then it ends well, or with `error`."""

    def __init__(self, stdout: str = "", lines: Sequence[Any] = (), error: ProcessFailed | None = None) -> None:
        self.stdout = stdout
        self.lines = lines
        self.error = error
        self.calls: list[tuple[tuple[str, ...], dict[str, str]]] = []

    def run(self, argv: tuple[str, ...], *, timeout_seconds: float, env: dict[str, str]) -> ProcessResult:
        self.calls.append((argv, env))
        if self.error is not None:
            raise self.error
        return ProcessResult(argv, 0, self.stdout, "")

    def run_with_lines(
        self,
        argv: tuple[str, ...],
        on_line: Callable[[str], None],
        *,
        timeout_seconds: float,
        env: dict[str, str],
        on_start: Callable[[Callable[[], None]], None],
    ) -> None:
        self.calls.append((argv, env))
        on_start(lambda: None)
        for line in self.lines:
            on_line(line if isinstance(line, str) else json.dumps(line))
        if self.error is not None:
            raise self.error


def tofu(program: Program, **environment: str) -> Tofu:
    return Tofu(Path("/folder"), {**NAMED, **environment}, program.run, program.run_with_lines)


def error_of(call: Callable[[], object]) -> Pk3sError:
    with pytest.raises(Pk3sError) as caught:
        call()
    return caught.value


def complaint(summary: str, detail: str = "", address: str = "") -> dict[str, Any]:
    found = {"severity": "error", "summary": summary, "detail": detail, "address": address}
    return {"@level": "error", "@message": f"Error: {summary}", "type": "diagnostic", "diagnostic": found}


def test_the_program_is_the_named_one_then_tofu_then_terraform(tmp_path: Path) -> None:
    for name in ("tofu", "terraform", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    path = {"PATH": str(tmp_path)}
    assert find_program(path) == str(tmp_path / "tofu")
    assert find_program({**path, "TOFU_BIN": "mine"}) == str(tmp_path / "mine")
    (tmp_path / "tofu").unlink()
    assert find_program(path) == str(tmp_path / "terraform")
    (tmp_path / "terraform").unlink()
    for environment in (path, {**path, "TOFU_BIN": "/nowhere/tofu"}):
        error = error_of(lambda environment=environment: find_program(environment))  # type: ignore[misc]
        assert error.code == "tofu.missing"
        assert "TOFU_BIN" in error.remedy


@pytest.mark.parametrize(
    ("said", "code"),
    [('{"terraform_version": "1.9.8"}', "tofu.too-old"), ("1.10", "tofu.unknown-output"), ("", "tofu.unknown-output")],
)
def test_a_program_that_cannot_be_used_is_refused(said: str, code: str) -> None:
    assert error_of(tofu(Program(said)).version).code == code


def test_a_new_one_says_what_it_is() -> None:
    assert tofu(Program('{"terraform_version": "1.10.6"}')).version() == "true 1.10.6"
    assert tofu(Program('{"terraform_version": "2.0.0-beta1"}')).version() == "true 2.0.0-beta1"


def test_what_a_person_has_set_for_runs_by_hand_changes_nothing() -> None:
    program = Program()
    own = {"TF_VAR_nodes": "{}", "TF_CLI_ARGS_plan": "-target=x", "TF_WORKSPACE": "b", "AWS_SECRET_ACCESS_KEY": "hush"}
    tofu(program, **own).plan(Path("/p"), Path("/v"))
    argv, environment = program.calls[0]
    assert {environment[name] for name in ("TF_VAR_nodes", "TF_CLI_ARGS_plan", "TF_WORKSPACE")} == {""}
    assert environment["TF_DATA_DIR"] == "/folder/.terraform"
    assert "hush" not in " ".join(argv)
    assert "-input=false" in argv


def test_events_are_told_and_noise_is_not() -> None:
    hook = {"resource": {"addr": 'aws_instance.node["a"]'}, "action": "create"}
    lines = ["noise", "[1]", {"type": "apply_start", "hook": hook}, {"type": "apply_complete", "hook": hook}]
    said: list[tuple[str, str]] = []
    tofu(Program(lines=lines)).apply(Path("/p"), lambda address, what: said.append((address, what)))
    assert said == [('aws_instance.node["a"]', "creating"), ('aws_instance.node["a"]', "created")]


def test_its_complaint_is_the_evidence() -> None:
    wrong = complaint("No valid credential sources found", "Please see https://x\n  for more", 'provider["aws"]')
    error = error_of(lambda: tofu(Program(lines=[wrong], error=ProcessFailed("1"))).plan(Path("/p"), Path("/v")))
    assert (error.code, error.where) == ("aws.no-credentials", 'provider["aws"]')
    assert error.evidence == "No valid credential sources found: Please see https://x for more"


def test_one_that_does_not_end_has_last_words() -> None:
    program = Program(
        lines=[{"@message": "Still creating... [1800s elapsed]"}], error=ProcessFailed("x", code="process.timeout")
    )
    error = error_of(lambda: tofu(program).apply(Path("/p"), lambda *_: None))
    assert (error.code, error.evidence) == ("tofu.timeout", "its last output: Still creating... [1800s elapsed]")


def test_one_that_was_killed_has_last_words() -> None:
    program = Program(lines=[{"@message": "Creating..."}], error=ProcessFailed("x"))
    error = error_of(lambda: tofu(program).apply(Path("/p"), lambda *_: None))
    assert (error.code, error.evidence) == ("tofu.failed", "it stopped after: Creating...")


def test_an_interruption_that_comes_before_the_process_is_not_lost() -> None:
    program, heard = Program(), []
    one = tofu(program)
    one.interrupt()

    def run(*_: Any, on_start: Callable[[Callable[[], None]], None], **__: Any) -> None:
        on_start(lambda: heard.append("interrupt"))

    one.run_with_lines = run
    one.plan(Path("/p"), Path("/v"))
    assert heard == ["interrupt"]


def test_a_state_that_is_not_there_is_empty() -> None:
    assert tofu(Program("")).state_pull().empty


# Texts of OpenTofu 1.10.6, Terraform 1.11.4, the AWS provider 5.100.0, the EC2 API, and of the module's own conditions.
COMPLAINTS = [
    ("tofu.state-locked", 7, "Error acquiring the state lock", "Lock Info: ID: 6a5c Path: terraform.tfstate"),
    ("tofu.plan-stale", 5, "Saved plan is stale", "The given plan file can no longer be applied"),
    ("tofu.backend-changed", 5, "Backend configuration changed", "A change in the backend configuration"),
    ("tofu.too-old", 5, "Unsupported OpenTofu Core version", "This configuration does not support OpenTofu 1.9.0."),
    ("tofu.no-provider", 5, "Failed to query available provider packages", "Could not retrieve the list of available"),
    ("tofu.no-provider", 5, "Failed to install provider", "Error while installing hashicorp/aws v5.100.0"),
    ("aws.no-credentials", 5, "No valid credential sources found", "no EC2 IMDS role found"),
    ("aws.no-credentials", 5, "reading EC2 Instances", "api error AuthFailure: AWS was not able to validate"),
    ("aws.not-allowed", 5, "creating EC2 Instance", "api error UnauthorizedOperation: You are not authorized"),
    ("aws.network", 5, "Resource precondition failed", "aws.network: vpc_id and subnet_id belong together"),
    ("aws.network", 5, "no matching EC2 VPC found", ""),
    ("aws.network", 5, "Resource postcondition failed", "aws.no-subnet: the default VPC of this region has no subnet"),
    ("aws.key-pair", 5, "no matching EC2 Key Pair found", ""),
    (
        "aws.no-image",
        5,
        "Resource postcondition failed",
        "aws.no-image: this region has no Ubuntu 24.04 image for arm64",
    ),
    (
        "aws.no-image",
        5,
        "creating EC2 Instance",
        "api error InvalidAMIID.NotFound: The image id '[ami-1]' does not exist",
    ),
    ("aws.quota", 5, "creating EC2 Instance", "api error VcpuLimitExceeded: You have requested more vCPU capacity"),
    ("aws.quota", 5, "creating EC2 EIP", "api error AddressLimitExceeded: The maximum number of addresses"),
    ("aws.quota", 5, "creating EC2 Instance", "api error InsufficientInstanceCapacity: We currently do not have"),
    (
        "aws.instance-type",
        5,
        "creating EC2 Instance",
        "api error Unsupported: Your requested instance type (t4g.large)",
    ),
    ("aws.address", 5, "creating EC2 Instance", "api error InvalidIPAddress.InUse: Address 10.0.0.4 is in use."),
    ("aws.unreachable", 5, "reading EC2 VPCs", "dial tcp 127.0.0.1:1: connect: connection refused"),
    ("tofu.interrupted", 5, "execution halted", "operation canceled"),
    ("tofu.failed", 5, "Invalid function argument", "a thing that nobody expects"),
]


@pytest.mark.parametrize(("code", "exit_code", "summary", "detail"), COMPLAINTS)
def test_a_complaint_has_a_cause_and_a_remedy(code: str, exit_code: int, summary: str, detail: str) -> None:
    error = explain((Diagnostic("something before"), Diagnostic(summary, detail)), "apply", "/folder")
    assert (error.code, error.exit_code) == (code, exit_code)
    assert error.remedy
    assert summary in error.evidence


def test_a_program_that_runs_hears_the_interruption() -> None:
    """A process of its own group, as the real OpenTofu is: it stops in order, and that is no failure."""
    said: list[str] = []
    handles: list[Callable[[], None]] = []

    def hear(line: str) -> None:
        said.append(line)
        if line == "ready":
            handles[0]()

    _process.run_with_lines((sys.executable, "-c", STOPS_IN_ORDER), hear, timeout_seconds=60, on_start=handles.append)
    assert said == ["ready", "stopped"]
