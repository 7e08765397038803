"""The cache's place, and downloads that are killed, redirected, or not to be trusted."""

from __future__ import annotations

import pwd
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from productive_k3s_infra.artifacts import download as module
from productive_k3s_infra.artifacts.cache import ReleaseCache, default_cache
from productive_k3s_infra.artifacts.download import download
from productive_k3s_infra.errors import BadInput, Pk3sError, StepFailed
from static.artifacts.mirror import FILES, Mirror, certificate, digest, mirror


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "_FIRST_WAIT_SECONDS", 0.0)
    with mirror() as one:
        yield one


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other places")
@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"XDG_CACHE_HOME": "/x", "HOME": "/home/ops"}, "/x/productive-k3s"),
        ({"XDG_CACHE_HOME": "x", "HOME": "/home/ops"}, "/home/ops/.cache/productive-k3s"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/ops"}, "/home/ops/.cache/productive-k3s"),
    ],
)
def test_it_lies_where_caches_lie(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], path: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_cache() == Path(path)


def test_without_a_place_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a user whom nothing knows."""

    def unknown(_user: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadInput) as caught:
        default_cache()
    assert caught.value.code == "cache.home"


def test_the_cache_is_its_owners(tmp_path: Path) -> None:
    cache = ReleaseCache(tmp_path / "above" / "cache")
    cache.place("a" * 64, "k3s")
    assert stat.S_IMODE(cache.root.stat().st_mode) == 0o700


def test_a_file_where_the_cache_should_be_is_told_when_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(BadInput) as caught:
        ReleaseCache(tmp_path / "cache").place("a" * 64, "k3s")
    assert caught.value.code == "cache.not-a-directory"


def test_a_killed_download_leaves_no_file_under_its_name_and_the_next_cleans_up(served: Mirror, tmp_path: Path) -> None:
    target = tmp_path / "k3s"
    program = (
        "import os, pathlib, sys\n"
        "from productive_k3s_infra.artifacts.download import download\n"
        "def die(done, total): os.kill(os.getpid(), 9)\n"
        "download(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), die)\n"
    )
    command = [sys.executable, "-c", program, f"{served.url}/v1/k3s", digest(FILES["k3s"]), str(target)]
    assert subprocess.run(command, check=False, cwd="src", timeout=60).returncode == -9
    assert not target.exists()
    assert len(list(tmp_path.iterdir())) == 1
    download(f"{served.url}/v1/k3s", digest(FILES["k3s"]), target)
    assert target.read_bytes() == FILES["k3s"]
    assert list(tmp_path.iterdir()) == [target]


def test_the_bytes_are_counted(served: Mirror, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "k3s", lambda *now: seen.append(now))
    size = len(FILES["k3s"])
    assert seen[-1] == (size, size)
    assert [done for done, _total in seen] == sorted(done for done, _total in seen)


def test_a_body_that_trickles_meets_its_deadline(
    served: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGE_SECONDS", -1.0)
    with pytest.raises(StepFailed) as caught:
        download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "k3s")
    assert caught.value.code == "artifact.unreachable"
    assert "bytes in time" in caught.value.evidence
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_STALL_SECONDS", 0.05)
    monkeypatch.setattr(module, "_FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.delenv("http_proxy", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/k3s"
        with pytest.raises(StepFailed) as caught:
            download(url, "a" * 64, tmp_path / "k3s")
    assert caught.value.code == "artifact.unreachable"
    assert "timed out" in caught.value.evidence


def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    target = tmp_path / "cache" / "k3s"
    target.parent.mkdir()
    with mirror(context) as served:
        with pytest.raises(StepFailed) as caught:
            download(f"{served.url}/k3s", digest(FILES["k3s"]), target)
        assert "certificate verify failed" in caught.value.evidence
        assert list(target.parent.iterdir()) == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))  # the way that the remedy names
        download(f"{served.url}/k3s", digest(FILES["k3s"]), target)
    assert target.read_bytes() == FILES["k3s"]


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/k3s?signature", "file:///etc/passwd?signature"])
def test_a_redirect_never_leaves_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with mirror(context) as served:
        served.answers["k3s"] = f"to:{target}"
        with pytest.raises(StepFailed) as caught:
            download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "k3s")
        assert "it redirects from https to " in caught.value.evidence
        assert "signature" not in repr(vars(caught.value))
        served.answers["k3s"] = f"to:{served.url}/other"
        served.files["other"] = FILES["k3s"]
        download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "k3s")


def test_what_breaks_off_is_gone_on_with(served: Mirror, tmp_path: Path) -> None:
    served.first["k3s"] = ["cut", "cut", 503, "cut"]
    download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "k3s")
    assert (tmp_path / "k3s").read_bytes() == FILES["k3s"]
    half = len(FILES["k3s"]) // 2
    begins = [half, half + half // 2, half + half // 2, half + half // 2 + half // 4]
    assert served.ranges == ["", *(f"bytes={begin}-" for begin in begins)]


def test_progress_counts_and_only_standing_still_gives_up(served: Mirror, tmp_path: Path) -> None:
    served.first["k3s"] = [*["cut"] * 7, 502, 502, 502]
    download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "k3s")
    served.answers["k3s"] = 502
    asked = len(served.asked)
    with pytest.raises(StepFailed) as caught:
        download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "other")
    assert (caught.value.code, caught.value.evidence) == ("artifact.unreachable", "HTTP 502; tried 4 times")
    assert len(served.asked) == asked + 4


@pytest.mark.parametrize("second", ["no-parts", "other-part", 416])
def test_a_server_without_parts_gives_all_of_it_again(served: Mirror, tmp_path: Path, second: str | int) -> None:
    served.first["k3s"] = ["cut", second]
    download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "k3s")
    assert (tmp_path / "k3s").read_bytes() == FILES["k3s"]


def test_a_file_that_changed_meanwhile_is_not_sewn_together(served: Mirror, tmp_path: Path) -> None:
    new = FILES["k3s"][::-1]

    def changed(_done: int, _total: int | None) -> None:
        served.files["k3s"] = new

    served.first["k3s"] = ["cut"]
    download(f"{served.url}/k3s", digest(new), tmp_path / "k3s", changed)
    assert (tmp_path / "k3s").read_bytes() == new


@pytest.mark.parametrize("status", [403, 404])
def test_what_stays_as_it_is_is_asked_once(served: Mirror, tmp_path: Path, status: int) -> None:
    served.answers["k3s"] = status
    with pytest.raises(Pk3sError):
        download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "k3s")
    assert len(served.asked) == 1


def test_a_proxy_is_asked_unless_it_is_said_otherwise(
    served: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The mirror stands for the proxy too: it answers whatever host is in the path.
    monkeypatch.setenv("HTTP_PROXY", served.url.removesuffix("/k3s"))
    download("http://releases.example/v1/k3s", digest(FILES["k3s"]), tmp_path / "k3s")
    assert served.asked == ["http://releases.example/v1/k3s"]
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1,.example")
    download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "again")
    assert served.asked[1:] == ["/k3s/k3s"]


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "gopher://me:hunter22@127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(StepFailed) as caught:
        download("http://releases.example/v1/k3s", "a" * 64, tmp_path / "k3s")
    assert caught.value.code == "artifact.unreachable"
    assert "SOCKS" in caught.value.evidence or "proxy" in caught.value.evidence
    assert "hunter22" not in caught.value.evidence
