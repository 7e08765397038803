"""Every verb that answers has a type and a schema, and what it really prints, in a simulated cluster, is such a one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from productive_k3s.contract import events
from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.answers.made import kubeconfig_answer
from productive_k3s_infra.answers.schema import ANSWERS, schema_of, schemas
from productive_k3s_infra.cli.app import app
from productive_k3s_infra.cli.running import say_document, say_result
from productive_k3s_infra.cli.wanted import WANTED
from productive_k3s_infra.errors import HostUnreachable
from productive_k3s_infra.validate.quick import expectation
from productive_k3s_infra.validate.report import Report
from static.answers.documents import mistakes_in, require_answer
from static.docs.command_lines import pk3s
from static.operations.bed import VALID, World, enter
from static.plan.clusters import spec

INVALID = Report("edge", "full", (CheckResult("node.ready", "agent-1", False, "error", "NotReady", "x", "see it"),))
GONE = HostUnreachable("the host refuses connections", where="agent-1", remedy="is it up?")
VERSION = ("--version", "v1.34.4+k3s1")
# What each verb is called with on a cluster that is there.
CALLED: dict[str, tuple[str, ...]] = {
    "init": ("-f", "new.yaml", *VERSION),
    "plan": (),
    "apply": ("--yes", "--no-probe"),
    "status": (),
    "validate": (),
    "kubeconfig": (),
    "cordon": ("agent-1",),
    "drain": ("agent-1", "--yes"),
    "uncordon": ("agent-1",),
    "inventory": (),
    "support": (),
    "destroy": ("--yes",),
    "runs": (),
    "logs": ("agent-1",),
    "explain": ("node.ready",),
    "version": (),
}
Say = Callable[..., Result]


def answering_verbs() -> set[str]:
    """The verbs of the command line that have -o."""
    return {name for name, one in pk3s().commands.items() if any("-o" in option.opts for option in one.params)}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One server and two agents on which there never was a K3s."""
    made = World(tmp_path, spec())
    enter(made, monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cluster.yaml").write_text("kind: Cluster\n")
    sessions = "productive_k3s_infra.operations.session"
    monkeypatch.setattr(f"{sessions}.open_session", lambda *given: replace(made.session, interaction=given[2]))
    validated(monkeypatch, VALID)

    async def expected(session: Any, inventory: Any) -> Any:
        return expectation(session.spec, inventory)

    monkeypatch.setattr("productive_k3s_infra.operations.inventory.expected", expected)
    made.instead["logs"] = lambda _: events.Result("done", data={"k3s-agent": "a line\n"})
    return made


def validated(monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    async def found(*_: object, **__: object) -> Report:
        return report

    for module in ("validate", "afterwards"):
        monkeypatch.setattr(f"productive_k3s_infra.operations.{module}.validate_with", found)


@pytest.fixture
def say(world: World) -> Say:
    def call(*words: str) -> Result:
        return CliRunner().invoke(app, list(words), catch_exceptions=False)

    return call


@pytest.fixture
def there(say: Say) -> None:
    """The cluster is there."""
    assert say("apply", "--yes", "--no-probe").exit_code == 0


def test_every_verb_that_answers_has_a_type_and_is_called_here() -> None:
    assert answering_verbs() == set(ANSWERS) == set(CALLED)


def test_every_verb_that_answers_tells_its_progress_to_programs() -> None:
    without = [
        name
        for name in sorted(answering_verbs() - {"explain", "version"})  # they ask nobody, and are done at once
        if not any("--progress" in option.opts for option in pk3s().commands[name].params)
    ]
    assert without == []


def test_no_verb_looks_at_the_format_by_itself() -> None:
    """`running.py` knows it; a verb that compares it has forgotten yaml, and errors."""
    folder = Path(__file__).parents[3] / "src/productive_k3s_infra/cli"
    allowed = {"wanted.py", "running.py"}
    found = {
        path.name
        for path in folder.glob("*.py")
        if path.name not in allowed and re.search(r"(\bis|==|!=) Format\.", path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_schemas_are_schemas_with_names_of_their_own() -> None:
    made = schemas()
    for schema in made.values():
        Draft202012Validator.check_schema(schema)
    assert len({schema["$id"] for schema in made.values()}) == len(made)
    assert all(re.fullmatch(r"urn:productive-k3s:schema:[a-z]+:1", schema["$id"]) for schema in made.values())


def test_every_key_of_our_own_types_is_described() -> None:
    missing = [
        f"{kind}.{key}"
        for schema in schemas().values()
        for kind, definition in schema["$defs"].items()
        if kind.endswith("Answer")
        for key, written in definition["properties"].items()
        if "description" not in written
    ]
    assert missing == []


@pytest.mark.parametrize("verb", CALLED)
def test_it_answers_with_its_document(verb: str, say: Say, there: None) -> None:
    done = say(verb, *CALLED[verb], "-o", "json")
    require_answer(json.loads(done.stdout), verb, done.exit_code)
    assert done.exit_code == 0, done.stdout + done.stderr


@pytest.mark.parametrize("verb", ["plan", "status", "inventory", "uncordon"])
def test_yaml_is_such_a_document_too(verb: str, say: Say, there: None) -> None:
    done = say(verb, *CALLED[verb], "-o", "yaml")
    assert not done.stdout.startswith("{")
    require_answer(yaml.safe_load(done.stdout), verb, 0)


def test_yaml_and_json_are_the_same_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also what YAML would read otherwise: words that are numbers or truth values there, enums, paths."""
    words = {"on": "no", "1e3": "0x10", "a: b": "# c", "null": None, "é": "\u2026"}
    document = {"exit_code": ExitCode.INVALID, "paths": (Path("/x"),), "words": words, "ratio": 1e20, "text": "a\n b\n"}
    printed = []
    for form, load in (("json", json.loads), ("yaml", yaml.safe_load)):
        monkeypatch.setattr(WANTED, "output", form)
        monkeypatch.setattr(WANTED, "answered", False)
        say_document(document)
        printed.append(load(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert printed[0]["words"] == words


def test_a_plan_with_steps_is_pending_and_no_error(say: Say) -> None:
    done = say("plan", "--exit-code", "-o", "json")
    document = json.loads(done.stdout)
    require_answer(document, "plan", 3)
    assert [step["action"] for step in document["plan"]["steps"]] == ["apply-server", "apply-agent", "apply-agent"]


def test_an_apply_with_steps_answers_with_each(say: Say) -> None:
    document = json.loads(say("apply", "--yes", "--no-probe", "-o", "json").stdout)
    require_answer(document, "apply", 0)
    assert {step["outcome"] for step in document["results"]} == {"done"}
    assert document["report"]["passed"] is True


@pytest.mark.parametrize("words", [("plan",), ("apply", "--yes", "--no-probe"), ("inventory",)])
def test_a_refusal_is_the_document_with_its_reason(words: tuple[str, ...], say: Say, world: World) -> None:
    world.refuse(agent_1=GONE)
    done = say(*words, "-o", "json")
    document = json.loads(done.stdout)
    require_answer(document, words[0], 4)
    assert (document["error"]["where"], document["preflight"]["passed"]) == ("agent-1", False)


def test_a_saved_plan_is_named_and_applied_without_a_question(say: Say) -> None:
    planned = json.loads(say("plan", "--out", "edge.plan", "--exit-code", "-o", "json").stdout)
    require_answer(planned, "plan", 3)
    assert planned["out"] == "edge.plan"
    document = json.loads(say("apply", "edge.plan", "--no-probe", "-o", "json").stdout)
    require_answer(document, "apply", 0)
    assert (document["saved"], len(document["results"])) == ("edge.plan", 3)
    again = json.loads(say("apply", "edge.plan", "--no-probe", "-o", "json").stdout)
    require_answer(again, "apply", 0)
    assert (again["results"], len(again["done_before"])) == ([], 3)
    text = say("plan", "--out", "edge.plan").stdout
    assert text.splitlines()[-1] == "Saved: pk3s apply edge.plan does exactly this, or nothing."


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("cluster.yaml",), "plan.unreadable"),
        (("edge.plan", "--limit", "agent-1"), "plan.beside"),
        (("edge.plan", "--prune"), "plan.beside"),
        (("gone.plan",), "workspace.missing"),
    ],
)
def test_what_is_no_saved_plan_is_bad_input(words: tuple[str, ...], code: str, say: Say, world: World) -> None:
    assert say("plan", "--out", "edge.plan").exit_code == 0
    document = json.loads(say("apply", *words, "--no-probe", "-o", "json").stdout)
    require_answer(document, "apply", 2)
    assert document["error"]["code"] == code
    assert world.verbs() == []


def test_a_saved_plan_that_is_stale_is_refused_with_what_changed(say: Say, world: World, there: None) -> None:
    stop_k3s(world, "agent-2")
    assert say("plan", "--out", "edge.plan").exit_code == 0
    stop_k3s(world, "agent-1")
    document = json.loads(say("apply", "edge.plan", "--no-probe", "-o", "json").stdout)
    require_answer(document, "apply", 4)
    assert document["error"]["code"] == "plan.stale"
    assert document["error"]["evidence"].startswith("agent-1/apply-agent is new: it is not running")


def stop_k3s(world: World, host: str) -> None:
    facts = world.facts[host]
    stopped = tuple(replace(one, active_state="inactive", sub_state="dead") for one in facts.k3s.units)
    world.facts[host] = replace(facts, k3s=replace(facts.k3s, units=stopped))


def test_a_step_that_failed_is_the_reason(say: Say, world: World) -> None:
    crash = Failure("k3s.crash-loop", "it died again", "exit 1", "see its log")
    world.instead["agent"] = lambda _: events.Result("failed", failures=(crash,))
    document = json.loads(say("apply", "--yes", "--no-probe", "-o", "json").stdout)
    require_answer(document, "apply", 5)
    assert (document["error"]["code"], document["error"]["where"]) == ("k3s.crash-loop", "agent-1/apply-agent")
    assert document["error"]["journal"] == document["journal"]


def test_nobody_agreed(say: Say) -> None:
    done = say("apply", "--no-probe", "-o", "json")
    require_answer(json.loads(done.stdout), "apply", 4)
    assert json.loads(done.stdout)["error"]["code"] == "plan.not-agreed"
    assert "[plan.not-agreed]" in done.stderr


def test_a_node_that_is_none(say: Say, there: None) -> None:
    document = json.loads(say("cordon", "agent-9", "-o", "json").stdout)
    require_answer(document, "cordon", 2)
    assert document["error"]["code"] == "kube.no-node"


def test_a_drain_that_failed(say: Say, there: None, world: World) -> None:
    blocked = Failure("node.drain-blocked", "not drained", "x/web-1: budget web", "run it again", 5)
    world.instead["node"] = lambda _: events.Result("failed", failures=(blocked,))
    document = json.loads(say("drain", "agent-1", "--yes", "-o", "json").stdout)
    require_answer(document, "drain", 5)
    assert document["error"]["code"] == document["failure"]["code"] == "node.drain-blocked"


def test_hosts_that_do_not_answer(say: Say, there: None, world: World) -> None:
    world.refuse(agent_1=GONE)
    document = json.loads(say("status", "-o", "json").stdout)
    require_answer(document, "status", 5)
    assert (document["error"]["code"], document["error"]["where"]) == ("status.not-reached", "agent-1")
    left = json.loads(say("destroy", "--yes", "-o", "json").stdout)
    require_answer(left, "destroy", 5)
    assert left["error"]["where"] == left["left"][0]["host"] == "agent-1"


def test_a_cluster_that_is_not_there_yet(say: Say) -> None:
    document = json.loads(say("status", "-o", "json").stdout)
    require_answer(document, "status", 6)
    assert document["error"]["code"] == "status.not-ready"
    assert document["hosts"][0]["service"] == "not installed"


def test_a_check_says_what_is_not_as_declared(say: Say, there: None, world: World) -> None:
    require_answer(json.loads(say("status", "--check", "-o", "json").stdout), "status", 0)
    world.refuse(agent_1=GONE)
    document = json.loads(say("status", "--check", "-o", "json").stdout)
    require_answer(document, "status", 6)
    assert document["error"]["code"] == "status.not-as-declared"
    assert document["error"]["evidence"] == "; ".join(document["differences"])


def test_one_run_is_the_only_one(say: Say, there: None) -> None:
    document = json.loads(say("runs", "last", "-o", "json").stdout)
    require_answer(document, "runs", 0)
    assert [run["verb"] for run in document["runs"]] == ["apply"]
    assert len(document["runs"][0]["steps"]) == 3


def test_a_cluster_that_is_not_valid(say: Say, there: None, monkeypatch: pytest.MonkeyPatch) -> None:
    validated(monkeypatch, INVALID)
    document = json.loads(say("validate", "-o", "json").stdout)
    require_answer(document, "validate", 6)
    assert (document["error"]["code"], document["error"]["evidence"]) == ("node.ready", "x")


def test_a_verb_that_prints_no_document_or_two_has_a_bug(monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    """Standard output stays what was promised: one document."""
    monkeypatch.setattr("productive_k3s_infra.cli.app.say_result", lambda *_: 0)
    done = say("plan", "-o", "json")
    require_answer(json.loads(done.stdout), "plan", 1)
    assert json.loads(done.stdout)["error"]["code"] == "pk3s.bug"


def test_what_prints_itself_prints_nothing_beside_a_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = kubeconfig_answer(Path("/x/kubeconfig"), "edge")
    for form, printed in (("text", "painted\n"), ("json", encode(answer))):
        monkeypatch.setattr(WANTED, "output", form)
        monkeypatch.setattr(WANTED, "answered", False)
        assert say_result(answer, lambda: print("painted")) == 0
        out = capsys.readouterr().out
        assert (json.loads(out) if form == "json" else out) == printed


def test_text_stays_text(say: Say, there: None) -> None:
    assert "3 of 3 nodes are Ready" in say("status").stdout
    assert say("kubeconfig").stdout.endswith("/kubeconfig\n")


def lines_of(done: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_progress_for_programs_is_a_line_of_json_each(say: Say) -> None:
    done = say("apply", "--yes", "--no-probe", "--progress", "json", "-o", "json")
    require_answer(json.loads(done.stdout), "apply", 0)
    lines = lines_of(done)
    assert [problem for line in lines for problem in mistakes_in(line, "progress")] == []
    started = [(line["subject"], line["activity"]) for line in lines if line["kind"] == "started"]
    assert {("server-1", "server"), ("agent-1", "agent"), ("agent-2", "agent")} <= set(started)
    ended = [line for line in lines if line["kind"] == "finished"]
    assert len(ended) >= 3
    assert all(line["failed"] is False and line["seconds"] >= 0 for line in ended)
    (question,) = [line for line in lines if line["kind"] == "question"]
    assert question["agreed"] is True
    assert question["details"][0].partition(":")[0] == "server-1/apply-server"


def test_a_program_is_not_asked_and_hears_why_nothing_was_done(say: Say) -> None:
    lines = lines_of(say("apply", "--no-probe", "--progress", "json"))
    assert [problem for line in lines for problem in mistakes_in(line, "progress")] == []
    assert [line["agreed"] for line in lines if line["kind"] == "question"] == [False]
    assert (lines[-1]["kind"], lines[-1]["error"]["code"]) == ("error", "plan.not-agreed")


def test_without_progress_only_errors_are_said(say: Say) -> None:
    assert say("apply", "--yes", "--no-probe", "--progress", "none").stderr == ""
    assert "[kube.no-node]" in say("cordon", "agent-9", "--progress", "none").stderr


def test_one_schema_for_three_verbs_of_a_node() -> None:
    assert {schema_of(verb) for verb in ("cordon", "drain", "uncordon")} == {"node"}
