"""PURE: what comes from a host, as hello, events and one result. Text before hello is a shell's noise."""

from __future__ import annotations

import codecs
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from productive_k3s.contract.codec import decode
from productive_k3s.contract.events import SCHEMA, Event, Hello, Result
from productive_k3s.contract.failure import ContractError
from productive_k3s_infra.errors import HostProgramFailed

_NOISE_LINES = 20
_LINE_CHARACTERS = 300
# Facts of a large cluster are some hundred kilobytes; a line beyond this is no document of ours.
_LONGEST_LINE = 64 << 20
_UPDATE = "use one version of pk3s for this cluster; the host gets the matching program by itself"


@dataclass(frozen=True)
class Ready:
    """The loader runs: whoever had to let us in has done so."""


@dataclass(frozen=True)
class Want:
    """The host asks for the program."""


Message = Ready | Want | Hello | Event | Result
_BEFORE_HELLO: dict[str, Message] = {"ready": Ready(), "want": Want()}


class WireReader:
    """Turns bytes into messages. Raises HostProgramFailed for what no program of ours says.

    `noise` holds the last lines that were no messages: evidence for a person, nothing else.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._rest = ""
        # Noise may be in any encoding, and a chunk may end inside a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.noise: deque[str] = deque(maxlen=_NOISE_LINES)
        self.hello: Hello | None = None
        self.result: Result | None = None

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """Return the messages that this chunk completes."""
        *lines, self._rest = (self._rest + self._decoder.decode(chunk)).split("\n")
        if len(self._rest) > _LONGEST_LINE:
            raise self._broken("a line is incomplete")
        for line in lines:
            message = self._message(line)
            if message is not None:
                yield message

    def require_result(self, evidence: str) -> Result:
        """Return the one result, or raise: without it nobody knows how far the program came."""
        if self.result is not None:
            return self.result
        seen = evidence or (self.noise[-1] if self.noise else "") or "it printed nothing"
        raise HostProgramFailed(
            "the host program ended without a result, so it is not known what it did",
            where=self._host,
            evidence=seen,
            remedy="run pk3s again: it checks the host first and continues from the state there",
        )

    def _message(self, line: str) -> Message | None:
        document = _document(line)
        kind = document.get("type") if document is not None else None
        if document is None or not isinstance(kind, str):
            self._ignore(line)
            return None
        if self.hello is None and kind in _BEFORE_HELLO:
            return _BEFORE_HELLO[kind]
        if kind not in ("hello", "event", "result"):
            self._ignore(line)
            return None
        if self.result is not None:
            raise self._broken("something follows the result")
        if (kind == "hello") is (self.hello is not None):
            raise self._broken("hello is not the first line, or appears twice")
        return self._decode(kind, document)

    def _decode(self, kind: str, document: dict[str, Any]) -> Message:
        if kind == "hello" and document.get("schema") != SCHEMA:
            raise HostProgramFailed(
                f"the host program uses another wire schema: {document.get('schema')!r}, not {SCHEMA}",
                where=self._host,
                evidence=f"program {document.get('program')!r}",
                remedy=_UPDATE,
                code="host.unknown-schema",
            )
        try:
            if kind == "hello":
                self.hello = decode(Hello, document, "hello")
                return self.hello
            if kind == "event":
                return decode(Event, document, "event")
            self.result = decode(Result, document, "result")
        except ContractError as error:
            raise self._broken(error.failure.evidence) from error
        return self.result

    def _ignore(self, line: str) -> None:
        if line.strip():
            self.noise.append(_shortened(line.rstrip()))

    def _broken(self, what: str) -> HostProgramFailed:
        # The line itself is no evidence: a result may carry a token or a kubeconfig.
        return HostProgramFailed(
            "the host's answer cannot be read",
            where=self._host,
            evidence=what,
            remedy=_UPDATE,
            code="host.bad-wire",
        )


def _document(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _shortened(line: str) -> str:
    return line if len(line) <= _LINE_CHARACTERS else f"{line[:_LINE_CHARACTERS]}..."
