"""Plant bugs one at a time and see that a test finds each: `python tests/planted/run.py` (see README.md here)."""

from __future__ import annotations

import argparse
import ast
import concurrent.futures
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_TEST_SECONDS = 240.0
# All tests that find something, once without any bug.
_ALL_SECONDS = 1200.0
# A bug must be found by what the program does. These say that the planted text itself is no program any more.
_NO_BEHAVIOUR = ("ImportError", "ModuleNotFoundError", "NameError", "SyntaxError", "IndentationError")


class StaleBug(Exception):
    """The place where a bug was to be planted is not there (any more), or is there twice."""


@dataclass(frozen=True)
class Bug:
    """One wrong text in the place of a right one, and the tests of which at least one must fail.

    `function` is `package.module:Class.method` (a module's own text: `package.module:`), so that a bug outlives moved
    lines; `file` names what is no Python. `replace` stands exactly once in it. `needs_root`: its tests are skipped
    where nobody may mount anything.
    """

    name: str
    function: str
    file: str
    replace: str
    wrong: str
    tests: tuple[str, ...]
    needs_root: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a bug: `killed`, `survived`, or `broken` (stale, no program, or its tests fail without it)."""

    bug: Bug
    state: str
    why: str
    seconds: float


def load_bugs(folder: Path) -> tuple[Bug, ...]:
    """Read every `*.toml` of the folder; a bug without a test or with a name that is taken is a ValueError."""
    bugs: list[Bug] = []
    for path in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("bug", ()):
            bug = Bug(
                entry["name"],
                entry.get("function", ""),
                entry.get("file", ""),
                entry["replace"],
                entry["with"],
                tuple(entry["tests"]),
                entry.get("needs") == "root",
            )
            if not bug.tests or bool(bug.function) == bool(bug.file) or bug.replace == bug.wrong:
                raise ValueError(f"{path.name}: {bug.name}: wants tests, one of function and file, and a difference")
            if any(bug.name == other.name for other in bugs):
                raise ValueError(f"{path.name}: {bug.name}: there are two of this name")
            bugs.append(bug)
    return tuple(bugs)


def planted(bug: Bug, tree: Path) -> tuple[Path, str]:
    """Return the file of the tree that the bug is in, and its text with the bug. Raises StaleBug."""
    if bug.file:
        path = tree / bug.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return path, _replaced(bug, text, 0, len(text))
    module, _, name = bug.function.partition(":")
    path = _module_file(tree, module)
    text = path.read_text(encoding="utf-8")
    start, end = _extent(text, name, bug) if name else (0, len(text))
    return path, _replaced(bug, text, start, end)


def _module_file(tree: Path, module: str) -> Path:
    plain = tree.joinpath("src", *module.split("."))
    for path in (plain.with_suffix(".py"), plain / "__init__.py"):
        if path.is_file():
            return path
    raise StaleBug(f"there is no module {module}")


def _extent(text: str, name: str, bug: Bug) -> tuple[int, int]:
    nodes: Sequence[ast.AST] = ast.parse(text).body
    found: ast.stmt | None = None
    for part in name.split("."):
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        found = next((node for node in nodes if isinstance(node, kinds) and node.name == part), None)
        if found is None:
            raise StaleBug(f"there is no {name} in {bug.function.partition(':')[0]}")
        nodes = getattr(found, "body", ())
    assert found is not None
    lines = text.splitlines(keepends=True)
    before = sum(len(line) for line in lines[: found.lineno - 1])
    return before, before + sum(len(line) for line in lines[found.lineno - 1 : found.end_lineno])


def _replaced(bug: Bug, text: str, start: int, end: int) -> str:
    part = text[start:end]
    if part.count(bug.replace) != 1:
        raise StaleBug(f"the text to replace stands {part.count(bug.replace)} times in {bug.function or bug.file}")
    return text[:start] + part.replace(bug.replace, bug.wrong) + text[end:]


def copy_tree(target: Path) -> None:
    """Copy what git would commit, and what is new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def run_tests(tree: Path, tests: Sequence[str], *, first_only: bool) -> tuple[int, list[str]]:
    """Run tests in a tree; return pytest's status and each failure's first line (`error:` where no test began)."""
    seconds = _TEST_SECONDS if first_only else _ALL_SECONDS
    report = tree / ".planted-report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tree / 'src'}{os.pathsep}{tree / 'tests'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # The state of a run around this one is not the tests' business.
    environment = {key: value for key, value in environment.items() if not key.startswith(("PYTEST_", "COV_"))}
    try:
        done = subprocess.run(
            [*command, *(["-x"] if first_only else [])],
            cwd=tree,
            env=environment,
            capture_output=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        # A bug that makes a test hang is found: no run of it could pass unseen.
        return 1, [f"no end within {seconds:.0f} s"]
    if not report.is_file():
        return done.returncode, [f"error: {done.stdout.decode(errors='replace')[-400:]}"]
    return done.returncode, list(_failures(report))


def _failures(report: Path) -> Iterator[str]:
    for case in ET.parse(report).getroot().iter("testcase"):
        for kind in ("failure", "error"):
            for item in case.findall(kind):
                text = (item.get("message") or "").splitlines() or [""]
                # A fixture that fails for the bug is behaviour too; a file that cannot be collected is not.
                outside = "error: " if kind == "error" and "collection failure" in text[0] else ""
                yield f"{outside}{case.get('name')}: {text[0]}"


def try_bug(bug: Bug, tree: Path) -> Outcome:
    """Plant the bug in the tree, run its tests, and put the tree right again."""
    began = time.monotonic()
    try:
        path, text = planted(bug, tree)
    except StaleBug as stale:
        return Outcome(bug, "broken", str(stale), 0.0)
    right = path.read_bytes()
    try:
        path.write_text(text, encoding="utf-8")
        status, failures = run_tests(tree, bug.tests, first_only=True)
    finally:
        path.write_bytes(right)
    state, why = _judged(status, failures)
    return Outcome(bug, state, why, time.monotonic() - began)


def _judged(status: int, failures: Sequence[str]) -> tuple[str, str]:
    if status == 0:
        return "survived", "its tests passed"
    why = failures[0] if failures else f"pytest ended with {status}"
    first_word = why.partition(": ")[2].partition(":")[0].rpartition(".")[2]
    if status != 1 or not failures or why.startswith("error: ") or first_word in _NO_BEHAVIOUR:
        return "broken", why
    return "killed", why


def try_all(bugs: Sequence[Bug], jobs: int, seconds: float) -> Iterator[Outcome]:
    """Try the bugs, several at once, each in a tree of its own; begin none after `seconds`."""
    ends = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        trees: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            tree = Path(folder, str(number))
            copy_tree(tree)
            trees.put(tree)
        tests = sorted({test for bug in bugs for test in bug.tests})
        status, failures = run_tests(Path(folder, "0"), tests, first_only=False)
        if status != 0:
            raise RuntimeError(f"the tests fail without any bug: {'; '.join(failures[:5])}")

        def attempt(bug: Bug) -> Outcome | None:
            if time.monotonic() >= ends:
                return None
            tree = trees.get()
            try:
                return try_bug(bug, tree)
            finally:
                trees.put(tree)

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for outcome in pool.map(attempt, bugs):
                if outcome is not None:
                    yield outcome


def main(arguments: Sequence[str]) -> int:
    """Print a line a bug and a summary; 1 if one survived or is broken, 2 if nothing was tried."""
    parser = argparse.ArgumentParser(description="Plant bugs one at a time and see that a test finds each.")
    parser.add_argument("names", nargs="*", help="only bugs whose name holds one of these words")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sample", type=int, help="so many, chosen by --seed")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--seconds", type=float, default=3600.0, help="begin none after so long")
    flags = parser.parse_args(arguments)
    bugs = [bug for bug in load_bugs(HERE) if not flags.names or any(word in bug.name for word in flags.names)]
    if os.geteuid() != 0:
        left_out = sum(bug.needs_root for bug in bugs)
        bugs = [bug for bug in bugs if not bug.needs_root]
        print(f"{left_out} bugs are left out: their tests need root")
    if flags.sample is not None:
        bugs = random.Random(flags.seed).sample(bugs, min(flags.sample, len(bugs)))
        print(f"{len(bugs)} bugs, chosen by --seed {flags.seed}")
    began, found = time.monotonic(), list[Outcome]()
    for outcome in try_all(bugs, flags.jobs, flags.seconds) if bugs else ():
        found.append(outcome)
        print(f"{outcome.state:8} {outcome.seconds:5.1f} s  {outcome.bug.name}")
        if outcome.state != "killed":
            print(f"          {outcome.why}\n          tests: {' '.join(outcome.bug.tests)}")
    count = {state: sum(outcome.state == state for outcome in found) for state in ("killed", "survived", "broken")}
    print(
        f"planted {len(found)} of {len(bugs)}: {count['killed']} killed, {count['survived']} survived, "
        f"{count['broken']} broken, {time.monotonic() - began:.0f} s"
    )
    return 2 if not found else int(count["killed"] != len(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
