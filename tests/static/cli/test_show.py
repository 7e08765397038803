"""What people see: errors, reports, how an apply ended, and tables that line up."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from productive_k3s.contract.change import Change
from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import CheckResult, Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.answers.made import apply_answer, destroy_answer
from productive_k3s_infra.cli.show import (
    applied_lines,
    destroyed_lines,
    error_lines,
    findings_lines,
    planned_lines,
    report_lines,
    status_lines,
    table,
)
from productive_k3s_infra.errors import ClusterFileInvalid, HostUnreachable
from productive_k3s_infra.execute.model import StepResult
from productive_k3s_infra.operations.applied import Applied
from productive_k3s_infra.operations.destroyed import Destroyed, Left
from productive_k3s_infra.operations.node_status import HostStatus, Status
from productive_k3s_infra.operations.plan import Planned
from productive_k3s_infra.plan.model import Plan, Unreached
from productive_k3s_infra.validate.report import Report
from static.plan.clusters import an_agent

GOOD = CheckResult("node.ready", "server-1", True, "error", "Ready 3 times in a row")
BAD = CheckResult("host.clock", "server-1, agent-1", False, "error", "61 s apart", "no time server", "use one")
WARNED = CheckResult("host.swap", "agent-1", False, "warning", "swap", remedy="switch it off")
INFO = CheckResult("net.reach", "edge", False, "info", "not tried")
FINE = Report("edge", "preflight", (GOOD,))
STEP = an_agent()
CHANGE = Change("start:k3s", "start-unit", "k3s", "it is not running", "change")


def test_an_error_says_what_where_why_what_next_and_where_the_rest_is() -> None:
    error = HostUnreachable("no connection", where="agent-1", evidence="timed out", remedy="is it up?")
    error.journal = "/x/journal"
    assert list(error_lines(error)) == [
        "error: agent-1: no connection [ssh.unreachable]",
        "  seen: timed out",
        "  next: is it up?",
        "  more: pk3s explain ssh.unreachable",
        "  journal: /x/journal",
    ]
    assert list(error_lines(HostUnreachable("no connection"))) == [
        "error: no connection [ssh.unreachable]",
        "  more: pk3s explain ssh.unreachable",
    ]


def test_every_mistake_of_the_file_is_shown() -> None:
    error = ClusterFileInvalid("2 mistakes", mistakes=("cluster.yaml:3:1: a", "cluster.yaml:9:2: b"))
    assert list(error_lines(error))[1:3] == ["  cluster.yaml:3:1: a", "  cluster.yaml:9:2: b"]


def test_what_is_well_is_one_line() -> None:
    checks = (GOOD, replace(GOOD, subject="agent-1"), replace(GOOD, id="host.os"), replace(GOOD, id="new.kind"))
    assert list(report_lines(Report("edge", "full", checks))) == [
        "4 checks passed: nodes 2, hosts 1, new 1",
        "edge: valid (full: 4 checks, 0 failed, 0 warnings)",
    ]


def test_what_failed_is_told_by_cause_with_all_its_subjects() -> None:
    checks = (*(replace(BAD, subject=f"agent-{n}", evidence=f"seen by {n}") for n in range(1, 6)), GOOD, WARNED)
    assert list(report_lines(Report("edge", "quick", checks))) == [
        "1 check passed: nodes 1",
        "error: agent-{1..5}: 61 s apart [host.clock]",
        "  seen: agent-1: seen by 1",
        "  seen: agent-2: seen by 2",
        "  seen: agent-3: seen by 3",
        "  seen: and 2 more of the kind",
        "  next: use one",
        "  more: pk3s explain host.clock",
        "warning: agent-1: swap [host.swap]",
        "  next: switch it off",
        "  more: pk3s explain host.swap",
        "edge: NOT valid (quick: 7 checks, 5 failed, 1 warning)",
    ]


def test_in_full_a_report_is_a_table_then_findings_then_the_verdict() -> None:
    assert list(report_lines(Report("edge", "full", (GOOD, WARNED, INFO, BAD)), full=True)) == [
        "         CHECK       SUBJECT            FOUND",
        "ok       node.ready  server-1           Ready 3 times in a row",
        "warning  host.swap   agent-1            swap",
        "info     net.reach   edge               not tried",
        "error    host.clock  server-1, agent-1  61 s apart",
        "error: server-1, agent-1: 61 s apart [host.clock]",
        "  seen: no time server",
        "  next: use one",
        "  more: pk3s explain host.clock",
        "warning: agent-1: swap [host.swap]",
        "  next: switch it off",
        "  more: pk3s explain host.swap",
        "edge: NOT valid (full: 4 checks, 1 failed, 1 warning)",
    ]


def test_what_explains_a_check_is_named_once_for_all_its_findings() -> None:
    again = replace(BAD, subject="agent-2", message="a year apart", remedy="use two")
    milder = replace(BAD, subject="agent-3", severity="warning", message="2 s apart")
    lines = list(report_lines(Report("edge", "full", (BAD, again, milder, WARNED))))
    assert [line for line in lines if line.startswith(("error:", "warning:"))] == [
        "error: server-1, agent-1: 61 s apart [host.clock]",
        "error: agent-2: a year apart [host.clock]",
        "warning: agent-3: 2 s apart [host.clock]",
        "warning: agent-1: swap [host.swap]",
    ]
    assert more(lines) == ["  more: pk3s explain host.clock", "  more: pk3s explain host.swap"]
    assert lines.index("  more: pk3s explain host.clock") == 3
    assert max(len(line) for line in lines if "explain" in line) < 40


def test_what_explains_a_failure_is_named_once_for_all_hosts_that_it_met() -> None:
    other = replace(FAILED, step=replace(STEP, id="agent-3/apply-agent"))
    assert more(applied_lines(applied(results=(FAILED, other)))) == ["  more: pk3s explain k3s.ca-mismatch"]
    gone = Failure("ssh.unreachable", "no connection")
    left = tuple(Left("K3s", name, gone) for name in ("agent-1", "agent-2"))
    lines = list(destroyed_lines(Destroyed((), (), left)))
    assert [line for line in lines if line.startswith("error:")] == [
        "error: agent-1: no connection [ssh.unreachable]",
        "error: agent-2: no connection [ssh.unreachable]",
    ]
    assert more(lines) == ["  more: pk3s explain ssh.unreachable"]


def more(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if "pk3s explain" in line]


def test_in_a_plan_a_check_that_warns_and_refuses_is_explained_where_it_refuses() -> None:
    milder = replace(BAD, subject="agent-3", severity="warning", message="2 s apart")
    lines = list(planned_lines(Planned(Plan("edge", ()), Report("edge", "preflight", (milder, BAD)))))
    assert lines[0] == "warning: agent-3: 2 s apart [host.clock]"
    assert [number for number, line in enumerate(lines) if "explain" in line] == [len(lines) - 2]


def test_a_report_with_warnings_is_valid_and_without_findings_there_are_no_findings() -> None:
    assert list(report_lines(Report("edge", "quick", (GOOD, WARNED))))[-1].startswith("edge: valid (quick: 2 checks")
    assert not list(findings_lines(FINE))


def test_an_empty_report_has_a_verdict() -> None:
    assert list(report_lines(Report("edge", "quick", ()))) == ["edge: valid (quick: 0 checks, 0 failed, 0 warnings)"]


def test_a_table_lines_up_and_ends_without_blanks() -> None:
    assert list(table(("A", "LONGER"), (("wide cell", ""), ("x", "y")))) == [
        "A          LONGER",
        "wide cell",
        "x          y",
    ]


DONE = StepResult(STEP, "done", 1.0, Result("done", changes=(CHANGE,)))
FAILED = StepResult(STEP, "failed", 1.0, failure=Failure("k3s.ca-mismatch", "another cluster", "CA aa", "remove it"))
SKIPPED = StepResult(replace(STEP, id="agent-2/apply-agent"), "skipped", skipped_for=STEP.id)


def applied(**parts: object) -> Applied:
    given = {"plan": Plan("edge", (STEP,)), "preflight": FINE, "journal": Path("/x/journal"), "seconds": 2.04, **parts}
    return Applied(**given)  # type: ignore[arg-type]


def test_an_apply_that_preflight_refused_shows_why_and_no_plan() -> None:
    lines = list(applied_lines(applied(preflight=Report("edge", "preflight", (BAD,)))))
    assert lines == [
        "error: server-1, agent-1: 61 s apart [host.clock]",
        "  seen: no time server",
        "  next: use one",
        "  more: pk3s explain host.clock",
        "journal: /x/journal",
        "Refused: nothing was changed on any host.",
    ]


def test_an_apply_that_failed_shows_the_step_what_was_skipped_and_the_journal() -> None:
    assert list(applied_lines(applied(results=(FAILED, SKIPPED)))) == [
        "error: agent-1/apply-agent: another cluster [k3s.ca-mismatch]",
        "  seen: CA aa",
        "  next: remove it",
        "  more: pk3s explain k3s.ca-mismatch",
        "skipped agent-2/apply-agent: agent-1/apply-agent did not succeed",
        "journal: /x/journal",
        "Not applied: 1 of 2 steps failed, 1 skipped, 0 done.",
    ]


@pytest.mark.parametrize(("results", "last"), [((DONE,), "2.0 s: 1 step."), ((DONE, DONE), "2.0 s: 2 steps.")])
def test_an_apply_that_ended_well_says_so_last(results: tuple[StepResult, ...], last: str) -> None:
    lines = list(applied_lines(applied(results=results, report=Report("edge", "full", (GOOD,)))))
    assert "edge: valid (full: 1 check, 0 failed, 0 warnings)" in lines
    assert lines[-1] == f"Applied in {last}"


def test_an_invalid_cluster_is_not_called_applied() -> None:
    lines = list(applied_lines(applied(results=(DONE,), report=Report("edge", "full", (BAD,)))))
    assert lines[-2] == "journal: /x/journal"
    assert lines[-1] == "Applied in 2.0 s: 1 step; the cluster is NOT valid."


def test_what_went_wrong_beside_the_steps_loses_nothing_of_the_result() -> None:
    trouble = Failure("kube.no-kubeconfig", "the kubeconfig cannot be fetched", "timed out", "pk3s kubeconfig")
    given = applied(results=(DONE,), report=Report("edge", "full", (GOOD,)), troubles=(trouble,))
    lines = list(applied_lines(given))
    assert "edge: valid (full: 1 check, 0 failed, 0 warnings)" in lines
    assert "error: edge: the kubeconfig cannot be fetched [kube.no-kubeconfig]" in lines
    assert lines[-1].startswith("Applied in 2.0 s: 1 step; 1 thing also went wrong")
    assert given.exit_code == 5
    assert encode(apply_answer(given))["troubles"][0]["code"] == "kube.no-kubeconfig"


def test_notes_of_hosts_that_nothing_is_done_on_are_shown_beside_what_was_done() -> None:
    plan = Plan("edge", (STEP,), notes=("server-1: cosmetic: the unit moves",))
    assert "note: server-1: cosmetic: the unit moves" in list(applied_lines(applied(plan=plan, results=(DONE,))))


def test_a_plan_that_apply_would_refuse_does_not_end_with_its_steps() -> None:
    """The preflight found what apply would stop at: a count of steps would promise what does not come."""
    gone = Unreached("server-1", Failure("ssh.unreachable", "no connection"))
    planned = Planned(Plan("edge", (STEP,), unreached=(gone,)), Report("edge", "preflight", (BAD,)))
    lines = list(planned_lines(planned))
    assert "~ agent-1/apply-agent: it shall join" in lines
    assert lines[-1] == "Apply would be refused: 1 error (see above); not reached: server-1."
    assert list(planned_lines(Planned(Plan("edge", ()), FINE)))[-1] == "Nothing to change."


def test_nothing_to_change_is_never_said_beside_an_error() -> None:
    lines = list(planned_lines(Planned(Plan("edge", ()), Report("edge", "preflight", (BAD, WARNED)))))
    assert lines == [
        "warning: agent-1: swap [host.swap]",
        "  next: switch it off",
        "  more: pk3s explain host.swap",
        "error: server-1, agent-1: 61 s apart [host.clock]",
        "  seen: no time server",
        "  next: use one",
        "  more: pk3s explain host.clock",
        "Apply would be refused: 1 error (see above).",
    ]


def test_nothing_to_do_says_why() -> None:
    lines = list(applied_lines(applied(plan=Plan("edge", ()))))
    assert lines[0] == "Nothing to change."
    assert lines[-1].startswith("Applied in")


def test_the_document_of_an_apply_is_json_with_every_step() -> None:
    given = applied(results=(DONE, FAILED, SKIPPED), report=Report("edge", "full", (GOOD,)))
    document = json.loads(json.dumps(encode(apply_answer(given))))
    assert document["exit_code"] == 5
    assert document["journal"] == "/x/journal"
    assert [row["outcome"] for row in document["results"]] == ["done", "failed", "skipped"]
    assert document["results"][0]["changes"] == ["start:k3s"]
    assert document["results"][1]["failure"]["code"] == "k3s.ca-mismatch"
    assert document["results"][2]["skipped_for"] == STEP.id
    assert document["preflight"]["checks"][0]["id"] == "node.ready"
    assert document["report"]["passed"] is True
    assert json.loads(json.dumps(encode(apply_answer(applied(journal=None)))))["report"] is None


def test_status_is_one_line_a_host_and_names_strangers() -> None:
    hosts = (
        HostStatus("server-1", "server", "10.0.0.11", "running", "active", "v1.34.4+k3s1", ready=True, reached=True),
        HostStatus("agent-1", "agent", "", "missing"),
    )
    assert list(status_lines(Status("edge", hosts, ("old-1",)))) == [
        "NAME      ROLE    ADDRESS    MACHINE  SERVICE  VERSION       NODE   NOTE",
        "server-1  server  10.0.0.11  running  active   v1.34.4+k3s1  Ready",
        "agent-1   agent   -          missing  -        -             -",
        "in the cluster, but not in the file: old-1",
        "1 of 2 nodes are Ready; not Ready: agent-1",
    ]


def test_destroying_says_what_went_and_what_is_left() -> None:
    failure = Failure("ssh.unreachable", "no connection", remedy="is it up?")
    left = (Left("K3s", "agent-1", failure),)
    lines = list(destroyed_lines(Destroyed(("server-1",), ("agent-2",), left)))
    assert lines == [
        "error: agent-1: no connection [ssh.unreachable]",
        "  next: is it up?",
        "  more: pk3s explain ssh.unreachable",
        "K3s was not installed on: agent-2.",
        "Destroyed: server-1.",
        "Left: K3s on agent-1 (see above).",
    ]
    assert "Nothing to destroy" not in " ".join(destroyed_lines(Destroyed((), (), left)))
    assert list(destroyed_lines(Destroyed(()))) == ["Nothing to destroy."]
    assert destroy_answer(Destroyed((), (), left)).left[0].host == "agent-1"
