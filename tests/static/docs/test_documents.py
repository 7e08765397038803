"""What the documents say can be done: links lead somewhere, command lines parse, the sudoers line is the one."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from productive_k3s.cli import parser
from productive_k3s.k3s import paths
from productive_k3s_infra.hosts.wire.refusals import sudoers_line
from productive_k3s_infra.providers.local.__main__ import main as machines
from static.docs.command_lines import VERBS, command_lines, why_not

ROOT = Path(__file__).parents[3]
FOLDERS = ("docs", "use-cases", "ansible", "opentofu", "lab", "tests", "src")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.md"))])
MODULE = re.compile(r"python -m (productive_k3s[\w.]*) ?([^`#\n|>)]*)")
OF_A_PLACE = re.compile(r"(?<![\w.])/(?:work|home|tmp|Users|build|workspace|mnt)/[\w.-]+")
# What a document says of its own making belongs into version control.
OF_A_WRITER = re.compile(
    r"\b(?:co-)?(?:authored|generated|written|created) (?:by|with) (?!p(?:roductive-)?k3s\b)", re.IGNORECASE
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_read() -> None:
    assert {"README.md", "docs/contract.md", "docs/failure-codes.md", "use-cases/local/README.md"} <= set(
        map(name, DOCUMENTS)
    )
    assert len(command_lines(ROOT / "README.md")) >= 4
    assert len(command_lines(ROOT / "docs/contract.md")) >= 4


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    broken = [target for target in targets if "://" not in target and not leads_somewhere(document, target)]
    assert not broken


def leads_somewhere(document: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    found = (document.parent / file).resolve() if file else document
    if not found.exists():
        return False
    return not anchor or anchor in anchors(found.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """Return what headings can be linked by, as GitHub makes it of them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def all_command_lines() -> Iterator[tuple[str, str, list[str]]]:
    for document in map(name, DOCUMENTS):
        for program, words in command_lines(ROOT / document):
            yield document, program, words


@pytest.mark.parametrize(
    ("document", "program", "words"),
    [pytest.param(*item, id=f"{item[0]}: {item[1]} {' '.join(item[2])}") for item in all_command_lines()],
)
def test_command_lines_parse(document: str, program: str, words: list[str]) -> None:
    assert why_not(program, words) == "", document


def test_what_does_not_parse_is_seen() -> None:
    assert "detailed" in why_not("pk3s", ["plan", "--detailed-exitcode"])
    assert why_not("pk3s", ["plam"])
    assert why_not("productive-k3s", ["agent", "--no-such-flag"])
    assert why_not("productive-k3s", ["instal"])
    assert not why_not("pk3s", ["plan", "--exit-code"])


def test_the_contract_names_every_flag_and_no_other() -> None:
    text = (ROOT / "docs/contract.md").read_text(encoding="utf-8")
    actions = [item for item in parser()._actions if isinstance(item, argparse._SubParsersAction)]
    flags = {flag for verb in actions[0].choices.values() for item in verb._actions for flag in item.option_strings}
    long = {flag for flag in flags if flag.startswith("--")} - {"--help"}
    assert set(re.findall(r"--[a-z][a-z0-9-]+", text)) == long
    assert all(f"| `{verb}" in text for verb in VERBS["productive-k3s"])


def test_the_contract_names_what_is_owned() -> None:
    text = (ROOT / "docs/contract.md").read_text(encoding="utf-8")
    owned = (paths.BINARY, paths.KILLALL, paths.CONFIG, paths.REGISTRIES, paths.SERVER_TOKEN, paths.unit_file("k3s"))
    more = (paths.environment_file("k3s"), paths.IMAGES, paths.PROGRAM_DIRECTORY, paths.running_record("k3s"))
    assert [path for path in (*owned, *more, paths.LOCK) if f"`{path}" not in text] == []


def test_modules_that_are_run_exist() -> None:
    for document in DOCUMENTS:
        for module, _ in MODULE.findall(document.read_text(encoding="utf-8")):
            path = ROOT / "src" / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), (name(document), module)
    assert callable(machines)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_targets_of_make_exist(document: Path) -> None:
    makefiles = [file for file in (ROOT / "Makefile", document.parent / "Makefile") if file.exists()]
    heads = [head for file in makefiles for head in re.findall(r"^([a-z -]+):", file.read_text("utf-8"), re.MULTILINE)]
    named = re.findall(r"(?:`|[#$] )make ([a-z-]+)", document.read_text(encoding="utf-8"))
    assert set(named) <= {target for head in heads for target in head.split()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_nothing_of_one_machine_or_of_who_wrote_it(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert OF_A_PLACE.findall(text) == []
    assert OF_A_WRITER.findall(text) == []


@pytest.mark.parametrize("document", ["SECURITY.md", "docs/contract.md", "use-cases/onprem-basic/README.md"])
def test_the_one_sudoers_line_is_printed_and_said_to_be_root(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert sudoers_line("ops") in {line.strip() for line in text.splitlines()}
    assert "amounts to root" in text
