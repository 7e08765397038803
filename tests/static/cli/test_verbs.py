"""What every verb has, those to come too: a help with an example that its own command line takes."""

from __future__ import annotations

import re
import shlex

import pytest
import typer

from productive_k3s_infra.cli.app import app
from static.docs.command_lines import why_not

VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_has_examples_that_the_command_line_takes(verb: str) -> None:
    said = " ".join((VERBS[verb].help or "").split())
    examples = re.findall(r"`([^`]*)`", said.partition("Example")[2])
    # What stands around it is the shell's: $(...), <(...), a pipe behind it.
    ours = [words[1] for example in examples if (words := re.search(r"\bpk3s ((?:'[^']*'|[^|)'])*)", example))]
    assert ours, f"no example in the help of {verb}"
    for words in ours:
        assert words.split()[0] == verb
        assert why_not("pk3s", shlex.split(words)) == ""
