"""The real door to ports: listen on some for a while, and ask whether one is heard."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from typing import Callable, Dict, Iterator, Mapping, Sequence, Tuple

from productive_k3s.doors.system import Port, RemotePort

# Only datagrams that begin like this are answered, with themselves: nobody can use the listener as an amplifier.
_HELLO = b"productive-k3s probe "
# Drivers wait for the ports to be free again, so whoever asks to stop is heard soon.
_ASK_SECONDS = 0.1
# All hosts of a large cluster knock at the same moment.
_BACKLOG = 256
_UDP_TRIES = 3
_DATAGRAM_BYTES = 512
# A socket keeps to its own time; a name that is not resolved does not.
_RESOLVING_SECONDS = 0.5


class LocalPorts:
    """The ports of this host."""

    async def listen(
        self, ports: Sequence[Port], seconds: float, ready: Callable[[], None], stop: Callable[[], bool]
    ) -> Mapping[Port, str]:
        """See System."""
        causes: Dict[Port, str] = {}
        with contextlib.ExitStack() as sockets, selectors.DefaultSelector() as selector:
            for port in ports:
                try:
                    opened = sockets.enter_context(_open(port))
                except OSError as error:
                    causes[port] = error.strerror or str(error)
                else:
                    selector.register(opened, selectors.EVENT_READ)
                    causes[port] = ""
            ready()
            limit = time.monotonic() + seconds
            asked = time.monotonic()
            while selector.get_map() and time.monotonic() < limit:
                for key, _ in selector.select(_ASK_SECONDS):
                    _answer(key.fileobj)  # type: ignore[arg-type]  # only sockets were registered
                if time.monotonic() - asked >= _ASK_SECONDS:
                    asked = time.monotonic()
                    if stop():
                        break
        return causes

    async def reach(self, places: Sequence[RemotePort], timeout: float) -> Mapping[RemotePort, str]:
        """See System. One thread for each; one that does not come back in time is left alone."""
        answers: Dict[RemotePort, str] = {}

        def ask(place: RemotePort) -> None:
            answers[place] = _ask(place, timeout)

        threads = [threading.Thread(target=ask, args=(place,), daemon=True) for place in dict.fromkeys(places)]
        limit = time.monotonic() + timeout + _RESOLVING_SECONDS
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(limit - time.monotonic(), 0.0))
        return {place: answers.get(place, f"no answer within {timeout:g} s") for place in places}


def _ask(place: RemotePort, timeout: float) -> str:
    ask = _connect if place.port.protocol == "tcp" else _ask_udp
    return ask(place.address, place.port.number, timeout)


def _connect(address: str, port: int, timeout: float) -> str:
    try:
        with socket.create_connection((address, port), timeout=timeout):
            return ""
    except OSError as error:
        return str(error)


def _ask_udp(address: str, port: int, timeout: float) -> str:
    """UDP loses datagrams, so it is asked several times within `timeout`."""
    question = _HELLO + f"{port}".encode()
    try:
        with _connected(address, port) as asking:
            asking.settimeout(max(timeout / _UDP_TRIES, 0.01))
            for _ in range(_UDP_TRIES):
                with contextlib.suppress(socket.timeout):
                    asking.send(question)
                    if asking.recv(_DATAGRAM_BYTES) == question:
                        return ""
    except OSError as error:
        return error.strerror or str(error)
    return f"no echo within {timeout:g} s"


def _open(port: Port) -> socket.socket:
    """Open a port on all addresses of both families, so that whatever holds it anywhere is in the way."""
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if _has_both_families() else socket.AF_INET
    opened = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if kind == socket.SOCK_STREAM:
            # Connections of an earlier probe may linger; for UDP it would let two programs share the port.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setblocking(False)
        opened.bind(("", port.number))
        if kind == socket.SOCK_STREAM:
            opened.listen(_BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _has_both_families() -> bool:
    """Whether one socket can hold both families: not where IPv6 was switched off."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            trial.bind(("", 0))
    except OSError:
        return False
    return True


def _answer(opened: socket.socket) -> None:
    """Accept and hang up, or send a datagram of ours back. What a peer did wrong is its own affair."""
    with contextlib.suppress(OSError):
        if opened.type == socket.SOCK_STREAM:
            opened.accept()[0].close()
        else:
            data, peer = opened.recvfrom(_DATAGRAM_BYTES)
            if data.startswith(_HELLO):
                opened.sendto(data, peer)


@contextlib.contextmanager
def _connected(address: str, port: int) -> Iterator[socket.socket]:
    """Give a UDP socket that hears this peer only, and its refusals (ICMP) as errors."""
    family, target = _resolved(address, port)
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect(target)
        yield asking


def _resolved(address: str, port: int) -> Tuple[int, Tuple[str, int]]:
    found = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)
    return found[0][0], found[0][4]  # type: ignore[return-value]  # a pair for IPv4, more for IPv6
