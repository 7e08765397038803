"""The host program on the oldest and the newest Python that hosts have: Debian's own, in a root of each release.

A root holds a Python and what that needs, no systemd, no other package: as little as a host may have.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from productive_k3s_infra.artifacts.program import build_program

# Debian 11 has 3.9. The release that is being made has the newest that any has.
SUITES = {"bullseye": "3.9", "forky": "3.14"}
CACHE = Path("/var/cache/productive-k3s/pythons")
# A release past its end moves to the second.
MIRRORS = ("http://deb.debian.org/debian", "http://archive.debian.org/debian")
_BUILD_SECONDS = 600
_RUN_SECONDS = 120
# Nothing of the program may use what a later Python takes away.
_IMPORT_ALL = """
import importlib, sys, zipfile
names = [name[:-3].replace("/", ".") for name in zipfile.ZipFile(sys.argv[1]).namelist() if name.endswith(".py")]
sys.path.insert(0, sys.argv[1])
wanted = [name for name in names if name.startswith("productive_k3s.") and not name.endswith("__main__")]
for name in wanted:
    importlib.import_module(name.removesuffix(".__init__"))
print(len(wanted))
"""


@dataclass(frozen=True)
class Python:
    """A Python in a root of its own."""

    root: Path
    version: str

    def run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run it there, with a /proc of its own; a warning of Python is an error."""
        inside = ("unshare", "--mount", "--pid", "--fork", f"--root={self.root}", "--mount-proc", "--wd=/")
        command = (*inside, "/usr/bin/python3", "-I", "-W", "error", *words)
        return subprocess.run(
            command, input=given, capture_output=True, text=True, check=False, timeout=_RUN_SECONDS, env={"LC_ALL": "C"}
        )

    def verb(self, *words: str, given: str = "") -> dict[str, object]:
        """Run a verb of the program and return its result."""
        done = self.run("/root/productive-k3s.pyz", *words, "--json", given=given)
        results = [found for line in done.stdout.splitlines() if (found := json.loads(line))["type"] == "result"]
        assert len(results) == 1, f"{done.stdout}\n{done.stderr}"
        assert done.stderr == ""
        found: dict[str, object] = results[0]
        return found


@pytest.fixture(scope="module", params=SUITES)
def python(request: pytest.FixtureRequest) -> Python:
    suite = request.param
    root = CACHE / suite
    if not root.exists():
        build(suite, root)
    (root / "root" / "productive-k3s.pyz").write_bytes(build_program().data)
    return Python(root, SUITES[suite])


def build(suite: str, root: Path) -> None:
    """Make the root of a release; it is there whole or not at all."""
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    said = []
    for mirror in MIRRORS:
        # Old releases and copies of a mirror are out of date; the signatures are checked all the same.
        options = ("--variant=apt", "--mode=root", '--aptopt=Acquire::Check-Valid-Until "false"', "--include=python3")
        command = ("mmdebstrap", *options, suite, str(partial), f"deb {mirror} {suite} main")
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS)
        if done.returncode == 0:
            partial.rename(root)
            return
        said.append(f"{mirror}: {done.stderr[-300:]}")
        shutil.rmtree(partial, ignore_errors=True)
    raise AssertionError("\n".join(said))


def test_it_is_the_python_that_is_meant(python: Python) -> None:
    done = python.run("-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    assert (done.stdout.strip(), done.stderr) == (python.version, "")


def test_every_module_of_it_is_imported_without_a_warning(python: Python) -> None:
    done = python.run("-c", _IMPORT_ALL, "/root/productive-k3s.pyz")
    with zipfile.ZipFile(io.BytesIO(build_program().data)) as archive:
        modules = [name for name in archive.namelist() if name.startswith("productive_k3s/") and name.endswith(".py")]
    assert done.stderr == ""
    assert int(done.stdout) == len(modules) - 1


def test_facts_of_a_bare_host(python: Python) -> None:
    result = python.verb("facts")
    assert result["outcome"] == "done"
    facts = result["facts"]
    assert isinstance(facts, dict)
    assert facts["host"]["python"].startswith(f"{python.version}.")
    assert facts["k3s"]["role"] is None


@pytest.mark.parametrize(
    ("words", "given", "outcome", "code"),
    [
        (("single-node", "--plan", "--artifacts", "/nowhere"), "", "failed", "artifact.missing"),
        (("server", "--plan", "--request", "-"), "REQUEST", "refused", "host.no-systemd"),
        (("agent", "--plan", "--request", "-"), '{"schema": "x"}', "failed", "request.invalid"),
        (("token",), "", "refused", "k3s.no-server"),
        (("kubeconfig",), "", "refused", "k3s.no-server"),
        (("validate", "--scope", "cluster"), "", "failed", "request.scope"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_verbs_answer_as_they_do_elsewhere(
    python: Python, words: Sequence[str], given: str, outcome: str, code: str
) -> None:
    document = json.dumps({"mode": "server", "version": "v1.34.4+k3s1", "node_ip": "10.0.0.11"})
    result = python.verb(*words, given=document if given == "REQUEST" else given)
    failures = result["failures"]
    assert isinstance(failures, list)
    assert (result["outcome"], code in [failure["code"] for failure in failures]) == (outcome, True), failures
