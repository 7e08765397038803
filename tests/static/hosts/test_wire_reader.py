"""What comes from a host is hello, events and one result; all else is noise or an error."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from productive_k3s.contract.events import Event, Hello, Result
from productive_k3s_infra.errors import HostProgramFailed
from productive_k3s_infra.hosts.wire.reader import Ready, Want, WireReader

HELLO = {"type": "hello", "program": "0.1.0", "python": "3.9.2", "schema": 1}
EVENT = {"type": "event", "kind": "note", "message": "ü", "seconds": 1.5, "change": ""}
RESULT = {"type": "result", "outcome": "done", "data": {"token": "K10secret"}}


def lines(*documents: object) -> bytes:
    return b"".join((item if isinstance(item, str) else json.dumps(item)).encode() + b"\n" for item in documents)


def read(*chunks: bytes) -> tuple[WireReader, list[object]]:
    reader = WireReader("node-1")
    return reader, [message for chunk in chunks for message in reader.feed(chunk)]


def refused(*documents: object) -> HostProgramFailed:
    with pytest.raises(HostProgramFailed) as caught:
        read(lines(*documents))
    assert "K10secret" not in f"{caught.value} {caught.value.evidence} {caught.value.remedy}"
    return caught.value


@given(st.sets(st.integers(1, 400)))
def test_messages_are_the_same_however_the_bytes_come(cuts: set[int]) -> None:
    stream = lines("Welcome", {"type": "ready"}, {"type": "want"}, HELLO, EVENT, RESULT)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    reader, messages = read(*(stream[left:right] for left, right in itertools.pairwise(edges)))
    kinds = [Ready(), Want(), Hello("0.1.0", "3.9.2"), Event("note", "ü", 1.5)]
    assert messages[:4] == kinds
    assert isinstance(messages[4], Result)
    assert reader.require_result("").data == {"token": "K10secret"}
    assert list(reader.noise) == ["Welcome"]


@pytest.mark.parametrize("noise", ["{", "{}", '{"type": 7}', '{"type": "x"}', "[1]", "\x1b[31mMotd", "", '{"type":"x'])
def test_noise_before_hello_is_no_message(noise: str) -> None:
    _, messages = read(lines(noise), b"\xff\xfe\n", lines(HELLO))
    assert messages == [Hello("0.1.0", "3.9.2")]


def test_noise_is_bounded() -> None:
    reader, _ = read(lines(*["x" * 10_000] * 1000))
    assert sum(map(len, reader.noise)) < 10_000


def test_a_document_of_the_loader_after_hello_is_noise() -> None:
    reader, messages = read(lines(HELLO, {"type": "want"}))
    assert messages == [Hello("0.1.0", "3.9.2")]
    assert list(reader.noise) == ['{"type": "want"}']


def test_another_schema_is_refused_with_a_remedy() -> None:
    error = refused({**HELLO, "schema": 2})
    assert (error.code, bool(error.remedy)) == ("host.unknown-schema", True)


@pytest.mark.parametrize(
    "documents",
    [
        (EVENT,),
        (RESULT,),
        (HELLO, HELLO),
        (HELLO, RESULT, RESULT),
        (HELLO, RESULT, EVENT),
        (HELLO, {**RESULT, "outcome": "splendid"}),
        (HELLO, {**RESULT, "more": 1}),
        (HELLO, {"type": "event"}),
    ],
)
def test_what_no_program_says_is_refused(documents: tuple[object, ...]) -> None:
    assert refused(*documents).code == "host.bad-wire"


def test_a_line_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("productive_k3s_infra.hosts.wire.reader._LONGEST_LINE", 1000)
    with pytest.raises(HostProgramFailed):
        read(lines(HELLO), b"x" * 1001)


@pytest.mark.parametrize("cut", [lines(HELLO, EVENT), lines(HELLO) + lines(RESULT)[:-5], b"Welcome\n", b""])
def test_without_a_result_the_outcome_is_unknown(cut: bytes) -> None:
    reader, _ = read(cut)
    with pytest.raises(HostProgramFailed) as caught:
        reader.require_result("")
    assert caught.value.code == "host.no-result"
    assert "K10" not in caught.value.evidence
    assert caught.value.evidence
