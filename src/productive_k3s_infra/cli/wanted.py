"""How this run speaks: the form of its result and of its progress. The command line says it once, for every verb."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar


class Format(str, Enum):
    """How results are printed."""

    text = "text"
    json = "json"
    yaml = "yaml"


class ProgressForm(str, Enum):
    """How progress is told on standard error."""

    text = "text"
    json = "json"
    none = "none"


_DOCUMENTS = {Format.json.value, Format.yaml.value}
_SHORT = re.compile(r"-[hvy]*o(.*)")


@dataclass
class Wanted:
    """What was asked for.

    `answered` says whether standard output has its one document already, `debug_file` where a search finds more, ''
    before there is such a file.
    """

    output: str = Format.text.value
    progress: str = ProgressForm.text.value
    answered: bool = False
    verbose: bool = False
    debug: bool = False
    debug_file: str = ""

    @property
    def is_document(self) -> bool:
        """Whether standard output is one document, and nothing else."""
        return self.output in _DOCUMENTS

    def begin(self, words: Sequence[str]) -> None:
        """Begin a run with what its command line seems to ask for: one that is none is answered in that form."""
        said = _said(words)
        self.output = said.get("output", Format.text.value)
        self.progress = said.get("progress", ProgressForm.text.value)
        self.answered = False
        self.verbose = self.debug = False
        self.debug_file = ""


def _said(words: Sequence[str]) -> dict[str, str]:
    """Return the values of `-o` and `--progress`, where they stand; the last one counts, as for click."""
    found: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == "--":
            break
        name, equals, value = word.removeprefix("--").partition("=") if word.startswith("--") else ("", "", "")
        if name in ("output", "progress"):
            found[name] = value if equals else following
        elif not word.startswith("--") and (short := _SHORT.fullmatch(word)):
            found["output"] = short[1] or following
    return found


WANTED = Wanted()
"""What this run was asked for. `options.py` sets it when the command line is read, `running.py` keeps to it."""


Form = TypeVar("Form", bound=Enum)


def want_output(value: Form) -> Form:
    """Keep the form of results; the callback of `-o`, whatever further forms a verb has."""
    WANTED.output = value.value
    return value


def want_progress(value: ProgressForm) -> ProgressForm:
    """Keep the form of progress; the callback of `--progress`."""
    WANTED.progress = value.value
    return value
