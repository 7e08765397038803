"""The one command that is run on a host, and the lines that it reads. Pure but for reading this package's own files.

->  the loader's source, the same for all hosts and runs
->  one line of JSON: what to run, with the document, which may hold secrets (after a password only once the host
    has said `ready`: what sudo refuses, it would read as further passwords)
->  one line of base64: the program, only if the host says `want`, as it has not kept this one
<-  hello: the program runs; a payload follows as it is
"""

from __future__ import annotations

import base64
import functools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from productive_k3s_infra.artifacts.program import Program

PYTHON = "/usr/bin/python3"
# What a sudoers line names: one fixed command that holds no data. It amounts to root, and the docs say so.
COMMAND = (PYTHON, "-I", "-c", "exec(eval(input()))")
# Our own prompt tells sudo's question apart from all else on standard error.
SUDO_PROMPT = "[pk3s-sudo-password]"
# After the deadline the program has this long to stop between two changes; then it is ended where it is.
GRACE_SECONDS = 10.0
_READING = frozenset({"facts", "validate", "token", "kubeconfig", "logs", "probe"})


@dataclass(frozen=True)
class Invocation:
    """One run of the program: its verb and flags, the document as JSON text, and what the host shall keep to."""

    arguments: tuple[str, ...]
    document: str | None
    deadline_seconds: float
    has_payload: bool = False

    @property
    def keeps_program(self) -> bool:
        """Whether the program is kept on the host: only runs that write there anyway do."""
        return self.arguments[0] not in _READING and "--plan" not in self.arguments

    def line(self, program: Program) -> bytes:
        """Return the line that the loader reads."""
        asked = {
            "arguments": self.arguments,
            "document": self.document,
            "deadline": self.deadline_seconds,
            "grace": GRACE_SECONDS,
            "payload": self.has_payload,
            "sha256": program.sha256,
            "keep": self.keeps_program,
        }
        return json.dumps(asked).encode("ascii") + b"\n"


def invocation(
    verb: str,
    document: Mapping[str, Any] | None,
    arguments: tuple[str, ...],
    deadline_seconds: float,
    *,
    has_payload: bool,
) -> Invocation:
    """Return the run for a call of a verb; `document` is given as `--request -`."""
    request = ("--request", "-") if document is not None else ()
    text = json.dumps(document) if document is not None else None
    return Invocation((verb, "--json", *request, *arguments), text, deadline_seconds, has_payload)


def root_command() -> str:
    """Return the command for a login that is root already."""
    return shlex.join(COMMAND)


def sudo_command(*, with_password: bool) -> str:
    """Return the command through sudo, for any login shell.

    sudo speaks English, so that what it says can be told apart. With a password it forgets that it may know us (-k):
    it always asks then, and the password can never become a line that somebody else reads.
    """
    asking = ("-k", "-S", "-p", SUDO_PROMPT) if with_password else ("-n",)
    return shlex.join(("env", "LC_ALL=C", "sudo", *asking, "--", *COMMAND))


# What an old Python can still read; standard error says the rest.
_FIRST = """\
import sys
if sys.version_info < (3, 9):
    sys.exit("{marker} " + sys.version.split()[0])
import importlib.util
missing = [name for name in {modules} if importlib.util.find_spec(name) is None]
if missing:
    print({half})
    print({installed} % " ".join(missing))
    sys.exit(5)
exec({loader})
"""
OLD_PYTHON = "pk3s-old-python"
# Of Debian's and Ubuntu's python3-minimal these are not a part, nor of some images; a test holds the list complete.
_MODULES = (
    "base64",
    "difflib",
    "hashlib",
    "http",
    "ipaddress",
    "json",
    "queue",
    "secrets",
    "selectors",
    "ssl",
    "urllib",
)
# The wire's own lines, as json is among what may be missing.
_HALF = {"type": "hello", "program": "", "python": "", "schema": 1}
_HALF_RESULT = {
    "type": "result",
    "outcome": "failed",
    "failures": [
        {
            "code": "host.half-python",
            "what": "the host's Python lacks modules of the standard library",
            "evidence": f"{PYTHON} lacks: %s",
            "remedy": (
                "install the complete package, for example: apt-get install python3 (python3-minimal is not enough)"
            ),
            "exit_code": 5,
        }
    ],
}


@functools.cache
def loader_line() -> bytes:
    """Return the first line: a Python literal of the loader's source. It is the same for all hosts and all runs."""
    loader = resources.files("productive_k3s_infra.hosts.wire").joinpath("loader.py").read_text(encoding="utf-8")
    half, result = ascii(json.dumps(_HALF)), ascii(json.dumps(_HALF_RESULT))
    first = _FIRST.format(marker=OLD_PYTHON, modules=_MODULES, half=half, installed=result, loader=ascii(loader))
    return ascii(first).encode("ascii") + b"\n"


@functools.lru_cache(maxsize=1)
def program_line(program: Program) -> bytes:
    """Return the program as one line."""
    return base64.b64encode(program.data) + b"\n"
