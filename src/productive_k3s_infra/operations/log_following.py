"""`pk3s logs NODE --follow`: what K3s' units say from now on, each line once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime

from productive_k3s_infra.operations.logs import LINES, Logs, ask_for_logs, log_host, since_of
from productive_k3s_infra.operations.session import Session

# Between two looks: a host is asked as often as a person would look.
PAUSE_SECONDS = 2.0
_FIRST_LINES = 2000
_MOST_LINES = 20_000


@dataclass
class _Place:
    """How far a unit's lines are known: the second of the last one that has a time, and how many are of it."""

    second: int = 0
    lines: int = 0


async def follow_logs(
    session: Session, node: str, *, lines: int = LINES, since: str = "", pause: float = PAUSE_SECONDS
) -> AsyncIterator[Logs]:
    """Yield the last lines, then for ever what came since, each line once; whoever reads ends it."""
    places: dict[str, _Place] = {}
    async with log_host(session, node) as host:
        # More than is shown: how many lines the last second has must be known to tell old from new later.
        found = await ask_for_logs(host, node, max(lines, _FIRST_LINES), since_of(since) if since else None)
        most: int | None = lines
        while True:
            fresh = {unit: _new(text, places.setdefault(unit, _Place())) for unit, text in found.units.items()}
            yield replace(found, units={unit: _text(new[-most:] if most else new) for unit, new in fresh.items()})
            most = None
            await asyncio.sleep(pause)
            start = min(place.second for place in places.values())
            found = await ask_for_logs(host, node, _MOST_LINES, start or None)


def _new(text: str, place: _Place) -> list[str]:
    """Return the lines that are not known yet, and move `place` on to the end of them."""
    found = text.splitlines()
    first = next((number for number, line in enumerate(found) if place.second and _second(line) == place.second), None)
    if first is not None:
        found = found[first + place.lines :]
    for line in found:
        second = _second(line)
        if second is not None and second != place.second:
            place.second, place.lines = second, 0
        place.lines += 1
    return found


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _second(line: str) -> int | None:
    """Return the Unix time of a line that begins with one, as journalctl's `short-iso` writes it."""
    try:
        return int(datetime.fromisoformat(line.split(" ", 1)[0]).timestamp())
    except ValueError:
        return None  # a line that goes on with the message before it
