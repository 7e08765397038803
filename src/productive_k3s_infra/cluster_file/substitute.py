"""PURE: `${NAME}` and `${NAME:-default}` in a string of the cluster file, from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from productive_k3s_infra.cluster_file.mistake import Objection, quoted

_DOLLAR = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class Substituted(str):
    """A string with a value of the environment in it: it may stand for a number or a truth value, even when quoted."""

    __slots__ = ()


def substitute(text: str, environment: Mapping[str, str]) -> tuple[str, tuple[Objection, ...]]:
    """Replace every `${...}` of the text; `$${` stands for the letters `${`, and any other `$` for itself.

    As in a shell, `:-` gives the default where the variable is missing or empty. Without a default neither is silent.
    """
    objections: list[Objection] = []
    replaced = False

    def value(match: re.Match[str]) -> str:
        nonlocal replaced
        if match.group(0) == "$${":
            return "${"
        replaced = True
        answer = _lookup(match, environment)
        if isinstance(answer, Objection):
            objections.append(answer)
            return ""
        return answer

    result = _DOLLAR.sub(value, text)
    return (Substituted(result) if replaced else result), tuple(objections)


def _lookup(match: re.Match[str], environment: Mapping[str, str]) -> str | Objection:
    inside = _INSIDE.fullmatch(match.group(1))
    if inside is None or not match.group(2) or "${" in (inside.group(2) or ""):
        return Objection(
            "file.bad-variable",
            f"{quoted(match.group(0))} is not a variable",
            "${NAME} or ${NAME:-default}",
            "write $${ where the letters ${ are meant",
        )
    name, default = inside.groups()
    given = environment.get(name)
    if given:
        return given
    if default is not None:
        return default
    return Objection(
        "file.missing-variable",
        f"the variable {name} is {'not set' if given is None else 'empty'}",
        remedy=f"export {name}=... or write ${{{name}:-default}}",
    )
