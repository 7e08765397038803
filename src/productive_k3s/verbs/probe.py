"""`probe`: hold ports that will be needed for a while, or try those of other hosts. Nothing is written or kept."""

from __future__ import annotations

import itertools
import re
from typing import Dict, Iterable, List, Sequence, Tuple

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import ContractError, bad_input
from productive_k3s.doors.host import Host
from productive_k3s.doors.system import Port, RemotePort

# Drivers wait for this word: from then on a connection that fails is a finding.
LISTENING = "listening"
_PORT = re.compile(r"(tcp|udp)/([1-9][0-9]{0,4})")
_LAST_PORT = 65535
# Of the door's many questions whether to stop.
_SPOKEN_EVERY = 10
# How many ports are tried at once, and what each of them gets of the run's time.
_AT_ONCE = 64
_SHARE_SECONDS = (0.5, 3.0)
# The door's own slack for a name that is not resolved.
_SLACK_SECONDS = 0.5


async def listen(host: Host, words: Sequence[str], seconds: float) -> Result:
    """Hold the ports; `data` has each with '' or why it was not opened: no cause is a failure of the run.

    It ends after `seconds`, or when somebody asks to stop: both are its end, not a failure.
    """

    asked = itertools.count(1)

    def stop() -> bool:
        # Only who speaks notices that nobody hears it any more.
        if next(asked) % _SPOKEN_EVERY == 0:
            host.emit("waiting", "still listening")
        return bool(host.stop_asked())

    causes = await host.system.listen(parse_ports(words), seconds, lambda: host.emit("note", LISTENING), stop)
    return Result("done", data={str(port): cause for port, cause in causes.items()})


async def connect(host: Host, targets: Iterable[Tuple[str, Sequence[str]]], seconds: float) -> Result:
    """Try the ports of the addresses; `data` has, by address, each port with '' or the cause.

    They are tried many at a time, and each gets its share of `seconds`: the other side listens for a while only.
    """
    words: Dict[str, List[str]] = {}
    for address, ports in targets:
        words.setdefault(address, []).extend(ports)
    places = [RemotePort(address, port) for address in words for port in parse_ports(words[address])]
    data: Dict[str, Dict[str, str]] = {address: {} for address in words}
    for first in range(0, len(places), _AT_ONCE):
        host.require_going_on()
        causes = await host.system.reach(places[first : first + _AT_ONCE], _share(len(places), seconds))
        for place, cause in causes.items():
            data[place.address][str(place.port)] = cause
    return Result("done", data=data)


def longest_seconds(ports: int, seconds: float) -> float:
    """PURE: return how long `connect` may take for so many ports, if none of them answers."""
    return _rounds(ports) * (_share(ports, seconds) + _SLACK_SECONDS)


def _share(ports: int, seconds: float) -> float:
    least, most = _SHARE_SECONDS
    return min(most, max(least, seconds / max(_rounds(ports), 1)))


def _rounds(ports: int) -> int:
    return -(-ports // _AT_ONCE)


def parse_ports(words: Sequence[str]) -> Tuple[Port, ...]:
    """PURE: return the ports that the words mean, in their order, each once."""
    found: Dict[Port, None] = {}
    for word in words:
        match = _PORT.fullmatch(word.strip())
        if match is None or int(match.group(2)) > _LAST_PORT:
            failure = bad_input("request.port", "this is not a port", word, "write tcp/6443 or udp/8472")
            raise ContractError(failure)
        found[Port(match.group(1), int(match.group(2)))] = None  # type: ignore[arg-type]
    return tuple(found)
