"""What a session with a host guarantees, whatever the way. The implementations are the fixture `bed`."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Mapping

import pytest

from contract.wire.beds import Bed
from productive_k3s.contract.events import Event
from productive_k3s_infra.errors import HostProgramFailed

SECRET = "K10not-to-be-seen-by-others"
CONTENT = random.Random(3).randbytes(3 << 20)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


async def in_pieces(content: bytes, size: int = 1 << 18) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def stage(name: str = "k3s", digest: str = DIGEST) -> tuple[str, ...]:
    return ("--sha256", digest, "--to", name)


def stage_all(files: Mapping[str, bytes]) -> tuple[str, ...]:
    words = [f"{hashlib.sha256(content).hexdigest()}:{len(content)}:{name}" for name, content in files.items()]
    return tuple(word for one in words for word in ("--file", one))


class WireSuite:
    """Holds for every HostSession."""

    async def test_events_come_before_the_one_result(self, bed: Bed) -> None:
        heard: list[Event] = []
        port = f"tcp/{bed.free_port()}"
        result = await bed.session.call(
            "probe", arguments=("--listen", port, "--seconds", "0.3"), on_event=heard.append
        )
        assert result.outcome == "done"
        assert result.data == {port: ""}
        assert "listening" in [event.message for event in heard]

    async def test_a_document_arrives_whole(self, bed: Bed) -> None:
        """Every mistake in it is named, also the last one, and no secret is told again."""
        document = {"mode": "agent", "join": {"server": "s", "token": SECRET}, "text": "ü" * 300_000, "last": 1}
        result = await bed.session.call("agent", document)
        assert result.outcome == "failed"
        assert [failure.code for failure in result.failures] == ["request.invalid"]
        assert "request.last: is not known" in result.failures[0].evidence
        assert SECRET not in str(result)
        assert SECRET not in bed.seen()

    async def test_a_refused_call_is_a_result(self, bed: Bed) -> None:
        result = await bed.session.call("server", {"mode": "agent", "version": "v1"}, arguments=("--plan",))
        assert result.outcome == "failed"
        assert result.failures[0].exit_code == 2

    async def test_unknown_flags_are_no_result(self, bed: Bed) -> None:
        with pytest.raises(HostProgramFailed) as caught:
            await bed.session.call("facts", arguments=("--no-such-flag",))
        assert "--no-such-flag" in caught.value.evidence
        assert caught.value.where == bed.session.name

    async def test_a_payload_is_staged_once(self, bed: Bed) -> None:
        first = await bed.session.call("stage", arguments=stage(), payload=in_pieces(CONTENT))
        assert (first.outcome, [*(first.data or {}).values()]) == ("done", [len(CONTENT)]), first.failures
        again = await bed.session.call("stage", arguments=stage(), payload=in_pieces(CONTENT))
        assert again.outcome == "unchanged"

    async def test_several_files_come_in_one_payload(self, bed: Bed) -> None:
        """Their ends are no ends of the pieces; what is here already comes again and is passed over."""
        parts = {"one": CONTENT[:700_001], "two": CONTENT[700_001:700_004], "three": CONTENT[700_004:]}
        first = await bed.session.call(
            "stage", arguments=stage_all({"two": parts["two"]}), payload=in_pieces(parts["two"])
        )
        assert first.outcome == "done"
        result = await bed.session.call("stage", arguments=stage_all(parts), payload=in_pieces(CONTENT))
        assert result.outcome == "done", result.failures
        written = {path.rpartition("/")[2]: size for path, size in (result.data or {}).items()}
        assert written == {"one": len(parts["one"]), "two": 0, "three": len(parts["three"])}
        again = await bed.session.call("stage", arguments=stage_all(parts), payload=in_pieces(CONTENT))
        assert again.outcome == "unchanged"

    async def test_a_payload_that_ends_early_leaves_the_files_before_it(self, bed: Bed) -> None:
        parts = {"one": CONTENT[:500_000], "two": CONTENT[500_000:]}
        short = await bed.session.call("stage", arguments=stage_all(parts), payload=in_pieces(CONTENT[:-1]))
        assert [failure.code for failure in short.failures] == ["artifact.checksum"]
        only = stage_all({"one": parts["one"]})
        assert (await bed.session.call("stage", arguments=only, payload=in_pieces(b""))).outcome == "unchanged"
        whole = await bed.session.call("stage", arguments=stage_all(parts), payload=in_pieces(CONTENT))
        assert whole.outcome == "done"

    async def test_a_payload_with_another_checksum_is_not_kept(self, bed: Bed) -> None:
        short = await bed.session.call("stage", arguments=stage("cut"), payload=in_pieces(CONTENT[:-1]))
        assert [failure.code for failure in short.failures] == ["artifact.checksum"]
        whole = await bed.session.call("stage", arguments=stage("cut"), payload=in_pieces(CONTENT))
        assert whole.outcome == "done"

    async def test_a_payload_that_cannot_be_read_is_the_callers_error(self, bed: Bed) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield CONTENT[:1000]
            raise FileNotFoundError("the file that was pushed is gone")

        with pytest.raises(FileNotFoundError):
            await bed.session.call("stage", arguments=stage("gone"), payload=broken())
        whole = await bed.session.call("stage", arguments=stage("gone"), payload=in_pieces(CONTENT))
        assert whole.outcome == "done"

    async def test_calls_run_side_by_side(self, bed: Bed) -> None:
        ports = [f"tcp/{bed.free_port()}" for _ in range(3)]
        calls = [bed.session.call("probe", arguments=("--connect", "127.0.0.1", port)) for port in ports]
        results = await asyncio.gather(*calls)
        answers = [(result.data or {})["127.0.0.1"] for result in results]
        assert [list(answer) for answer in answers] == [[port] for port in ports]
        assert all(cause for answer in answers for cause in answer.values())

    async def test_a_full_disk_is_a_failure_with_its_code(self, bed: Bed) -> None:
        bed.fill_disk()
        result = await bed.session.call("stage", arguments=stage("big"), payload=in_pieces(CONTENT))
        assert result.outcome == "failed"
        assert [failure.code for failure in result.failures] == ["host.disk-full"]
        assert result.failures[0].remedy

    async def test_a_cut_connection_is_an_unknown_outcome(self, bed: Bed) -> None:
        def cut(event: Event) -> None:
            if event.message == "listening":
                bed.cut()

        arguments = ("--listen", f"tcp/{bed.free_port()}", "--seconds", "1")
        with pytest.raises(HostProgramFailed) as caught:
            await bed.session.call("probe", arguments=arguments, on_event=cut)
        assert caught.value.code == "host.no-result"
        assert "checks the host" in caught.value.remedy
