"""What `pk3s init` was given is in the file, or it refuses; and what it has written, the next command accepts."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from productive_k3s.k3s.release import DEFAULT_VERSION
from productive_k3s_infra.artifacts import channel
from productive_k3s_infra.artifacts.channel import resolve_channel
from productive_k3s_infra.cli.app import app
from productive_k3s_infra.cluster_file.first_file import NewCluster
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.errors import BadInput, StepFailed
from productive_k3s_infra.inventory.build import Login, nothing_configured
from productive_k3s_infra.operations.init import init

AWS = ("--provider", "aws", "--region", "eu-central-1", "--allow", "203.0.113.0/24")
ONPREM = ("--provider", "onprem", "--server", "10.0.0.11")


def run(folder: Path, *words: str) -> tuple[int, str]:
    file = folder / "cluster.yaml"
    result = CliRunner().invoke(app, ["init", "-f", str(file), *words])
    return result.exit_code, result.output


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "id"
    path.write_text("no key, only a file\n")
    path.chmod(0o600)
    return path


def test_all_that_was_said_about_hosts_is_in_the_file(tmp_path: Path, key: Path) -> None:
    (tmp_path / "k3s").mkdir()
    words = ("--server", "ops@10.0.0.11:2222", "--agent", "agent-1.example", "--agent", "10.0.0.22", "--name", "site")
    words += (
        "--provider",
        "onprem",
        "--user",
        "admin",
        "--port",
        "2200",
        "--key",
        str(key),
        "--jump",
        "gate@bastion:9",
    )
    words += ("--artifacts", str(tmp_path / "k3s"), "--version", "v1.34.4+k3s1")
    code, output = run(tmp_path, *words)
    assert code == 0, output
    spec = load_cluster_file(tmp_path / "cluster.yaml", {})
    jump = spec.ssh.jump
    assert jump is not None
    assert (spec.name, spec.ssh.user, spec.ssh.port, spec.ssh.key) == ("site", "admin", 2200, str(key))
    assert (jump.user, jump.address, jump.port) == ("gate", "bastion", 9)
    assert spec.k3s.artifacts.source == str(tmp_path / "k3s")
    assert [(node.role, node.address, node.ssh.user, node.ssh.port) for node in spec.nodes] == [
        ("server", "10.0.0.11", "ops", 2222),
        ("agent", "agent-1.example", None, None),
        ("agent", "10.0.0.22", None, None),
    ]


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ((*ONPREM, "--agents", "3"), "init.agents"),
        ((*ONPREM, "--user", "a b"), "init.not-valid"),
        ((*ONPREM, "--key", "/nowhere/id"), "init.not-valid"),
        ((*ONPREM, "--jump", "@bastion"), "init.not-valid"),
        ((*ONPREM, "--artifacts", "/nowhere"), "init.not-valid"),
        ((*ONPREM, "--server", "10.0.0.12"), "init.servers"),
        ((*ONPREM, "--agent", "10.0.0.11"), "init.not-valid"),
        (("--provider", "onprem"), "init.servers"),
        (("--provider", "azure"), "init.provider"),
        (("--version", "1.34"), "init.not-valid"),
        (("--version", "v1.34.4+k3s1", "--channel", "latest"), "init.version"),
        (("--name", "Foo_Bar"), "init.not-valid"),
        (("--name", "x" * 41), "init.not-valid"),
        (("--agents", "999"), "init.not-valid"),
        (("--server", "10.0.0.11"), "init.address"),
        (("--user", "ops"), "init.ssh"),
        (("--port", "2222"), "init.ssh"),
        (("--region", "eu-central-1"), "init.aws"),
        ((*AWS, "--allow", "1.2.3.4"), "init.not-valid"),
        (("--provider", "aws", "--region", "eu-central-1"), "init.aws"),
        (("--provider", "aws", "--region", "Frankfurt", "--allow", "203.0.113.0/24"), "init.not-valid"),
        (("--from-host", "10.0.0.11", "--agents", "0"), "init.from-host"),
        (("--from-host", "10.0.0.11", "--provider", "onprem"), "init.from-host"),
        (("--from-host", "10.0.0.11", "--channel", "latest"), "init.from-host"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_no_file_can_say_is_refused_with_a_way_out_and_nobody_is_asked(
    words: tuple[str, ...], refused: str, tmp_path: Path
) -> None:
    code, output = run(tmp_path, *words)
    assert code == 2, output
    assert "next: " in output
    assert f"[{refused}]" in output  # and not that no channel server answers
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_ipv6_needs_no_brackets(tmp_path: Path) -> None:
    words = ("--provider", "onprem", "--version", "v1.34.4+k3s1", "--server", "fd00::11", "--agent", "ops@[fd00::21]:9")
    code, output = run(tmp_path, *words)
    assert code == 0, output
    nodes = load_cluster_file(tmp_path / "cluster.yaml", {}).nodes
    assert [(node.address, node.ssh.user, node.ssh.port) for node in nodes] == [
        ("fd00::11", None, None),
        ("fd00::21", "ops", 9),
    ]


def test_a_version_that_is_not_exact_leads_to_its_channel(tmp_path: Path) -> None:
    _, output = run(tmp_path, "--version", "1.34")
    assert "--channel v1.36" in " ".join(output.split())


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("mine\n")
    code, output = run(tmp_path, "--version", "v1.34.4+k3s1")
    assert code == 2
    assert "already exists" in output
    assert (tmp_path / "cluster.yaml").read_text() == "mine\n"


@pytest.mark.parametrize("said", [{"key": "~nobody-here/id"}, {"artifacts": "~nobody-here/releases"}])
def test_the_home_of_a_user_whom_nobody_knows_is_no_traceback(tmp_path: Path, said: dict[str, str]) -> None:
    wanted = NewCluster(name="edge", provider="onprem", version="v1.34.4+k3s1", servers=("10.0.0.11",), **said)
    with pytest.raises(BadInput) as caught:
        init(tmp_path / "cluster.yaml", wanted, {}, nothing_configured)
    assert "~nobody-here" in caught.value.evidence
    assert list(tmp_path.iterdir()) == []


_WORDS = st.text(alphabet="abc019.-_@:/ ~${}[]\"'#&*!|>%\n\té", max_size=20)
_OPTION = st.one_of(st.just(""), _WORDS, st.sampled_from(["on", "null", "0x1", "1e3", "ops", "10.0.0.11", "fd00::1"]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=st.builds(
        NewCluster,
        name=st.sampled_from(["edge", "on", "1e3", "null", "0"]) | _WORDS,
        provider=st.sampled_from(["local", "multipass", "onprem", "aws"]),
        version=st.just("v1.34.4+k3s1") | _OPTION,
        servers=st.lists(_OPTION, max_size=1).map(tuple),
        agents=st.lists(_OPTION, max_size=2).map(tuple),
        agent_count=st.none() | st.integers(0, 5),
        user=_OPTION,
        port=st.none() | st.integers(1, 65535),
        key=st.just("") | _WORDS,
        jump=_OPTION,
        artifacts=_OPTION,
        region=st.sampled_from(["", "eu-central-1"]),
        allowed=st.lists(st.sampled_from(["203.0.113.0/24", "fd00::/8", "on"]), max_size=2).map(tuple),
    )
)
def test_what_is_written_is_accepted_and_says_all_of_it(
    wanted: NewCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("init") / "cluster.yaml"
    try:
        version = init(file, wanted, {}, nothing_configured)
    except (BadInput, StepFailed):
        assert list(file.parent.iterdir()) == []
        return
    spec = load_cluster_file(file, {})
    assert (spec.name, spec.k3s.version, spec.provider.kind) == (wanted.name, version, wanted.provider)
    assert wanted.user in ("", spec.ssh.user)
    assert wanted.port in (None, spec.ssh.port)
    assert len(spec.nodes) == 1 + (len(wanted.agents) or sum(node.role == "agent" for node in spec.nodes))


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(channel, "CHANNELS", "http://127.0.0.1:9/channels")


class _Answering(http.server.BaseHTTPRequestHandler):
    seen: list[str]
    status = 302
    version = "v1.36.4%2Bk3s1"

    def do_GET(self) -> None:
        type(self).seen.append(f"GET {self.path}")
        self.send_response(self.status)
        self.send_header("Location", f"https://github.example/k3s/releases/tag/{self.version}")
        self.end_headers()

    def do_CONNECT(self) -> None:
        type(self).seen.append(f"CONNECT {self.path}")
        self.send_error(403)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        del format, args


@contextmanager
def answering(status: int = 302, version: str = _Answering.version) -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (_Answering,), {"seen": [], "status": status, "version": version})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler.seen
        finally:
            server.shutdown()


def test_a_channel_is_a_redirect_that_nobody_follows() -> None:
    with answering() as (url, seen):
        assert resolve_channel("stable", base=f"{url}/channels") == "v1.36.4+k3s1"
    assert seen == ["GET /channels/stable"]


def test_a_channel_that_names_no_exact_version_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(version="v1.36") as (url, _):
        monkeypatch.setattr(channel, "CHANNELS", f"{url}/channels")
        code, output = run(tmp_path)
    assert code == 2
    assert "[init.not-valid]" in output
    assert list(tmp_path.iterdir()) == []


def test_a_channel_that_is_none_is_bad_input() -> None:
    with answering(404) as (url, _), pytest.raises(BadInput) as caught:
        resolve_channel("v0.1/x", base=f"{url}/channels")
    assert caught.value.code == "channel.unknown"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_the_proxy_of_the_environment_is_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering() as (url, seen):
        monkeypatch.setenv(name, url)
        with pytest.raises(StepFailed) as caught:
            resolve_channel("stable", base="https://update.example/channels", timeout_seconds=10)
    assert seen == ["CONNECT update.example:443"]
    assert caught.value.code == "channel.unreachable"
    assert DEFAULT_VERSION in caught.value.remedy


@pytest.mark.parametrize(
    ("said", "servers", "user"),
    [
        ("", ("web",), "deploy"),
        ("ops", ("web",), "ops"),
        ("", ("10.0.0.11",), "root"),
        ("", ("admin@web",), "root"),
    ],
)
def test_a_user_that_nobody_says_is_the_one_of_ssh_config(
    tmp_path: Path, said: str, servers: tuple[str, ...], user: str
) -> None:
    def login_of(address: str, user: str | None) -> Login:
        return Login("deploy") if address == "web" else Login(user)

    wanted = NewCluster(name="edge", provider="onprem", version="v1.34.4+k3s1", servers=servers, user=said)
    init(tmp_path / "cluster.yaml", wanted, {}, login_of)
    assert load_cluster_file(tmp_path / "cluster.yaml", {}).ssh.user == user
