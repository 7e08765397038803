"""Command lines in documents: where they are, and whether the two programs would take them."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import click
import typer

from productive_k3s.cli import parser
from productive_k3s_infra.cli.app import app

COMMAND = re.compile(r"(^[a-z]*[$#] |`|^|[\s(/])(pk3s|productive-k3s(?:\.pyz)?) ((?:[^`#\n|)]|\|(?! ))*)")
# What stands for a value in a synopsis: [--plan], server|agent, ....
SYNOPSIS = re.compile(r"[\[\]|…]|\.\.\.")
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PROMPT = re.compile(r"^[a-z0-9-]*[$#] +(.+)$")


def command_lines(document: Path) -> list[tuple[str, list[str]]]:
    """Return the command lines of a document that can be parsed: program and words."""
    found = []
    for line in document.read_text(encoding="utf-8").splitlines():
        for before, program, rest in COMMAND.findall(line.replace("\\|", "|")):
            even = all(rest.count(quote) % 2 == 0 for quote in "'\"")
            words = shlex.split(rest.split("$ ")[0], comments=True) if even else []
            surely = before.strip() != "" and before not in "(/"
            if words and not SYNOPSIS.search(rest) and (surely or is_command(program, words[0])):
                found.append((program.removesuffix(".pyz"), cut(words)))
    return found


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Return the fenced blocks of a text: the word behind the fence, and the lines."""
    found = BLOCK.findall(text)
    return [(word, [line.removeprefix(indent) for line in body.splitlines()]) for indent, word, body in found]


def typed(text: str) -> list[list[str]]:
    """Return what is typed in the `console` blocks of a text, in order, as words. `a && b` are two."""
    lines = [match[1] for word, body in blocks(text) if word == "console" for match in map(PROMPT.match, body) if match]
    return [cut(words) for line in lines for words in parts(shlex.split(line, comments=True)) if words]


def parts(words: list[str]) -> list[list[str]]:
    """Split words where one command follows another."""
    found: list[list[str]] = [[]]
    for word in words:
        if word in {"&&", "||", "|", ";"}:
            found.append([])
        else:
            found[-1].append(word)
    return found


def is_command(program: str, first: str) -> bool:
    """Whether a command line begins here, without prompt or quotes, and not a sentence about the program."""
    return first.startswith("-") or first in VERBS[program.removesuffix(".pyz")]


def cut(words: list[str]) -> list[str]:
    """End the words where a shell would: a file to write, another command."""
    stops = [index for index, word in enumerate(words) if re.match(r"[<>;&,]|\d>", word)]
    words = words[: stops[0]] if stops else words
    return [word.rstrip(".,;:") if index == len(words) - 1 else word for index, word in enumerate(words)]


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
    group = pk3s()
    # `pk3s -f FILE` in a sentence means any verb.
    verb, rest = (words[0], words[1:]) if not words[0].startswith("-") else ("plan", words)
    if verb not in group.commands:
        return f"there is no verb {verb}"
    if not rest:
        return ""
    try:
        group.commands[verb].make_context(verb, list(rest), resilient_parsing=False)
    except Exception as error:  # noqa: BLE001 - whichever click of typer's raises it: a text for the assertion
        return f"{type(error).__name__}: {error}"
    return ""


def pk3s() -> click.Group:
    command = typer.main.get_command(app)
    assert hasattr(command, "commands")
    return command  # type: ignore[return-value]


def host_verbs() -> set[str]:
    actions = [item for item in parser()._actions if isinstance(item, argparse._SubParsersAction)]
    return set(actions[0].choices)


VERBS = {"pk3s": set(pk3s().commands), "productive-k3s": host_verbs()}
