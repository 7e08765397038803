"""Whether the server takes a token is asked before a join writes anything; a server that cannot say is no veto."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.request import Join, Request
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.doors.local import LocalSystem
from productive_k3s.doors.system import HttpResponse
from productive_k3s.facts.join import join_veto
from productive_k3s.k3s import paths
from productive_k3s.k3s.token import authorization, ca_hash, parse_token, proven_ca
from productive_k3s.verbs import install
from static.contract_program.api_server import Authority, authority, leaf
from static.contract_program.hosts import agent, server
from static.contract_program.simulated import LiveMachine, Machine

CA = authority("k3s-server-ca@1")
HASH = ca_hash(CA.pem)
URL = "https://10.0.0.11:6443"
CONFIG, STATUS = "/v1-k3s/config", "/v1-k3s/encrypt/status"
SERVERS, AGENTS, BOOTSTRAP = "servers-password", "agents-password", "abcdef.0123456789abcdef"


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


# As K3s has it: each user its own question, whoever has a bootstrap token that of agents.
TAKES = {
    CONFIG: (basic("node", AGENTS), f"Bearer {BOOTSTRAP}"),
    STATUS: (basic("server", SERVERS),),
}


def wish(role: str, token: str, url: str = URL) -> Request:
    join = Join(url, Secret(token))
    return agent(join=join) if role == "agent" else server(join=join, expected_ca=HASH)


def secure(credentials: str, known: str = HASH) -> str:
    return f"K10{known}::{credentials}"


def beside_a_server(machine: Machine, *, api: int = 401) -> Machine:
    """Let a K3s answer, whose API server answers a stranger with that status."""
    pages = machine.system.pages
    pages[f"{URL}/cacerts"] = HttpResponse(200, CA.pem)
    pages[f"{URL}/readyz"] = HttpResponse(api, b"")
    for path, taken in TAKES.items():
        pages[f"{URL}{path}"] = HttpResponse(200, b"{}")
        machine.system.takes[f"{URL}{path}"] = [Secret(text) for text in taken]
    return machine


def joined(machine: Machine, request: Request) -> Result:
    """Run it; whoever passes all vetoes is stopped before the first change."""
    here = machine.host()
    return run_to_end(install.run(Host(here.system, here.kube, here.emit, lambda: "enough"), request))


REFUSED = [
    ("agent", f"server:{SERVERS}", "it is the server token, and the cluster has a separate agent token", "agent token"),
    ("agent", f"node:{SERVERS}", "it is the server token, and the cluster has a separate agent token", "agent token"),
    ("agent", "node:another", "its CA matches the cluster, but its password does not", "agent token"),
    ("agent", "zzzzzz.0123456789abcdef", "it has expired or was deleted", "agent token"),
    ("server", f"node:{AGENTS}", "it is the agent token, and servers join with the server token", "server token"),
    ("server", "server:another", "its CA matches the cluster, but its password does not", "server token"),
    ("server", BOOTSTRAP, "only agents can join with a bootstrap token", "server token"),
]


class TestSimulated:
    @pytest.mark.parametrize(("role", "credentials", "said", "remedy"), REFUSED)
    def test_a_token_that_the_server_refuses_changes_nothing(
        self, role: str, credentials: str, said: str, remedy: str
    ) -> None:
        machine = beside_a_server(Machine())
        before = machine.system.snapshot()
        result = joined(machine, wish(role, secure(credentials)))
        (failure,) = result.failures
        assert (result.outcome, failure.code, failure.exit_code) == ("refused", "k3s.token-mismatch", 4)
        assert URL in failure.what
        assert said in failure.evidence
        assert remedy in failure.remedy
        assert {path: item for path, item in machine.system.snapshot().items() if path in before} == before

    @pytest.mark.parametrize(
        ("role", "credentials"),
        [
            ("agent", f"node:{AGENTS}"),
            # An agent asks as node whatever its token says.
            ("agent", f"server:{AGENTS}"),
            ("agent", BOOTSTRAP),
            ("server", f"server:{SERVERS}"),
        ],
    )
    def test_one_that_it_takes_is_no_obstacle(self, role: str, credentials: str) -> None:
        result = joined(beside_a_server(Machine()), wish(role, secure(credentials)))
        assert [failure.code for failure in result.failures] == ["run.interrupted"]

    def test_nothing_shows_what_was_sent(self) -> None:
        machine = beside_a_server(Machine())
        result = joined(machine, wish("agent", secure("node:another")))
        sent = [shown.unmask() for _, shown in machine.system.shown if shown is not None]
        assert sent == [basic("node", "another"), basic("server", "another")]
        for secret in ("another:", *sent, *(item.partition(" ")[2] for item in sent)):
            assert secret not in repr(result)

    @pytest.mark.parametrize("api", [503, None])
    def test_a_server_that_is_still_starting_knows_no_token_yet(self, api: int | None) -> None:
        machine = beside_a_server(Machine())
        del machine.system.pages[f"{URL}/readyz"]
        if api is not None:
            machine.system.pages[f"{URL}/readyz"] = HttpResponse(api, b"apiserver not ready")
        assert run_to_end(join_veto(machine.system, wish("agent", secure("node:another")))) is None

    @pytest.mark.parametrize("status", [404, 429, 500, 503, None])
    def test_a_server_that_does_not_say_is_no_veto(self, status: int | None) -> None:
        machine = beside_a_server(Machine())
        machine.system.takes.clear()
        del machine.system.pages[f"{URL}{CONFIG}"]
        if status is not None:
            machine.system.pages[f"{URL}{CONFIG}"] = HttpResponse(status, b"")
        assert run_to_end(join_veto(machine.system, wish("agent", secure("node:another")))) is None

    @pytest.mark.parametrize("known", ["0" * 64, ""])
    def test_a_token_of_another_cluster_is_never_shown(self, known: str) -> None:
        machine = beside_a_server(Machine())
        token = secure(f"node:{AGENTS}", known) if known else AGENTS
        result = joined(machine, wish("agent", token))
        assert [failure.code for failure in result.failures] == ["k3s.ca-mismatch" if known else "k3s.token-not-secure"]
        assert [shown for _, shown in machine.system.shown if shown is not None] == []

    def test_a_member_shows_its_token_to_nobody(self) -> None:
        machine = LiveMachine()
        machine.system.put(
            {f"{paths.DATA}/server/db/etcd/member/snap/db": b"", f"{paths.DATA}/server/tls/server-ca.crt": CA.pem}
        )
        beside_a_server(machine)
        result = joined(machine, wish("server", secure("server:another")))
        assert [failure.code for failure in result.failures] == ["run.interrupted"]
        assert machine.system.shown == []


class Supervisor(ThreadingHTTPServer):
    """The join contract of a K3s server over TLS, as pkg/server/auth and handlers have it."""

    def __init__(self, folder: Path, ca: Authority, shown: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.cacerts = shown
        self.came: list[tuple[str, str]] = []
        certificate, key = leaf(ca, "k3s", server=True)
        (folder / "serving.pem").write_bytes(certificate + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "serving.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """A client that does not trust us hangs up."""


class _Answers(BaseHTTPRequestHandler):
    server: Supervisor

    def do_GET(self) -> None:
        shown = self.headers.get("Authorization", "")
        self.server.came.append((self.path, shown))
        if self.path == "/cacerts":
            return self._answer(200, self.server.cacerts)
        if self.path in TAKES and shown in TAKES[self.path]:
            return self._answer(200, json.dumps({"ClusterDomain": "cluster.local"}).encode())
        return self._answer(403 if self.path in TAKES and not shown else 401, b"not authorized")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class TestReal:
    """The same over TLS with the real door."""

    @pytest.fixture
    def supervisor(self, tmp_path: Path) -> Iterator[Supervisor]:
        made = Supervisor(tmp_path, CA, CA.pem)
        yield made
        made.stop()

    @pytest.mark.parametrize(("role", "credentials", "said", "remedy"), REFUSED)
    def test_what_it_refuses(self, supervisor: Supervisor, role: str, credentials: str, said: str, remedy: str) -> None:
        found = run_to_end(join_veto(LocalSystem(), wish(role, secure(credentials), supervisor.url)))
        assert found is not None
        assert (found.code, said in found.evidence, remedy in found.remedy) == ("k3s.token-mismatch", True, True)

    @pytest.mark.parametrize(
        ("role", "credentials"), [("agent", f"server:{AGENTS}"), ("agent", BOOTSTRAP), ("server", f"x:{SERVERS}")]
    )
    def test_what_it_takes(self, supervisor: Supervisor, role: str, credentials: str) -> None:
        assert run_to_end(join_veto(LocalSystem(), wish(role, secure(credentials), supervisor.url))) is None
        assert [path for path, _ in supervisor.came] == ["/cacerts", {"agent": CONFIG, "server": STATUS}[role]]

    def test_whoever_only_shows_the_ca_gets_no_token(self, tmp_path: Path) -> None:
        """Anybody can have the CA's certificate, and send it; the key for the connection is another matter."""
        thief = Supervisor(tmp_path, authority("k3s-server-ca@1"), CA.pem)
        try:
            assert run_to_end(join_veto(LocalSystem(), wish("agent", secure("node:another"), thief.url))) is None
            assert thief.came == [("/cacerts", "")]
        finally:
            thief.stop()

    def test_a_ca_beside_the_root_of_a_bundle_proves_nothing(self, tmp_path: Path) -> None:
        own = authority("thief")
        bundle = CA.pem + CA.pem + own.pem
        thief = Supervisor(tmp_path, own, bundle)
        try:
            token = secure("node:another", ca_hash(bundle))
            assert ca_hash(bundle) != ca_hash(own.pem)
            assert run_to_end(join_veto(LocalSystem(), wish("agent", token, thief.url))) is None
            assert thief.came == [("/cacerts", "")]
        finally:
            thief.stop()

    def test_the_root_of_a_bundle_proves_its_server(self, tmp_path: Path) -> None:
        bundle = CA.pem + CA.pem + authority("another").pem
        made = Supervisor(tmp_path, CA, bundle)
        try:
            found = run_to_end(join_veto(LocalSystem(), wish("agent", secure("node:x", ca_hash(bundle)), made.url)))
            assert found is not None
            assert found.code == "k3s.token-mismatch"
        finally:
            made.stop()


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        ("server:secret:more", basic("node", "secret:more")),
        ("node:pässwörd", basic("node", "pässwörd")),
        (BOOTSTRAP, f"Bearer {BOOTSTRAP}"),
        # Of that form, but somebody's password.
        (f"node:{BOOTSTRAP}", basic("node", BOOTSTRAP)),
    ],
)
def test_how_a_token_is_shown(credentials: str, header: str) -> None:
    shown = authorization(parse_token(secure(credentials)), "node")
    assert shown == Secret(header)
    assert header not in repr(shown)


def test_a_ca_that_cannot_be_read_proves_nothing() -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"
    assert [proven_ca(pem) for pem in (b"", b"another CA", broken)] == [b"", b"", b""]
    assert ssl.PEM_cert_to_DER_cert(proven_ca(CA.pem).decode()) == ssl.PEM_cert_to_DER_cert(CA.pem.decode())
