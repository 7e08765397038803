"""`probe`: hold ports that will be needed for a while, or try those of another host. Nothing is written or kept."""

from __future__ import annotations

import re
from typing import Dict, Optional, Sequence, Tuple

from productive_k3s.events import Result
from productive_k3s.failure import ContractError, Failure
from productive_k3s.host import Host
from productive_k3s.system import Port

# Drivers wait for this word: from then on a connection that fails is a finding.
LISTENING = "listening"
_PORT = re.compile(r"(tcp|udp)/([1-9][0-9]{0,4})")
_LAST_PORT = 65535
_SHARE_SECONDS = (0.5, 3.0)


async def run(
    host: Host, listen: Sequence[str], address: Optional[str], ports: Sequence[str], seconds: float
) -> Result:
    """Listen, or with an address connect. `data` has each port with '' or the cause: no cause is a failure of the run.

    Listening ends after `seconds`, or when somebody asks to stop: both are its end, not a failure.
    """
    if address is None:
        return await _listen(host, parse_ports(listen), seconds)
    return await _connect(host, address, parse_ports(ports), seconds)


def parse_ports(words: Sequence[str]) -> Tuple[Port, ...]:
    """PURE: return the ports that the words mean, in their order, each once."""
    found: Dict[Port, None] = {}
    for word in words:
        match = _PORT.fullmatch(word.strip())
        if match is None or int(match.group(2)) > _LAST_PORT:
            failure = Failure("request.port", "this is no port", word, "write tcp/6443 or udp/8472", 2)
            raise ContractError(failure)
        found[Port(match.group(1), int(match.group(2)))] = None  # type: ignore[arg-type]
    return tuple(found)


async def _listen(host: Host, ports: Sequence[Port], seconds: float) -> Result:
    def stop() -> bool:
        # Only who speaks notices that nobody hears it any more.
        host.emit("waiting", "still listening")
        return bool(host.stop_asked())

    causes = await host.system.listen(ports, seconds, lambda: host.emit("note", LISTENING), stop)
    return Result("done", data={str(port): cause for port, cause in causes.items()})


async def _connect(host: Host, address: str, ports: Sequence[Port], seconds: float) -> Result:
    """Try one port after the other; each gets its share of the time, as the other side listens for a while only."""
    least, most = _SHARE_SECONDS
    share = min(most, max(least, seconds / max(len(ports), 1)))
    causes = {}
    for port in ports:
        host.require_going_on()
        ask = host.system.connect if port.protocol == "tcp" else host.system.ask_udp
        causes[str(port)] = await ask(address, port.number, share)
    return Result("done", data=causes)
