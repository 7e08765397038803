"""The `System` door: one suite, run on the simulated host and on the real one."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.system.beds import Bed, RealBed, SimulatedBed
from productive_k3s.contract.failure import ContractError
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.system import Port, RemotePort

pytestmark = pytest.mark.contract

_DATA = b"what is written\n"
_DIGEST = hashlib.sha256(_DATA).hexdigest()
# Port 1 of the loopback: nothing listens there.
NOBODY = RemotePort("127.0.0.1", Port("tcp", 1))


@pytest.fixture(params=["simulated", "real"])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    made = SimulatedBed() if request.param == "simulated" else RealBed(tmp_path)
    yield made
    made.close()


async def code(awaitable: object) -> str:
    with pytest.raises(ContractError) as caught:
        await awaitable  # type: ignore[misc]
    return caught.value.failure.code


class TestFiles:
    async def test_what_is_not_there_is_no_error(self, bed: Bed) -> None:
        path = f"{bed.root}/nothing/at/all"
        assert await bed.system.stat(path) is None
        assert await bed.system.read(path) is None
        assert await bed.system.sha256(path) is None
        assert await bed.system.list_directory(path) == ()
        assert await bed.system.space(path) is None
        await bed.system.remove(path)
        await bed.system.remove_tree(path)

    async def test_a_path_through_a_file_leads_nowhere(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/file", _DATA, 0o600)
        assert await bed.system.stat(f"{bed.root}/file/below") is None
        assert await bed.system.read(f"{bed.root}/file/below") is None
        assert await bed.system.list_directory(f"{bed.root}/file") == ()
        with pytest.raises(FileExistsError):
            await bed.system.write(f"{bed.root}/file/below/it", _DATA, 0o600)

    async def test_a_written_file_has_its_mode_and_readable_parents(self, bed: Bed) -> None:
        path = f"{bed.root}/a/b/file"
        await bed.system.write(path, _DATA, 0o640)
        found, parent = await bed.system.stat(path), await bed.system.stat(f"{bed.root}/a/b")
        assert found is not None
        assert parent is not None
        assert (found.kind, found.mode, found.size, found.link) == ("file", 0o640, len(_DATA), "")
        assert (parent.kind, parent.mode) == ("directory", 0o755)
        assert await bed.system.read(path) == _DATA
        assert await bed.system.read(path, 4) == _DATA[:4]
        assert await bed.system.sha256(path) == _DIGEST
        assert await bed.system.list_directory(f"{bed.root}/a/b") == ("file",)

    async def test_a_file_is_replaced_as_a_whole(self, bed: Bed) -> None:
        path = f"{bed.root}/file"
        await bed.system.write(path, b"longer than what comes", 0o600)
        before = await bed.system.stat(path)
        await bed.system.write(path, b"short", 0o644)
        after = await bed.system.stat(path)
        assert await bed.system.read(path) == b"short"
        assert before is not None
        assert after is not None
        assert after.mode == 0o644
        assert after.changed >= before.changed

    async def test_a_directory_is_neither_read_nor_replaced(self, bed: Bed) -> None:
        path = f"{bed.root}/folder"
        await bed.system.make_directory(path, 0o700)
        with pytest.raises(IsADirectoryError):
            await bed.system.read(path)
        with pytest.raises(IsADirectoryError):
            await bed.system.write(path, _DATA, 0o600)
        assert (await bed.system.list_directory(bed.root)).count("folder") == 1

    async def test_a_write_through_a_link_to_a_folder_lands_there(self, bed: Bed) -> None:
        await bed.system.make_directory(f"{bed.root}/there", 0o755)
        await bed.system.link("there", f"{bed.root}/here")
        await bed.system.write(f"{bed.root}/here/file", _DATA, 0o600)
        assert await bed.system.read(f"{bed.root}/there/file") == _DATA
        assert await bed.system.list_directory(f"{bed.root}/here") == ("file",)

    async def test_a_link_is_seen_itself_and_followed_when_read(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/k3s", _DATA, 0o755)
        await bed.system.link("gone", f"{bed.root}/kubectl")
        await bed.system.link("k3s", f"{bed.root}/kubectl")
        found = await bed.system.stat(f"{bed.root}/kubectl")
        assert found is not None
        assert (found.kind, found.link) == ("link", "k3s")
        assert await bed.system.sha256(f"{bed.root}/kubectl") == _DIGEST
        await bed.system.write(f"{bed.root}/kubectl", b"own", 0o600)
        assert await bed.system.read(f"{bed.root}/k3s") == _DATA

    async def test_links_in_a_circle_and_to_nothing_are_not_there(self, bed: Bed) -> None:
        await bed.system.link("nothing", f"{bed.root}/dangling")
        assert await bed.system.read(f"{bed.root}/dangling") is None
        assert await bed.system.stat(f"{bed.root}/dangling") is not None
        await bed.system.remove(f"{bed.root}/dangling")
        assert await bed.system.stat(f"{bed.root}/dangling") is None

    async def test_rename_replaces(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/new", _DATA, 0o600)
        await bed.system.write(f"{bed.root}/old", b"old", 0o644)
        await bed.system.rename(f"{bed.root}/new", f"{bed.root}/old")
        assert await bed.system.read(f"{bed.root}/old") == _DATA
        assert await bed.system.stat(f"{bed.root}/new") is None
        with pytest.raises(FileNotFoundError):
            await bed.system.rename(f"{bed.root}/new", f"{bed.root}/old")

    async def test_copied(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/source", _DATA, 0o600)
        await bed.system.copy(f"{bed.root}/source", f"{bed.root}/deep/k3s", _DIGEST, 0o755)
        found = await bed.system.stat(f"{bed.root}/deep/k3s")
        assert found is not None
        assert (found.mode, await bed.system.read(f"{bed.root}/deep/k3s")) == (0o755, _DATA)
        assert await bed.system.read(f"{bed.root}/source") == _DATA

    async def test_a_copy_of_something_else_is_none(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/source", b"something else", 0o600)
        await bed.system.write(f"{bed.root}/k3s", _DATA, 0o755)
        assert await code(bed.system.copy(f"{bed.root}/source", f"{bed.root}/k3s", _DIGEST, 0o755)) == (
            "artifact.checksum"
        )
        with pytest.raises(FileNotFoundError):
            await bed.system.copy(f"{bed.root}/nothing", f"{bed.root}/k3s", _DIGEST, 0o755)
        assert await bed.system.read(f"{bed.root}/k3s") == _DATA
        assert sorted(await bed.system.list_directory(bed.root))[-2:] == ["k3s", "source"]

    async def test_an_adopted_file_has_its_mode(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/staged", _DATA, 0o600)
        await bed.system.adopt(f"{bed.root}/staged", f"{bed.root}/k3s", 0o755)
        found = await bed.system.stat(f"{bed.root}/k3s")
        assert found is not None
        assert (found.mode, await bed.system.stat(f"{bed.root}/staged")) == (0o755, None)

    async def test_an_owner_is_given(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/hosts", _DATA, 0o664, owner=(33, 44))
        found = await bed.system.stat(f"{bed.root}/hosts")
        assert found is not None
        assert (found.mode, found.uid, found.gid) == (0o664, 33, 44)

    async def test_a_directory_is_emptied_also_through_a_link(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/disk/deep/file", _DATA, 0o600)
        await bed.system.write(f"{bed.root}/disk/file", _DATA, 0o600)
        await bed.system.link("disk", f"{bed.root}/data")
        await bed.system.empty_tree(f"{bed.root}/data")
        assert await bed.system.list_directory(f"{bed.root}/disk") == ()
        assert await bed.system.stat(f"{bed.root}/data") is not None
        await bed.system.empty_tree(f"{bed.root}/nothing")

    async def test_rename_takes_along_what_is_in_a_directory(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/from/deep/file", _DATA, 0o600)
        await bed.system.rename(f"{bed.root}/from", f"{bed.root}/to")
        assert await bed.system.read(f"{bed.root}/to/deep/file") == _DATA
        assert await bed.system.stat(f"{bed.root}/from") is None
        await bed.system.make_directory(f"{bed.root}/other", 0o755)
        with pytest.raises(OSError, match="not empty"):
            await bed.system.rename(f"{bed.root}/other", f"{bed.root}/to")

    async def test_nothing_is_renamed_to_another_file_system(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/file", _DATA, 0o600)
        before = await bed.system.list_directory(bed.root)
        with pytest.raises(OSError, match="cross-device") as caught:
            await bed.system.rename(f"{bed.root}/file", f"{bed.elsewhere}/file")
        assert caught.value.errno == errno.EXDEV
        assert await bed.system.read(f"{bed.root}/file") == _DATA
        assert await bed.system.list_directory(bed.root) == before

    async def test_remove_takes_empty_directories_only(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/folder/file", _DATA, 0o600)
        with pytest.raises(OSError, match="folder"):
            await bed.system.remove(f"{bed.root}/folder")
        await bed.system.remove(f"{bed.root}/folder/file")
        await bed.system.remove(f"{bed.root}/folder")
        assert "folder" not in await bed.system.list_directory(bed.root)

    async def test_remove_tree_follows_no_link(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/kept/file", _DATA, 0o600)
        await bed.system.write(f"{bed.root}/doomed/deep/file", _DATA, 0o600)
        await bed.system.link("../kept", f"{bed.root}/doomed/link")
        await bed.system.remove_tree(f"{bed.root}/doomed")
        assert await bed.system.stat(f"{bed.root}/doomed") is None
        assert await bed.system.read(f"{bed.root}/kept/file") == _DATA
        await bed.system.link("kept", f"{bed.root}/link")
        await bed.system.remove_tree(f"{bed.root}/link")
        assert await bed.system.read(f"{bed.root}/kept/file") == _DATA

    async def test_a_directory_that_is_there_keeps_its_mode(self, bed: Bed) -> None:
        await bed.system.make_directory(f"{bed.root}/x/private", 0o700)
        await bed.system.make_directory(f"{bed.root}/x/private", 0o755)
        parent, found = await bed.system.stat(f"{bed.root}/x"), await bed.system.stat(f"{bed.root}/x/private")
        assert parent is not None
        assert found is not None
        assert (parent.mode, found.mode) == (0o755, 0o700)

    async def test_there_is_space(self, bed: Bed) -> None:
        space = await bed.system.space(bed.root)
        assert space is not None
        assert 0 < space.free_bytes <= space.total_bytes
        assert not space.read_only


class TestProcesses:
    async def test_status_and_output(self, bed: Bed) -> None:
        assert (await bed.system.run(("sh", "-c", "exit 3"), timeout=30)).returncode == 3
        assert (await bed.system.run(("sh", "-c", "cat"), timeout=30, stdin=b"given")).stdout == "given"
        assert (await bed.system.run(("sh", "-c", "cat"), timeout=30)).stdout == ""

    async def test_the_environment_is_added_to(self, bed: Bed) -> None:
        argv = ("sh", "-c", 'printf %s "$COLOUR"')
        assert (await bed.system.run(argv, timeout=30, environment={"COLOUR": "green"})).stdout == "green"

    async def test_a_program_that_is_missing(self, bed: Bed) -> None:
        assert (await bed.system.run(("productive-k3s-no-such-program",), timeout=30)).returncode == 127

    async def test_a_file_that_is_no_program(self, bed: Bed) -> None:
        for path in bed.unrunnable():
            done = await bed.system.run((path, "--version"), timeout=30)
            assert (done.returncode, done.stdout) == (126, ""), path
            assert done.stderr
            assert (await bed.system.ask("k3s-version", path)).returncode == 126

    async def test_a_program_that_does_not_end(self, bed: Bed) -> None:
        done = await bed.system.run(("sh", "-c", "sleep 600"), timeout=0.2)
        assert done.returncode == 124
        assert "no end" in done.stderr

    async def test_a_secret_is_refused(self, bed: Bed) -> None:
        with pytest.raises(TypeError):
            await bed.system.run(("sh", Secret("x")), timeout=30)  # type: ignore[list-item]


class TestArtefacts:
    async def test_received(self, bed: Bed) -> None:
        path = f"{bed.root}/staged/k3s"
        with bed.feed(_DATA):
            assert await bed.system.receive(path, _DIGEST, 0o755) == len(_DATA)
        found = await bed.system.stat(path)
        assert found is not None
        assert found.mode == 0o755
        assert await bed.system.read(path) == _DATA

    async def test_cut_on_the_way(self, bed: Bed) -> None:
        path = f"{bed.root}/staged/k3s"
        with bed.feed(_DATA[:-3]):
            assert await code(bed.system.receive(path, _DIGEST, 0o755)) == "artifact.checksum"
        assert await bed.system.list_directory(f"{bed.root}/staged") == ()

    async def test_received_one_after_the_other(self, bed: Bed) -> None:
        """No byte of the next file is read with one; a size of zero reads nothing, none reads what is left."""
        with bed.feed(b"skipped" + _DATA + _DATA + b"rest"):
            await bed.system.skip(0)
            await bed.system.skip(7)
            assert await bed.system.receive(f"{bed.root}/one", _DIGEST, 0o644, len(_DATA)) == len(_DATA)
            nothing = hashlib.sha256().hexdigest()
            assert await bed.system.receive(f"{bed.root}/nothing", nothing, 0o644, 0) == 0
            assert await bed.system.receive(f"{bed.root}/two", _DIGEST, 0o644, len(_DATA)) == len(_DATA)
            assert await bed.system.receive(f"{bed.root}/rest", hashlib.sha256(b"rest").hexdigest(), 0o644) == 4
            await bed.system.skip(1)
        assert await bed.system.read(f"{bed.root}/one") == _DATA
        assert await bed.system.read(f"{bed.root}/two") == _DATA
        assert await bed.system.read(f"{bed.root}/nothing") == b""

    async def test_an_end_before_the_size_is_another_checksum(self, bed: Bed) -> None:
        path = f"{bed.root}/staged/k3s"
        with bed.feed(_DATA[:-3]), pytest.raises(ContractError) as caught:
            await bed.system.receive(path, _DIGEST, 0o755, len(_DATA))
        assert caught.value.failure.code == "artifact.checksum"
        assert f"{path}: {len(_DATA) - 3} of {len(_DATA)} bytes arrived" in caught.value.failure.evidence
        assert await bed.system.list_directory(f"{bed.root}/staged") == ()

    async def test_downloaded(self, bed: Bed) -> None:
        url = bed.serve("/k3s", 200, _DATA)
        await bed.system.download(url, f"{bed.root}/k3s", _DIGEST, 0o755, 30)
        assert await bed.system.read(f"{bed.root}/k3s") == _DATA

    async def test_a_download_that_is_something_else(self, bed: Bed) -> None:
        await bed.system.write(f"{bed.root}/k3s", b"the old one", 0o755)
        url = bed.serve("/k3s", 200, b"a proxy's page")
        assert await code(bed.system.download(url, f"{bed.root}/k3s", _DIGEST, 0o755, 30)) == "artifact.checksum"
        missing = bed.serve("/missing", 404, b"")
        assert await code(bed.system.download(missing, f"{bed.root}/k3s", _DIGEST, 0o755, 30)) == "network.unreachable"
        assert await bed.system.read(f"{bed.root}/k3s") == b"the old one"


class TestNetwork:
    async def test_a_page_with_any_status(self, bed: Bed) -> None:
        assert (await bed.system.get(bed.serve("/ping", 200, b"pong"), ca=None, timeout=30)).body == b"pong"
        assert (await bed.system.get(bed.serve("/gone", 404, b"no"), ca=None, timeout=30)).status == 404

    @pytest.mark.parametrize(
        ("url", "ca"), [("https://127.0.0.1:1/", None), ("https://127.0.0.1:1/", b""), ("http://127.0.0.1:1/", b"a CA")]
    )
    async def test_nobody_unproven_is_shown_a_secret(self, bed: Bed, url: str, ca: bytes | None) -> None:
        with pytest.raises(ValueError, match="need https and its CA") as caught:
            await bed.system.get(url, ca=ca, timeout=30, authorization=Secret("Basic x:secret"))
        assert "secret" not in str(caught.value)

    async def test_where_nobody_answers(self, bed: Bed) -> None:
        assert await code(bed.system.get("http://127.0.0.1:1/", ca=None, timeout=30)) == "network.unreachable"
        assert "refused" in (await bed.system.reach([NOBODY], 30))[NOBODY]

    async def test_where_somebody_listens(self, bed: Bed) -> None:
        place = bed.listener()
        assert await bed.system.reach([place], 30) == {place: ""}
        assert await bed.system.reach([], 30) == {}

    async def test_each_place_has_its_own_cause(self, bed: Bed) -> None:
        listener, silent = bed.listener(), bed.silent()
        began = await bed.system.monotonic()
        causes = await bed.system.reach([silent, NOBODY, listener, silent], 0.2)
        assert list(causes) == [silent, NOBODY, listener]
        assert causes[silent] == "no echo within 0.2 s"
        assert "refused" in causes[NOBODY]
        assert causes[listener] == ""
        assert await bed.system.monotonic() - began >= 0.2

    async def test_places_are_tried_at_once(self, bed: Bed) -> None:
        one, other = bed.pair()
        assert await bed.system.reach([one, other], 10) == {one: "", other: ""}


class TestLockAndClock:
    async def test_one_at_a_time(self, bed: Bed) -> None:
        path = f"{bed.root}/run/lock"
        rival = bed.rival()
        assert await bed.system.lock(path, 0) is None
        assert await rival.lock(path, 0.3)
        bed.end_first()
        assert await rival.lock(path, 0) is None

    async def test_waiting_takes_time(self, bed: Bed) -> None:
        began, now = await bed.system.monotonic(), await bed.system.now()
        await bed.system.sleep(0.05)
        assert await bed.system.monotonic() - began >= 0.05
        assert await bed.system.now() > now


async def test_the_kernels_settings_can_be_read(tmp_path: Path) -> None:
    """They refuse a read that asks for 4 MB at once, which is the door's default limit."""
    assert await RealBed(tmp_path).system.read("/proc/sys/kernel/hostname")


class TestQuestions:
    """What the reading half may run is a closed table: a word cannot turn a question into something else."""

    @pytest.mark.parametrize("word", ["--vacuum-size=1", "-f", "", "a b", "$(x)", "a;b", "x\ny"])
    async def test_a_word_is_a_value(self, bed: Bed, word: str) -> None:
        with pytest.raises(ValueError, match="no word"):
            await bed.system.ask("unit", word)

    @pytest.mark.parametrize("words", [(), ("a", "b")])
    async def test_a_question_takes_its_words(self, bed: Bed, words: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match="words"):
            await bed.system.ask("unit", *words)
