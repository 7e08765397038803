"""The wire: one suite, in process over a simulated host, and over SSH to a server on loopback that runs the program."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.wire.beds import Bed, InProcessBed, LoopbackBed, loopback
from contract.wire.suite import CONTENT, SECRET, WireSuite, in_pieces, stage
from productive_k3s.contract.events import Event
from productive_k3s_infra.errors import HostProgramFailed
from productive_k3s_infra.hosts.wire import bootstrap

pytestmark = pytest.mark.contract


class TestInProcess(WireSuite):
    @pytest.fixture
    def bed(self) -> Bed:
        return InProcessBed()


class TestOverSsh(WireSuite):
    @pytest.fixture
    async def bed(self, tmp_path: Path) -> AsyncIterator[LoopbackBed]:
        async with loopback(tmp_path) as made:
            yield made

    @pytest.mark.parametrize(
        "noise", ["echo Welcome; echo '{\"type\": 1'", "printf 'no newline at the end '; echo", "cat /dev/null"]
    )
    async def test_a_shells_noise_is_tolerated(self, bed: LoopbackBed, noise: str) -> None:
        bed.noise = noise
        assert (await bed.session.call("facts")).facts

    async def test_the_command_is_fixed_and_no_vector_holds_a_secret(self, bed: LoopbackBed) -> None:
        def look(event: Event) -> None:
            bed.look_at_vectors()

        arguments = ("--listen", f"tcp/{bed.free_port()}", "--seconds", "0.5")
        waiting = bed.session.call("probe", arguments=arguments, on_event=look)
        await asyncio.gather(waiting, bed.session.call("agent", {"secret": SECRET}))
        assert set(bed.commands) == {bootstrap.root_command()}
        assert "exec(eval(input()))" in bed.vectors, "the program was looked at while it ran"
        assert SECRET not in bed.vectors

    async def test_reading_writes_nothing_and_changing_keeps_the_program(
        self, bed: LoopbackBed, tmp_path: Path
    ) -> None:
        await bed.session.call("facts")
        await bed.session.call("server", {}, arguments=("--plan",))
        assert list((tmp_path / "lib").iterdir()) == []
        await bed.session.call("stage", arguments=stage(), payload=in_pieces(CONTENT))
        kept = tmp_path / "lib" / "productive-k3s"
        (program,) = kept.glob("*.pyz")
        assert (kept.stat().st_mode & 0o777, program.stat().st_mode & 0o777) == (0o755, 0o644)
        assert (kept.stat().st_uid, program.stat().st_uid) == (os.getuid(), os.getuid())

    async def test_only_the_newest_programs_are_kept_and_artefacts_stay(self, bed: LoopbackBed, tmp_path: Path) -> None:
        kept = tmp_path / "lib" / "productive-k3s"
        (kept / "artifacts").mkdir(parents=True, mode=0o755)
        kept.chmod(0o755)
        for age, name in enumerate(("older.pyz", "oldest.pyz", "killed.pyz.123", "artifacts/precious"), start=1):
            (kept / name).write_text("x")
            os.utime(kept / name, (age * -1e5 + 1e9, age * -1e5 + 1e9))
        os.utime(kept / "artifacts", (1e8, 1e8))
        result = await bed.session.call("stage", arguments=stage(), payload=in_pieces(CONTENT))
        assert result.outcome == "done", result.failures
        left = {path.name for path in kept.iterdir()}
        assert {"older.pyz", "artifacts"} < left
        assert len(left) == 3
        assert (kept / "artifacts" / "precious").exists()

    async def test_a_damaged_program_is_replaced(self, bed: LoopbackBed, tmp_path: Path) -> None:
        await bed.session.call("stage", arguments=stage(), payload=in_pieces(CONTENT))
        (program,) = (tmp_path / "lib" / "productive-k3s").glob("*.pyz")
        whole = program.read_bytes()
        program.write_bytes(b"raise SystemExit('damaged')")
        assert (await bed.session.call("stage", arguments=stage(), payload=in_pieces(CONTENT))).outcome == "unchanged"
        assert program.read_bytes() == whole

    async def test_a_directory_that_others_may_write_is_refused(self, bed: LoopbackBed, tmp_path: Path) -> None:
        (tmp_path / "lib" / "productive-k3s").mkdir()
        (tmp_path / "lib" / "productive-k3s").chmod(0o777)
        result = await bed.session.call("stage", arguments=stage(), payload=in_pieces(CONTENT))
        assert [failure.code for failure in result.failures] == ["host.unsafe-directory"]

    async def test_the_host_keeps_the_deadline_too(self, bed: LoopbackBed) -> None:
        """The program ends in order at the deadline, and says so in a result."""
        arguments = ("--listen", f"tcp/{bed.free_port()}", "--seconds", "60")
        result = await bed.session.call("probe", arguments=arguments, deadline_seconds=4.0)
        assert result.outcome == "done"

    async def test_a_cancelled_call_ends_the_program(self, bed: LoopbackBed) -> None:
        listening = asyncio.Event()
        arguments = ("--listen", f"tcp/{bed.free_port()}", "--seconds", "60")
        call = asyncio.ensure_future(
            bed.session.call("probe", arguments=arguments, on_event=lambda _: listening.set(), deadline_seconds=70)
        )
        await asyncio.wait_for(listening.wait(), 20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert bed.running == 0

    async def test_a_missing_python_is_named(self, bed: LoopbackBed) -> None:
        bed.noise = "exec /nowhere/python3"
        with pytest.raises(HostProgramFailed) as caught:
            await bed.session.call("facts")
        assert caught.value.code == "host.no-python"
