"""The request as JSON and as flags: every mistake is named with its path, all in one go."""

from __future__ import annotations

import argparse
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from productive_k3s.cli import parser, request_by_hand
from productive_k3s.contract.codec import decode, encode
from productive_k3s.contract.failure import ContractError
from productive_k3s.contract.request import Artifact, HostEntry, Join, Request, Secrets
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.k3s import flags, paths
from productive_k3s.plan.request_rules import mistakes, version_notes
from static.contract_program.hosts import TOKEN, VERSION, agent, server

_TEXT = st.text(max_size=8)


@given(
    st.builds(
        Request,
        mode=st.sampled_from(["single-node", "server", "agent"]),
        version=_TEXT,
        binary=st.none() | st.builds(Artifact, _TEXT, _TEXT, st.none() | _TEXT),
        images=st.lists(st.builds(Artifact, _TEXT, _TEXT)).map(tuple),
        labels=st.dictionaries(_TEXT, _TEXT),
        config=st.dictionaries(_TEXT, st.none() | st.booleans() | st.integers() | st.lists(_TEXT)),
        join=st.none() | st.builds(Join, _TEXT, st.none() | _TEXT.map(Secret)),
        agreed=st.none() | st.lists(_TEXT).map(tuple),
        registries=st.none() | st.dictionaries(_TEXT, _TEXT),
        hosts_file=st.lists(st.builds(HostEntry, _TEXT, st.lists(_TEXT).map(tuple))).map(tuple),
        secrets=st.builds(
            Secrets,
            st.dictionaries(_TEXT, _TEXT.map(Secret)),
            st.dictionaries(_TEXT, st.dictionaries(_TEXT, _TEXT.map(Secret))),
        ),
    )
)
def test_round_trip(request: Request) -> None:
    assert decode(Request, json.loads(json.dumps(encode(request, unmask=True)))) == request


def test_every_mistake_is_named_with_its_path() -> None:
    document = {
        "mode": "master",
        "images": [{"name": "a", "sha256": 1}],
        "labels": {"disk": True},
        "deadlines": {"start": "soon"},
        "join": {"server": "https://a", "token": 5},
        "colour": "red",
    }
    with pytest.raises(ContractError) as caught:
        decode(Request, document)
    evidence = caught.value.failure.evidence
    for path in (
        "request.mode: expected one of",
        "request.version: is missing",
        "request.images[0].sha256: expected a string",
        "request.labels.disk: expected a string",
        "request.deadlines.start: expected a number",
        "request.join.token: expected a string",
        "request.colour: is not known",
    ):
        assert path in evidence
    assert caught.value.failure.exit_code == 2
    assert "found 5" not in evidence


SECRET = f"K10{'a' * 64}::server:hunter2hunter2"


@pytest.mark.parametrize("value", [SECRET, 271828182, [SECRET], {SECRET: SECRET}])
@pytest.mark.parametrize(
    "place",
    [
        ("join",),
        ("join", "token"),
        ("secrets",),
        ("secrets", "environment"),
        ("secrets", "environment", "HTTP_PROXY"),
        ("secrets", "registries"),
        ("secrets", "registries", "registry.example"),
        ("registries",),
        ("environment",),
        ("images",),
        ("mode",),
        ("deadlines", "start"),
        ("new_cluster",),
    ],
)
def test_no_mistake_tells_a_secret(place: tuple[str, ...], value: object) -> None:
    """Where a secret has its place, and where one is put by mistake: what was found is said by its kind."""
    document: dict[str, object] = {"mode": "server", "version": VERSION}
    inner = document
    for key in place[:-1]:
        step: dict[str, object] = {"server": "https://a"} if key == "join" else {}
        inner[key] = step
        inner = step
    inner[place[-1]] = value
    try:
        decode(Request, document)
    except ContractError as error:
        said = f"{error.failure.evidence} {error.failure.what} {error.failure.remedy}"
        assert "hunter2" not in said
        assert "271828182" not in said or place[-1] in ("mode", "start", "new_cluster")


def test_a_word_of_a_closed_set_is_shown() -> None:
    with pytest.raises(ContractError) as caught:
        decode(Request, {"mode": "master", "version": VERSION, "new_cluster": "yes"})
    assert "request.mode: expected one of single-node, server, agent, found 'master'" in caught.value.failure.evidence
    assert "request.new_cluster: expected true or false, found 'yes'" in caught.value.failure.evidence


@pytest.mark.parametrize(
    "words",
    [
        ["--config", f"token={SECRET}: ["],
        ["--config", f"--token {SECRET}"],
        ["--label", f"token {SECRET}"],
        ["--config", "datastore-endpoint=postgres://user:hunter2hunter2@db: ["],
    ],
)
def test_what_was_typed_wrong_tells_no_secret(words: list[str]) -> None:
    with pytest.raises(ContractError) as caught:
        by_hand("single-node", "--artifacts", "/r", *words)
    assert "hunter2" not in str(caught.value.failure)


def test_a_secret_is_never_encoded_by_accident() -> None:
    with pytest.raises(TypeError):
        encode(agent())


@pytest.mark.parametrize(
    ("code", "request_", "said"),
    [
        ("request.version", server(version="1.34"), "v1.36.4+k3s1"),
        ("request.node-name", server(node_name="Node_1"), "lower-case"),
        ("request.label", server(labels={"node-role.kubernetes.io/x": "y"}), "prefix"),
        ("request.label", server(labels={"a b": "y"}), "syntax"),
        ("request.taint", server(taints=("a=b",)), "NoSchedule"),
        ("request.node-ip", server(node_ip="10.0.0"), "10.0.0.11"),
        ("request.external-ip", server(config={"node-external-ip": "1.2.3.4"}), "advertise-address"),
        ("request.server", agent(join=Join("10.0.0.11:6443", Secret(TOKEN))), "https://"),
        ("request.checksum", server(binary=Artifact("k3s", "abc")), "64"),
        ("request.artifact", server(binary=Artifact("../k3s", "1" * 64)), "name"),
        ("request.environment", server(environment={"K3S_TOKEN": "x"}), "proxies"),
        ("request.environment", server(secrets=Secrets({"K3S_TOKEN": Secret("x")})), "proxies"),
        ("request.registries", server(registries={"mirors": {}}), "mirrors, configs"),
        ("request.registries", server(secrets=Secrets({}, {"r": {"password": Secret("x")}})), "name the registries"),
        ("request.registries", server(registries={}, secrets=Secrets({}, {"r": {"user": Secret("x")}})), "password"),
        ("request.hosts-file", server(hosts_file=(HostEntry("host.example", ("a",)),)), "10.0.0.11"),
        ("request.hosts-file", server(hosts_file=(HostEntry("10.0.0.11", ("a\n127.0.0.1 b",)),)), "letters"),
        ("request.hosts-file", server(hosts_file=(HostEntry("10.0.0.11", ()),)), "letters"),
        ("request.unknown-flag", server(config={"disabel": ["traefik"]}), "did you mean disable?"),
        ("request.flag-in-wrong-role", agent(config={"disable": ["traefik"]}), "move it"),
        ("request.unsupported-flag", server(config={"write-kubeconfig": "/root/kubeconfig"}), "write-kubeconfig-mode"),
        ("request.unsupported-flag", server(config={"disable-agent": True}), "taint"),
        ("request.unsupported-flag", agent(config={"with-node-id": True}), "a name of its own"),
        ("request.flag-not-in-version", server(config={"write-kubeconfig-name": "edge"}), "leave it out"),
        ("request.file", server(files={"../x": ""}), "audit.yaml"),
        ("request.file", server(config={"kube-apiserver-arg": f"a={paths.FILES}/audit.yaml"}), "add the file"),
        ("request.file", server(files={"a": f"path: {paths.FILES}/b"}), "add the file"),
        (
            "request.environment",
            server(secrets=Secrets({"HTTP_PROXY": Secret("http://***@p:1")})),
            "to the value on the host",
        ),
        ("request.reserved-flag", server(config={"token": "x"}), "first server"),
        ("request.schema", server(schema=2), "one version"),
    ],
)
def test_mistakes(code: str, request_: Request, said: str) -> None:
    found = [failure for failure in mistakes(request_) if failure.code == code]
    assert found, mistakes(request_)
    assert said in found[0].remedy
    assert found[0].exit_code == 2


def test_good_requests_have_no_mistakes() -> None:
    allowed = {"disk": "ssd", "node.kubernetes.io/instance-type": "x", "example.com/a": ""}
    assert mistakes(server(labels=allowed, config={"disable": ["traefik"]}, node_ip="10.0.0.11,fd00::11")) == ()
    assert mistakes(agent(taints=("a=b:NoSchedule", "c:NoExecute"))) == ()


def test_a_newer_version_s_unknown_flag_is_let_through() -> None:
    assert mistakes(server(version="v1.99.0+k3s1", config={"brand-new": True})) == ()


def test_old_minors_are_let_through_with_a_remark_and_know_their_own_flags() -> None:
    assert [flags.minor_of(version) for version in ("v1.36.4+k3s1", "1.36", "")] == [36, None, None]
    for version, remarks in (("v1.33.9+k3s1", 1), ("v1.34.4+k3s1", 1), ("v1.35.7+k3s1", 0), ("v1.36.4+k3s1", 0)):
        assert mistakes(server(version=version, config={"disable": ["traefik"]})) == ()
        assert len(version_notes(server(version=version))) == remarks
    assert "reached its end of life" in version_notes(server(version="v1.34.4+k3s1"))[0]
    assert mistakes(server(version="v1.36.4+k3s1", config={"write-kubeconfig-name": "edge"})) == ()
    assert [failure.code for failure in flags.check("server", ["write-kubeconfig-name"], "v1.35.7+k3s1")] == [
        "request.flag-not-in-version"
    ]


class _Release:
    """Only what finding a release in a directory needs."""

    def __init__(self, *versions: str) -> None:
        self._versions = versions

    async def list_directory(self, path: str) -> tuple[str, ...]:
        return self._versions

    async def read(self, path: str) -> bytes | None:
        if path == "/tmp/token":
            return f"{TOKEN}\n".encode()
        return f"{'3' * 64}  k3s\n{'4' * 64} *k3s-airgap-images-amd64.tar\n".encode()

    async def stat(self, path: str) -> object:
        return object()


def by_hand(*words: str, versions: tuple[str, ...] = ("v1.34.4+k3s1",)) -> Request:
    flags = parser().parse_args(words)
    host = Host(_Release(*versions), None, lambda *_: None)  # type: ignore[arg-type]

    async def ask(flags: argparse.Namespace) -> Request:
        return await request_by_hand(host, flags)

    return run_to_end(ask(flags))


def test_flags_mean_the_same_request_as_a_document() -> None:
    words = "agent --artifacts /r --server https://10.0.0.11:6443 --token-file /tmp/token --label disk=ssd"
    by_flags = by_hand(*words.split(), "--config", "kubelet-arg=max-pods=50", "--config", "debug=true")
    assert by_flags == agent(
        binary=Artifact("k3s", "3" * 64, "file:///r/v1.34.4+k3s1/k3s"),
        images=(
            Artifact("k3s-airgap-images-amd64.tar", "4" * 64, "file:///r/v1.34.4+k3s1/k3s-airgap-images-amd64.tar"),
        ),
        labels={"disk": "ssd"},
        config={"kubelet-arg": "max-pods=50", "debug": True},
    )


def test_a_flag_given_twice_is_a_list() -> None:
    found = by_hand(
        "single-node", "--artifacts", "/r", "--config", "disable=traefik", "--config", "disable=[servicelb]"
    )
    assert found.config == {"disable": ["traefik", "servicelb"]}
    assert found.mode == "single-node"


def test_two_versions_in_a_directory_want_a_choice() -> None:
    with pytest.raises(ContractError, match="holds 2 versions"):
        by_hand("server", "--artifacts", "/r", versions=("v1.34.4+k3s1", "v1.33.0+k3s1"))
