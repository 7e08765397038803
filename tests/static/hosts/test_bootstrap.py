"""The one command, and the loader that it reads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pythons
from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.hosts.wire import bootstrap, refusals
from productive_k3s_infra.hosts.wire.reader import WireReader

REPOSITORY = Path(__file__).resolve().parents[3]
PYTHONS = pythons.find()


def test_the_command_is_what_the_docs_print() -> None:
    """Changing it breaks every sudoers file that exists: do not."""
    assert refusals.sudoers_line("ops") == ("ops ALL=(root) NOPASSWD: /usr/bin/python3 -I -c exec(eval(input()))")
    readme = (REPOSITORY / "use-cases" / "onprem-basic" / "README.md").read_text()
    assert refusals.sudoers_line("ops") in readme
    assert bootstrap.root_command() == "/usr/bin/python3 -I -c 'exec(eval(input()))'"
    ending = f"-- {bootstrap.root_command()}"
    assert bootstrap.sudo_command(with_password=False) == f"env LC_ALL=C sudo -n {ending}"
    asking = f"env LC_ALL=C sudo -k -S -p '{bootstrap.SUDO_PROMPT}' {ending}"
    assert bootstrap.sudo_command(with_password=True) == asking


def test_a_sudoers_line_needs_no_escapes() -> None:
    """sudoers(5): in a command's arguments , : = \\ end or escape, and * ? [ ] match: none of them may be there."""
    assert not re.search(r"[,:=\\*?\[\]!#\"]", " ".join(bootstrap.COMMAND))


def test_the_first_line_is_one_line_and_the_same_for_all() -> None:
    line = bootstrap.loader_line()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line.isascii()
    assert line is bootstrap.loader_line()


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (("facts",), False),
        (("validate", "--full"), False),
        (("token",), False),
        (("kubeconfig",), False),
        (("probe",), False),
        (("server", "--plan"), False),
        (("remove", "--plan"), False),
        (("server",), True),
        (("agent",), True),
        (("single-node",), True),
        (("stage",), True),
        (("remove",), True),
        (("node", "drain", "a"), True),
    ],
)
def test_only_runs_that_change_the_host_keep_the_program(arguments: tuple[str, ...], kept: bool) -> None:
    run = bootstrap.invocation(arguments[0], None, arguments[1:], 60, has_payload=False)
    assert run.keeps_program is kept


def test_a_document_is_announced_and_never_an_argument() -> None:
    run = bootstrap.invocation("server", {"token": "K10secret"}, ("--plan",), 60, has_payload=False)
    assert run.arguments == ("server", "--json", "--request", "-", "--plan")
    line = run.line(build_program())
    assert b"K10secret" in line
    assert line.count(b"\n") == 1


def run_loader(python: str, *lines: bytes) -> subprocess.CompletedProcess[bytes]:
    command = (python, "-I", "-c", bootstrap.COMMAND[-1])
    return subprocess.run(command, input=b"".join(lines), capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_program_runs_from_memory(python: str) -> None:
    program = build_program()
    run = bootstrap.invocation("agent", {"nonsense": "ü"}, (), 60, has_payload=True)
    lines = (bootstrap.loader_line(), run.line(program).replace(b'"keep": true', b'"keep": false'))
    done = run_loader(python, *lines, bootstrap.program_line(program))
    reader = WireReader("here")
    list(reader.feed(done.stdout))
    assert reader.require_result(done.stderr.decode()).failures[0].code == "request.invalid"
    assert done.stderr == b""


def invalid(done: subprocess.CompletedProcess[bytes]) -> str:
    reader = WireReader("here")
    list(reader.feed(done.stdout))
    return reader.require_result(done.stderr.decode()).failures[0].code


@pytest.mark.parametrize("damaged", [False, True])
def test_a_run_that_reads_takes_what_an_earlier_one_kept_if_it_is_whole(tmp_path: Path, damaged: bool) -> None:
    program = build_program()
    kept = tmp_path / f"{program.sha256}.pyz"
    kept.write_bytes(program.data[:-1] if damaged else program.data)
    # What ends with the lines would be a sender who has gone, and stop the run.
    run = bootstrap.invocation("agent", {"nonsense": 1}, ("--plan",), 60, has_payload=True)
    loader = bootstrap.loader_line().replace(b"/usr/local/lib/productive-k3s", bytes(tmp_path))
    lines = (loader, run.line(program), *((bootstrap.program_line(program),) if damaged else ()))
    done = run_loader(sys.executable, *lines)
    assert (b'"want"' in done.stdout) is damaged
    assert invalid(done) == "request.invalid"
    assert [path.name for path in tmp_path.iterdir()] == [kept.name], "it writes nothing"
    assert (kept.read_bytes() == program.data) is not damaged


ANOTHER_RUN = """\
import os
class Twice:
    "Another run does the same, a moment before."
    def __init__(self, name):
        self.real = getattr(os, name)
        setattr(os, name, self)
    def __call__(self, path, *rest):
        if "kept" in str(path):
            self.real(path, *rest)
        return self.real(path, *rest)
Twice("mkdir"), Twice("unlink")
listed = os.listdir
os.listdir = lambda path: [*listed(path), "gone.pyz"]
"""


def test_two_runs_may_keep_the_program_at_once(tmp_path: Path) -> None:
    program = build_program()
    run = bootstrap.invocation("agent", {"nonsense": 1}, (), 60, has_payload=True)
    directory = tmp_path / "kept"
    source = ast.literal_eval(bootstrap.loader_line().decode()).replace("/usr/local/lib/productive-k3s", str(directory))
    loader = ascii(f"exec({ANOTHER_RUN!r})\n{source}").encode() + b"\n"

    def keep() -> subprocess.CompletedProcess[bytes]:
        return run_loader(sys.executable, loader, run.line(program), bootstrap.program_line(program))

    assert invalid(keep()) == "request.invalid", "the directory was there a moment before"
    (kept,) = directory.iterdir()
    assert kept.name == f"{program.sha256}.pyz"
    kept.unlink()
    for number in range(4):
        (directory / f"{number}.pyz").touch()
    assert invalid(keep()) == "request.invalid", "old ones went a moment before"
    assert len(list(directory.iterdir())) == 2


def test_a_damaged_program_is_a_result() -> None:
    program = build_program()
    run = bootstrap.invocation("facts", None, (), 60, has_payload=False)
    half = bootstrap.program_line(program)[:4000] + b"\n"
    done = run_loader(sys.executable, bootstrap.loader_line(), run.line(program), half)
    reader = WireReader("here")
    list(reader.feed(done.stdout))
    assert [failure.code for failure in reader.require_result("").failures] == ["host.program-damaged"]


def test_half_a_python_says_what_it_lacks() -> None:
    """As with python3-minimal: json is not there, and whoever imports it fails."""
    source = ast.literal_eval(bootstrap.loader_line().decode())
    hidden = f"import sys\nfor name in ('json', 'http'):\n    sys.modules[name] = None\n{source}"
    done = run_loader(sys.executable, ascii(hidden).encode() + b"\n")
    reader = WireReader("here")
    list(reader.feed(done.stdout))
    (failure,) = reader.require_result(done.stderr.decode()).failures
    assert failure.code == "host.half-python"
    assert failure.evidence.endswith("lacks: http json")
    assert done.stderr == b""


def test_what_may_be_missing_is_all_that_the_program_takes_of_the_standard_library() -> None:
    sources = [*(REPOSITORY / "src/productive_k3s").rglob("*.py"), Path(bootstrap.__file__).with_name("loader.py")]
    taken = {
        name.partition(".")[0]
        for source in sources
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        for name in (
            [item.name for item in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    # Built into the interpreter, or needed by it to start at all.
    always = {"__future__", "argparse", "binascii", "contextlib", "dataclasses", "datetime", "enum", "errno", "fcntl"}
    always |= {
        "functools",
        "io",
        "itertools",
        "os",
        "pkgutil",
        "posixpath",
        "re",
        "select",
        "shlex",
        "signal",
        "socket",
        "stat",
    }
    always |= {"struct", "subprocess", "sys", "threading", "time", "types", "typing"}
    assert (taken & sys.stdlib_module_names) - always == set(bootstrap._MODULES)


def test_an_old_python_says_so() -> None:
    line = bootstrap.loader_line().replace(b"(3, 9)", b"(9, 9)", 1)
    done = run_loader(sys.executable, line)
    said = done.stderr.decode().splitlines()
    error = refusals.explain("node-1", "ops", done.returncode, said)
    assert error is not None
    assert error.code == "host.old-python"
    assert sys.version.split()[0] in error.evidence


UNRESOLVED = "sudo: unable to resolve host k3s-1"


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (1, "sudo: a password is required", "sudo.password-wanted"),
        (1, "sudo: interactive authentication is required", "sudo.password-wanted"),
        (1, "sudo: sorry, you must have a tty to run sudo", "sudo.tty-wanted"),
        (1, f"{UNRESOLVED}: Name or service not known\nsudo: a password is required", "sudo.password-wanted"),
        (1, "sudo: setrlimit(RLIMIT_CORE): Not permitted\nsudo: a password is required", "sudo.password-wanted"),
        (1, f"{UNRESOLVED}: Temporary failure\nSorry, user ops may not run sudo on k3s-1.", "sudo.refused"),
        (1, "sudo: Account or password is expired, reset your password and try again", "host.account-expired"),
        (
            1,
            "WARNING: Your password has expired.\nPassword change required, no TTY.",
            "host.account-expired",
        ),
        (1, f"{UNRESOLVED}: Host not found", None),
        (1, "sudo: PAM account management error: Authentication failure", "sudo.refused"),
        (1, "Sorry, user ops is not allowed to execute '/usr/bin/python3 -I -c x' as root on a.", "sudo.refused"),
        (1, "ops is not in the sudoers file.  This incident will be reported.", "sudo.refused"),
        (1, "sudo: /usr/bin/python3: command not found", "host.no-python"),
        (127, "sh: 1: /usr/bin/python3: not found", "host.no-python"),
        (127, "bash: line 1: /usr/bin/python3: No such file or directory", "host.no-python"),
        (127, "env: 'sudo': No such file or directory", "sudo.missing"),
        (127, "", "host.no-python"),
        (1, "Traceback (most recent call last):", None),
        (None, "", None),
    ],
)
def test_why_the_command_did_not_run(status: int | None, said: str, code: str | None) -> None:
    error = refusals.explain("node-1", "ops", status, ["stty: no tty", *said.splitlines()] if said else [])
    assert (error.code if error else None) == code
    if error is not None:
        assert error.remedy
        assert error.evidence
        assert error.where == "node-1"
