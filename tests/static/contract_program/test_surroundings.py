"""Proxies and registries: what K3s and this program's own downloads get, and that no password is shown on the way."""

from __future__ import annotations

import base64
import hashlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from productive_k3s.contract.codec import encode
from productive_k3s.contract.failure import ContractError
from productive_k3s.contract.request import Artifact, Request, Secrets
from productive_k3s.contract.secret import Secret
from productive_k3s.doors import local_http
from productive_k3s.doors.host import run_to_end
from productive_k3s.doors.pace import Pace, nothing_ends_it
from productive_k3s.doors.system import HttpResponse
from productive_k3s.effects.install import apply_change
from productive_k3s.facts import masking
from productive_k3s.k3s import paths
from productive_k3s.k3s import registries as registry_rules
from productive_k3s.plan.changes import assess
from productive_k3s.plan.desired import registries
from static.artifacts.mirror import FILES, certificate, digest, mirror
from static.contract_program.hosts import desired_files, server
from static.contract_program.simulated import STARTED_SECONDS, LiveMachine
from static.contract_program.systemd import task_on

PASSWORD = "hunter2"
PROXY = f"http://ops:{PASSWORD}@proxy.example:3128"
REGISTRIES = {
    "mirrors": {"docker.io": {"endpoint": ["https://mirror.example:5000"], "rewrite": {"^rancher/(.*)": "r/$1"}}},
    "configs": {"mirror.example:5000": {"auth": {"username": "ops"}, "tls": {"ca_file": "/etc/ssl/ca.pem"}}},
}
SECRETS = Secrets({"HTTPS_PROXY": Secret(PROXY)}, {"mirror.example:5000": {"password": Secret(PASSWORD)}})
ENVIRONMENT = {"NO_PROXY": "10.0.0.0/8,.internal"}


def wish(**wishes: Any) -> Request:
    known = {"binary": None, "registries": REGISTRIES, "environment": ENVIRONMENT, "secrets": SECRETS}
    return server(**{**known, **wishes})


class Node(LiveMachine):
    """A server that runs with the files of a request, written long before its start."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        bare = self.facts()
        for file in desired_files(request, bare):
            self.system.put({file.path: file.text}, mode=file.mode, changed=STARTED_SECONDS - 60)
        self.system.put({paths.SERVER_TOKEN: "s", paths.AGENT_TOKEN: "a"}, mode=0o600, changed=STARTED_SECONDS - 60)

    def changes(self, request: Request) -> list[str]:
        found = assess(request, self.facts(), planning=True).changes
        return [item.id for item in found if item.id.startswith(("write:/etc", "remove:", "restart:"))]


def test_what_is_there_with_its_passwords_is_no_difference() -> None:
    assert Node(wish()).changes(wish()) == []


def test_another_password_is_one() -> None:
    node = Node(wish())
    other = replace(SECRETS, environment={"HTTPS_PROXY": Secret(PROXY.replace(PASSWORD, "other"))})
    assert node.changes(wish(secrets=other)) == [f"write:{paths.environment_file('k3s')}", "restart:k3s"]
    other = replace(SECRETS, registries={"mirror.example:5000": {"password": Secret("other")}})
    assert node.changes(wish(secrets=other)) == [f"write:{paths.REGISTRIES}", "restart:k3s"]


def test_order_and_quotes_of_somebody_else_are_no_difference() -> None:
    """The install script writes the shell's quotes; a password among the values is compared by the file's digest."""
    node = Node(wish())
    text = f"NO_PROXY='10.0.0.0/8,.internal'\nHTTPS_PROXY='{PROXY}'\n"
    node.system.put({paths.environment_file("k3s"): text}, changed=STARTED_SECONDS - 60)
    # Both orders of the lines mean the same to systemd; the digest is of what they say together.
    assert node.changes(wish()) == []
    plain = wish(secrets=Secrets(), environment={"NO_PROXY": ".internal, 10.0.0.0/8", "HTTP_PROXY": "http://p:1"})
    node = Node(plain)
    assert node.changes(replace(plain, environment={**plain.environment, "NO_PROXY": "10.0.0.0/8,.internal"})) == []


def test_what_is_not_asked_for_any_more_goes() -> None:
    found = Node(wish()).changes(server(binary=None))
    assert found == [f"write:{paths.environment_file('k3s')}", f"remove:{paths.REGISTRIES}", "restart:k3s"]


def test_diffs_show_what_may_be_shown() -> None:
    node = Node(server(binary=None))
    changes = {item.target: item for item in assess(wish(), node.facts(), planning=True).changes}
    variables = changes[paths.environment_file("k3s")].diff
    assert "+HTTPS_PROXY=http://***@proxy.example:3128" in variables
    assert "+NO_PROXY=10.0.0.0/8,.internal" in variables
    registries = "\n".join(changes[paths.REGISTRIES].diff)
    for shown in ("https://mirror.example:5000", "username: ops", "^rancher/(.*): r/$1", "password: '***'", "ca.pem"):
        assert shown in registries
    assert PASSWORD not in repr(assess(wish(), node.facts(), planning=True))


def test_no_password_in_facts() -> None:
    assert PASSWORD not in repr(Node(wish()).facts())
    token = f"configs:\n  r:\n    auth: {{token: {PASSWORD}, identity_token: {PASSWORD}, auth: {PASSWORD}}}\n"
    for text in (
        token,
        f"mirrors: {{r: {{endpoint: ['https://u:{PASSWORD}@r']}}}}\n",
        f"configs: {{r: {{auth: {PASSWORD}}}}}\n",
        f"something: {{else: [{PASSWORD}]}}\n",
        f"# ours\n# {PASSWORD}\nconfigs: {{}}\n",
        f"configs: [{PASSWORD}\n",
    ):
        assert PASSWORD not in (masking.registries_text(text) or "")


def test_a_request_with_passwords_is_not_encoded_by_accident() -> None:
    with pytest.raises(TypeError):
        encode(wish())
    assert PASSWORD not in repr(wish())


def test_files_have_the_passwords_and_nobody_else_reads_them() -> None:
    found = {item.path: item for item in desired_files(wish(), LiveMachine().facts())}
    assert f"HTTPS_PROXY={PROXY}" in found[paths.environment_file("k3s")].text
    assert f"password: {PASSWORD}" in found[paths.REGISTRIES].text
    assert "username: ops" in found[paths.REGISTRIES].text
    assert {found[path].mode for path in (paths.environment_file("k3s"), paths.REGISTRIES)} == {0o600}


def test_a_download_goes_through_the_proxy_that_k3s_gets() -> None:
    node = Node(wish())
    url, data = "https://mirror.example/k3s", b"k3s"
    node.system.pages[url] = HttpResponse(200, data)
    request = wish(binary=Artifact("k3s", hashlib.sha256(data).hexdigest(), url))
    facts = node.facts()
    change = next(item for item in assess(request, facts).changes if item.id == "binary")
    run_to_end(apply_change(task_on(node.host(), request, facts, "x"), change))
    assert node.system.asked_with[url] == {**ENVIRONMENT, "HTTPS_PROXY": PROXY}


class _Proxy(BaseHTTPRequestHandler):
    """Answers every request itself, and remembers what was asked for and who asked."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Proxy-Authorization")))  # type: ignore[attr-defined]
        if self.path.endswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "http://direct.invalid:1/x")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"k3s")

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def proxy() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def pace() -> Pace:
    return Pace("k3s", 10, nothing_ends_it)


class TestRealDownload:
    SHA256 = hashlib.sha256(b"k3s").hexdigest()

    def variables(self, proxy: ThreadingHTTPServer, no_proxy: str = "") -> dict[str, str]:
        return {"HTTP_PROXY": f"http://ops:p%40ss@127.0.0.1:{proxy.server_port}", "NO_PROXY": no_proxy}

    def test_it_asks_the_proxy_with_its_password(self, proxy: Any, tmp_path: Path) -> None:
        target = tmp_path / "k3s"
        url = "http://releases.invalid/k3s"
        local_http.download(url, str(target), self.SHA256, 0o755, pace(), self.variables(proxy))
        assert target.read_bytes() == b"k3s"
        assert proxy.asked == [(url, f"Basic {base64.b64encode(b'ops:p@ss').decode()}")]

    @pytest.mark.parametrize("path", ["http://releases.invalid/k3s", "http://elsewhere.test/moved"])
    def test_not_for_hosts_that_are_reached_directly(self, proxy: Any, tmp_path: Path, path: str) -> None:
        variables = self.variables(proxy, "releases.invalid,direct.invalid")
        with pytest.raises(ContractError) as caught:
            local_http.download(path, str(tmp_path / "k3s"), self.SHA256, 0o755, pace(), variables)
        assert caught.value.failure.code == "network.unreachable"
        assert [asked for asked, _ in proxy.asked] == ([path] if "moved" in path else [])

    def test_whoever_answers_has_to_be_who_was_asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        target, pem = tmp_path / "k3s", certificate(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        with mirror(context) as served:
            url, sha256 = f"{served.url}/k3s", digest(FILES["k3s"])
            with pytest.raises(ContractError) as caught:
                local_http.download(url, str(target), sha256, 0o755, pace(), {})
            assert "certificate verify failed" in caught.value.failure.evidence
            assert served.asked == []
            monkeypatch.setenv("SSL_CERT_FILE", str(pem))
            local_http.download(url, str(target), sha256, 0o755, pace(), {})
        assert target.read_bytes() == FILES["k3s"]

    def test_the_password_is_not_in_a_failure(self, tmp_path: Path) -> None:
        variables = {"HTTP_PROXY": f"http://ops:{PASSWORD}@127.0.0.1:1"}
        with pytest.raises(ContractError) as caught:
            local_http.download(
                "http://releases.invalid/k3s",
                str(tmp_path / "k3s"),
                "",
                0o755,
                pace(),
                variables,
            )
        assert PASSWORD not in repr(caught.value.failure)


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("10.0.0.11:6443", "10.0.0.0/8", True),
        ("11.0.0.11", "10.0.0.0/8", False),
        ("10.0.0.11", "10.0.0.11", True),
        ("[fd00::11]:6443", "fd00::/64", True),
        ("git.internal", ".internal", True),
        ("internal", ".internal", False),
        ("internal", "internal", True),
        ("git.internal:443", "*.internal", True),
        ("git.internal", "internal:8080", True),
        ("notinternal", "internal", False),
        ("anything", "*", True),
        ("anything", "", False),
        ("anything", " a, ,b ", False),
        ("10.0.0.11", "internal,not/a/network", False),
    ],
)
def test_no_proxy(host: str, no_proxy: str, direct: bool) -> None:
    assert local_http.is_direct(host, no_proxy) is direct


class TestRegistries:
    def test_what_k3s_knows_is_right(self) -> None:
        assert list(registry_rules.mistakes(registries(wish()))) == []
        wildcard = {"mirrors": {"*": None, "docker.io": {}}, "configs": {"r": {"tls": {"insecure_skip_verify": True}}}}
        assert list(registry_rules.mistakes(wildcard)) == []
        assert list(registry_rules.mistakes(None)) == []

    @pytest.mark.parametrize(
        ("registries", "place", "said"),
        [
            ({"mirror": {}}, "mirror", "unknown key 'mirror' in the registries"),
            ([], "", "the registries is not a mapping"),
            ({"mirrors": {"docker.io": {"endpoints": []}}}, "mirrors/docker.io/endpoints", "unknown key 'endpoints'"),
            ({"mirrors": {"docker.io": {"endpoint": "https://a"}}}, "mirrors/docker.io/endpoint", "not a list"),
            ({"mirrors": {"docker.io": {"endpoint": ["a:5000"]}}}, "mirrors/docker.io/endpoint/0", "not a URL"),
            ({"mirrors": {"d": {"endpoint": ["https://a:x"]}}}, "mirrors/d/endpoint/0", "not a URL"),
            ({"mirrors": {"d": {"endpoint": ["https://u:p@a"]}}}, "mirrors/d/endpoint/0", "contains a user name"),
            ({"mirrors": {"d": {"rewrite": {"a": 1}}}}, "mirrors/d/rewrite/a", "not a string"),
            ({"mirrors": ["docker.io"]}, "mirrors", "not a mapping"),
            ({"mirrors": {"https://mirror.example": {}}}, "mirrors/https://mirror.example", "has a scheme"),
            ({"mirrors": {"docker.io/library": None}}, "mirrors/docker.io/library", "not the name of a registry"),
            ({"configs": {"http://r:5000": {"auth": {"username": "x"}}}}, "configs/http://r:5000", "has a scheme"),
            ({"configs": {"r": {"auth": {"passwort": "x"}}}}, "configs/r/auth/passwort", "unknown key"),
            ({"configs": {"r": {"auth": {"password": 1234}}}}, "configs/r/auth/password", "not a string"),
            ({"configs": {"r": {"tls": {"ca_file": "ca.pem"}}}}, "configs/r/tls/ca_file", "not an absolute path"),
            (
                {"configs": {"r": {"tls": {"insecure_skip_verify": "yes"}}}},
                "configs/r/tls/insecure_skip_verify",
                "truth",
            ),
        ],
    )
    def test_mistakes(self, registries: Any, place: str, said: str) -> None:
        (found,) = registry_rules.mistakes(registries)
        assert "/".join(found.path) == place
        assert said in found.what
        assert "1234" not in repr(found)
