"""`token` and `kubeconfig`: secrets that were asked for reach standard output, and no other secret ever does."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from productive_k3s.cli import parser
from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import Result
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import run_to_end
from productive_k3s.k3s import paths
from productive_k3s.output import FactsOutput, KubeconfigOutput, TextOutput, WireOutput
from productive_k3s.verbs import facts, install, kubeconfig, token
from static.contract_program.hosts import TOKEN, server
from static.contract_program.simulated import Machine


def machine() -> Machine:
    made = Machine()
    made.system.put({paths.CLUSTER_AGENT_TOKEN: f"{TOKEN}\n", paths.CLUSTER_SERVER_TOKEN: "K10x::server:y\n"})
    made.system.put({paths.ADMIN_KUBECONFIG: "apiVersion: v1\nkind: Config\n"})
    return made


def said(kind: type[TextOutput | WireOutput], result: Result) -> str:
    stream = io.StringIO()
    kind(stream).result(result)
    return stream.getvalue()


def test_tokens_of_a_server() -> None:
    result = run_to_end(token.run(machine().host()))
    assert result.outcome == "done"
    assert result.data == {"agent": Secret(TOKEN), "server": Secret("K10x::server:y")}
    assert TOKEN not in repr(result)
    assert json.loads(said(WireOutput, result))["data"] == {"agent": TOKEN, "server": "K10x::server:y"}
    assert f"agent: {TOKEN}\n" in said(TextOutput, result)


@pytest.mark.parametrize(
    ("words", "outcome", "is_said"),
    [
        (["--tokens"], "done", True),
        (["--tokens"], "unchanged", True),
        (["--tokens"], "failed", False),
        ([], "done", False),
    ],
)
def test_a_server_that_was_made_says_its_tokens_if_asked(
    words: list[str], outcome: Any, is_said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def made(*_: object, **__: object) -> Result:
        return Result(outcome)

    monkeypatch.setattr(install, "run", made)
    monkeypatch.setattr("productive_k3s.cli.read_document", lambda _: encode(server()))
    flags = parser().parse_args(["server", "--request", "-", *words])
    result = run_to_end(flags.function(machine().host(), flags))
    assert result.data == ({"agent": Secret(TOKEN), "server": Secret("K10x::server:y")} if is_said else None)


def test_the_kubeconfig_of_a_server() -> None:
    result = run_to_end(kubeconfig.run(machine().host()))
    assert json.loads(said(WireOutput, result))["data"] == {"kubeconfig": "apiVersion: v1\nkind: Config\n"}
    assert said(KubeconfigOutput, result) == "apiVersion: v1\nkind: Config\n"


@pytest.mark.parametrize("verb", [token, kubeconfig])
def test_an_agent_has_neither(verb: object) -> None:
    result = run_to_end(verb.run(Machine().host()))  # type: ignore[attr-defined]
    assert (result.outcome, result.failures[0].code, result.failures[0].exit_code) == ("refused", "k3s.no-server", 4)
    assert "k3s.no-server" in said(KubeconfigOutput, result)


def test_a_secret_anywhere_else_is_refused() -> None:
    with pytest.raises(TypeError):
        said(WireOutput, Result("done", data={"deep": {"token": Secret("x")}}))
    with pytest.raises(TypeError):
        said(WireOutput, Result("done", notes=(Secret("x"),)))  # type: ignore[arg-type]


def test_data_of_other_verbs_is_shown_as_it_is() -> None:
    result = Result("done", data={"path": "/x", "bytes": 3, "open": {"tcp/1": ""}})
    assert json.loads(said(WireOutput, result))["data"] == {"path": "/x", "bytes": 3, "open": {"tcp/1": ""}}
    assert said(TextOutput, result) == "path: /x\nbytes: 3\nopen tcp/1: \ndone\n"
    drained = Result("done", data={"evicted": 2, "alone": ["x/a", "x/b"]})
    assert said(TextOutput, drained) == "evicted: 2\nalone: x/a, x/b\ndone\n"
    assert "alone: none\n" in said(TextOutput, Result("done", data={"alone": []}))


def test_facts_for_a_person_are_json() -> None:
    result = run_to_end(facts.run(Machine().host()))
    assert json.loads(said(FactsOutput, result))["host"]["hostname"] == "Node-1"


def test_the_verbs_can_be_typed() -> None:
    for verb in ("facts", "token", "kubeconfig"):
        flags = parser().parse_args([verb])
        assert run_to_end(flags.function(machine().host(), flags)).outcome == "done"
