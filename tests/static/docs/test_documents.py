"""What the documents say can be done: links lead somewhere, command lines parse, the sudoers line is the one."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from productive_k3s import paths
from productive_k3s.command_line import parser
from productive_k3s_infra.cli.app import app
from productive_k3s_infra.hosts.refusals import sudoers_line
from productive_k3s_infra.providers.local.__main__ import main as machines

ROOT = Path(__file__).parents[3]
FOLDERS = ("docs", "use-cases", "lab", "tests", "src")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.md"))])
COMMAND = re.compile(r"(^[a-z]*[$#] |`|^|[\s(/])(pk3s|productive-k3s(?:\.pyz)?) ((?:[^`#\n|)]|\|(?! ))*)")
# What stands for a value in a synopsis: [--plan], server|agent, ....
SYNOPSIS = re.compile(r"[\[\]|…]|\.\.\.")
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
    assert len(command_lines("README.md")) >= 4
    assert len(command_lines("docs/contract.md")) >= 4


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


def command_lines(document: str) -> list[tuple[str, list[str]]]:
    """Return the command lines of a document that can be parsed: program and words."""
    found = []
    for line in (ROOT / document).read_text(encoding="utf-8").splitlines():
        for before, program, rest in COMMAND.findall(line.replace("\\|", "|")):
            words = shlex.split(rest.split("$ ")[0], comments=True) if rest.count("'") % 2 == 0 else []
            surely = before.strip() != "" and before not in "(/"
            if words and not SYNOPSIS.search(rest) and (surely or is_command(program, words[0])):
                found.append((program.removesuffix(".pyz"), cut(words)))
    return found


def is_command(program: str, first: str) -> bool:
    """Whether a command line begins here, without prompt or quotes, and not a sentence about the program."""
    return first.startswith("-") or first in VERBS[program.removesuffix(".pyz")]


def cut(words: list[str]) -> list[str]:
    """End the words where a shell would: a file to write, another command."""
    stops = [index for index, word in enumerate(words) if re.match(r"[<>;&,]|\d>", word)]
    words = words[: stops[0]] if stops else words
    return [word.rstrip(".,;:") if index == len(words) - 1 else word for index, word in enumerate(words)]


def _host_verbs() -> set[str]:
    actions = [item for item in parser()._actions if isinstance(item, argparse._SubParsersAction)]
    return set(actions[0].choices)


def _pk3s() -> click.Group:
    command = typer.main.get_command(app)
    assert hasattr(command, "commands")
    return command  # type: ignore[return-value]


VERBS = {"pk3s": set(_pk3s().commands), "productive-k3s": _host_verbs()}


def all_command_lines() -> Iterator[tuple[str, str, list[str]]]:
    for document in map(name, DOCUMENTS):
        for program, words in command_lines(document):
            yield document, program, words


@pytest.mark.parametrize(
    ("document", "program", "words"),
    [pytest.param(*item, id=f"{item[0]}: {item[1]} {' '.join(item[2])}") for item in all_command_lines()],
)
def test_command_lines_parse(document: str, program: str, words: list[str]) -> None:
    assert why_not(program, words) == "", document


def why_not(program: str, words: list[str]) -> str:
    """Return why a command line is none, '' if it is one. A verb alone is a mention: its values are not asked for."""
    if program == "pk3s":
        return why_not_pk3s(words)
    verb, *rest = words
    if verb not in VERBS[program] and not verb.startswith("-"):
        return f"there is no verb {verb}"
    if not rest:
        return ""
    try:
        quiet(parser()).parse_args(words)
    except (ValueError, SystemExit) as error:
        return str(error)
    return ""


def quiet(found: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Return the parser such that it raises instead of printing."""

    def fail(message: str) -> None:
        raise ValueError(message)

    found.error = fail  # type: ignore[method-assign,assignment]
    for action in found._actions:
        for child in action.choices.values() if isinstance(action, argparse._SubParsersAction) else ():
            quiet(child)
    return found


def why_not_pk3s(words: list[str]) -> str:
    group = _pk3s()
    # `pk3s -f FILE` in a sentence means any verb.
    verb, rest = (words[0], words[1:]) if not words[0].startswith("-") else ("plan", words)
    if verb not in group.commands:
        return f"there is no verb {verb}"
    try:
        group.commands[verb].make_context(verb, list(rest), resilient_parsing=False)
    except Exception as error:  # noqa: BLE001 - whichever click of typer's raises it: a text for the assertion
        return f"{type(error).__name__}: {error}"
    return ""


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
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"[`#$] ?make ([a-z-]+)", document.read_text(encoding="utf-8"))
    assert set(named) <= targets


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
