"""PURE: tokens, ~ and variables in values of ssh_config, which `ssh -G` prints as they were written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = re.compile(r"%(.?)")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class UnknownToken(Exception):
    """A token or a variable that has no value here; the text is how it was written."""


@dataclass(frozen=True)
class Person:
    """This computer's side: who runs the program, and where."""

    name: str
    home: str
    uid: int
    host: str


@dataclass(frozen=True)
class Tokens:
    """The values for one host, see TOKENS in ssh_config(5)."""

    values: Mapping[str, str]
    environment: Mapping[str, str]
    home: str

    def command(self, text: str) -> str:
        """Return a command with its tokens filled in; all else in it is the shell's.

        Raises UnknownToken.
        """
        return _TOKEN.sub(self._token, text)

    def path(self, text: str) -> str:
        """Return a path with ~, variables and tokens filled in. Raises UnknownToken."""
        filled = _VARIABLE.sub(self._variable, _TOKEN.sub(self._token, text))
        return self.home + filled[1:] if filled == "~" or filled.startswith("~/") else filled

    def _token(self, match: re.Match[str]) -> str:
        letter = match[1]
        if letter != "%" and letter not in self.values:
            raise UnknownToken(match[0])
        return "%" if letter == "%" else self.values[letter]

    def _variable(self, match: re.Match[str]) -> str:
        if match[1] not in self.environment:
            raise UnknownToken(match[0])
        return self.environment[match[1]]


def tokens_of(
    person: Person,
    environment: Mapping[str, str],
    *,
    original: str,
    hostname: str,
    port: int,
    user: str,
    alias: str | None = None,
    jumps: str = "",
) -> Tokens:
    """Return the tokens of a host; `original` is the name as it was given."""
    values = {
        "d": person.home,
        "h": hostname,
        "i": str(person.uid),
        "j": jumps,
        "k": alias or original,
        "L": person.host.partition(".")[0],
        "l": person.host,
        "n": original,
        "p": str(port),
        "r": user,
        "u": person.name,
    }
    return Tokens(values, environment, person.home)
