"""`pk3s support`: everything that helps is in it, no secret is, and what cannot be had is said."""

from __future__ import annotations

import json
import stat
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from productive_k3s.contract.events import Result
from productive_k3s.k3s import paths
from productive_k3s_infra.errors import BadInput, HostUnreachable, ProviderFailed
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.operations import support
from productive_k3s_infra.operations.session import Session, open_session
from productive_k3s_infra.support.texts import masked_cluster_file, salted, secrets_of
from productive_k3s_infra.workspace.directory import open_workspace
from static.contract_program.hosts import CA, VERSION, file, on_k3s
from static.fleet_doubles import Call, FakeFleet
from static.plan.test_adopt import INIT, agent, found, server

CLUSTER = f"""\
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {{name: edge}}
spec:
  provider: {{kind: onprem}}
  # the token was decoy-comment once
  k3s:
    version: {VERSION}
    artifacts: {{source: ARTIFACTS}}
    proxy: {{http: "${{PROXY}}"}}
    server: {{kube-apiserver-arg: ["some-password=decoy-flag"]}}
    registries:
      configs:
        r.example:
          auth: {{username: me, password: "${{REGISTRY}}"}}
        q.example:
          auth: {{username: "${{Q_USER}}", password: "${{Q_PASSWORD}}"}}
  nodes:
    - {{name: server-1, role: server, address: 10.0.0.11}}
    - {{name: agent-1, role: agent, address: 10.0.0.21}}
    - {{name: agent-2, role: agent, address: 10.0.0.22}}
"""
ENVIRONMENT = {
    "HOME": "/nonexistent",
    "PROXY": "http://me:decoy-proxy@proxy.example:3128",
    "Q_PASSWORD": "decoy-environment",
    "Q_USER": "queen",
    "REGISTRY": "decoy-registry",
}
LOG = (
    f"joined with K10{CA}::server:decoy-token-1\n"
    "level=info password=decoy-password-2\n"
    "the registry refused decoy-registry and decoy-environment, the proxy decoy-proxy\n"
    "a harmless line of queen\n"
)


class Nobody:
    """Nobody is asked, and nobody is told."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments, **_named: None


def session_of(folder: Path) -> Session:
    folder.mkdir(exist_ok=True)
    (folder / "empty").mkdir(exist_ok=True)
    path = folder / "cluster.yaml"
    path.write_text(CLUSTER.replace("ARTIFACTS", str(folder / "empty")))
    workspace = open_workspace(path, "edge")
    workspace.journals.mkdir(exist_ok=True)
    for number in range(7):
        lines = [{"kind": "plan", "fields": {"token": "decoy-journal-1"}}, {"text": f"K10{CA}::node:decoy-journal-2"}]
        text = "".join(f"{json.dumps(line)}\n" for line in lines) + 'cut off "password=decoy-journal-3'
        (workspace.journals / f"2026010{number}T000000.000000Z-apply-1.jsonl").write_text(text)
    return open_session(path, ENVIRONMENT, cast("Any", Nobody()))


def use_fleet(monkeypatch: pytest.MonkeyPatch, fleet: Fleet) -> None:
    @asynccontextmanager
    async def given(_session: Session, _inventory: Inventory) -> AsyncIterator[Fleet]:
        yield fleet

    monkeypatch.setattr(support, "fleet_of", given)


def answering() -> FakeFleet:
    first, second = found(server(*INIT), agent(1))
    units = first.facts.k3s.units
    odd = replace(
        units[0], fragment=file(paths.unit_file("k3s"), "# decoy-environment\nExecStart=/x --token decoy-9\n")
    )
    told = on_k3s(first.facts, units=(odd,), tokens=())

    def answer(call: Call) -> Result:
        facts = told if call.host == "server-1" else second.facts
        if call.verb == "facts":
            return Result("done", facts=facts)
        assert (call.verb, call.arguments) == ("logs", ("--lines", "2000"))
        return Result("done", data={"k3s" if call.host == "server-1" else "k3s-agent": LOG})

    refused = HostUnreachable(
        "the host does not answer", where="agent-2", code="ssh.timeout", evidence="decoy-registry"
    )
    return FakeFleet({"server-1": answer, "agent-1": answer}, {"agent-2": refused})


def texts_of(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        return {member.name: cast("Any", archive.extractfile(member)).read().decode() for member in files}


async def test_all_that_helps_is_inside_and_no_secret_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_fleet(monkeypatch, answering())
    session = session_of(tmp_path / "site")
    made = await support.make_support(session, ENVIRONMENT, None)
    assert made.path == tmp_path / "site" / ".pk3s" / "edge" / "support.tar.gz"
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    texts = texts_of(made.path)
    assert [name.removeprefix("edge-support/") for name in texts] == [
        "MANIFEST",
        "cluster.yaml",
        "hosts/agent-1/facts.json",
        "hosts/agent-1/k3s-agent.log",
        "hosts/server-1/facts.json",
        "hosts/server-1/k3s.log",
        *(f"journal/{number}.jsonl" for number in range(1, 6)),
        "plan.json",
        "preflight.json",
        "versions.json",
    ]
    assert {name: text for name, text in texts.items() if "decoy" in text} == {}
    said = texts["edge-support/cluster.yaml"]
    assert 'password: "${Q_PASSWORD}"' in said
    assert "username: me" in said
    assert "a harmless line of queen" in texts["edge-support/hosts/server-1/k3s.log"]
    assert json.loads(texts["edge-support/plan.json"])["cluster"] == "edge"
    assert json.loads(texts["edge-support/versions.json"])["hosts"]["server-1"]["k3s"] == VERSION
    manifest = texts["edge-support/MANIFEST"]
    assert "hosts/agent-2: the host does not answer [ssh.timeout]" in manifest
    assert all(name in manifest for name in made.files)
    assert "Never inside: kubeconfig, private keys" in manifest
    assert made.missing == ("hosts/agent-2: the host does not answer [ssh.timeout] [redacted]",)


async def test_a_bundle_is_made_when_nothing_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = HostUnreachable("the host does not answer", code="ssh.timeout")
    use_fleet(monkeypatch, FakeFleet({}, dict.fromkeys(("server-1", "agent-1", "agent-2"), silent)))
    made = await support.make_support(session_of(tmp_path / "site"), ENVIRONMENT, tmp_path / "b.tar.gz")
    assert {"cluster.yaml", "journal/1.jsonl", "versions.json"} <= set(made.files)
    # The release's folder is empty, and no host says that it has the version already.
    assert made.missing[0].startswith("plan and preflight: ")
    assert len(made.missing) == 4


async def test_a_bundle_is_made_when_the_provider_fails(tmp_path: Path) -> None:
    class Broken:
        async def survey(self) -> None:
            raise ProviderFailed("the machines cannot be listed", code="provider.failed")

    session = replace(session_of(tmp_path / "site"), provider=cast("Any", Broken()))
    made = await support.make_support(session, ENVIRONMENT, None)
    assert made.missing[0].startswith("all hosts, because the provider does not answer")
    assert "cluster.yaml" in made.files
    assert (await support.make_support(session, ENVIRONMENT, None)).path == made.path


async def test_a_name_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    session = session_of(tmp_path / "site")
    before = session.workspace.cluster_file.read_text()
    with pytest.raises(BadInput) as raised:
        await support.make_support(session, ENVIRONMENT, session.workspace.cluster_file)
    assert raised.value.code == "support.no-archive"
    assert session.workspace.cluster_file.read_text() == before


def test_a_cluster_file_keeps_its_form() -> None:
    text = CLUSTER.replace("${REGISTRY}", "decoy-registry").replace("${PROXY}", "http://me:decoy-proxy@p:3128")
    said = masked_cluster_file(text)
    assert yaml.safe_load(said)["spec"]["nodes"] == yaml.safe_load(text)["spec"]["nodes"]
    assert "decoy" not in said
    assert masked_cluster_file("state: {access_key: AKIADECOY, tokenFile: x}\n") == (
        "state: {access_key: [redacted], tokenFile: [redacted]}\n"
    )
    # What stands after :- is written in the file, whoever meant it as an example.
    assert "decoy" not in masked_cluster_file('password: "${P:-decoy}"\n')


def test_secrets_of_the_environment_are_those_that_the_file_takes() -> None:
    environment = {
        "A": "harmless",
        "MY_TOKEN": "secret-1",
        "P": "secret-2",
        "K_TOKEN": "~/.ssh/key",
        "OTHER_TOKEN": "x",
    }
    text = "a: ${A}\nb: ${MY_TOKEN}\npassword: ${P}\nc: ${K_TOKEN}\nsecret: written\n"
    assert secrets_of(text, environment) == {"secret-1", "secret-2", "written"}


def test_digests_of_texts_say_only_what_is_equal() -> None:
    digest, other = "a" * 64, "b" * 64
    facts = {"tokens": [{"sha256": digest}, {"sha256": other}], "binary": {"sha256": digest}, "ca_hash": digest}
    one = salted(facts, "salt")
    assert (one["binary"], one["ca_hash"]) == (facts["binary"], digest)
    first, second = (item["sha256"] for item in one["tokens"])
    assert digest not in first
    assert first != second
    assert salted(facts, "salt") == one
    assert salted(facts, "other")["tokens"] != one["tokens"]
