"""A plan as text: everything a person needs to agree to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from productive_k3s.contract.change import Action, Change
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.cli.painting import painted
from productive_k3s_infra.plan.markdown import markdown_lines
from productive_k3s_infra.plan.marks import mark_of
from productive_k3s_infra.plan.model import Plan, Refusal, Unchanged, Unreached
from productive_k3s_infra.plan.step import (
    ApplyServer,
    CreateMachine,
    DestroyMachine,
    DrainNode,
    ForgetNode,
    Placeholder,
    RemoveNode,
    StartMachine,
    Step,
    UncordonNode,
    UninstallHost,
)
from productive_k3s_infra.plan.text import end_text, plan_lines, plan_text
from static.contract_program.hosts import server
from static.plan.clusters import an_agent

CHANGE = Change("write:config.yaml", "write-file", "config.yaml", "tls-san differs", "change", ("-old", "+new"))
RESTART = Change("restart:k3s", "restart-unit", "k3s", "its configuration changed", "disrupt")
SERVER = ApplyServer(
    id="server-1/apply-server",
    host="server-1",
    reason="its flags differ",
    impact="disrupt",
    changes=(CHANGE, RESTART),
    request=server(),
)
AGENT = an_agent(needs=("server-1/apply-server",), token=Placeholder("agent token", "server-1"), assumed=True)
NEW: tuple[Action, ...] = ("install-binary", "start-unit")
GONE = Unreached("agent-2", Failure("ssh.unreachable", "no connection"))


def test_each_step_has_reason_impact_needs_placeholders_and_diff() -> None:
    assert list(plan_lines(Plan("edge", (SERVER, AGENT), notes=("a remark",)), full=True)) == [
        "2 steps for edge: + 1 create, ! 1 restart",
        "! server-1/apply-server: its flags differ",
        "    ~ write:config.yaml: tls-san differs",
        "        -old",
        "        +new",
        "    ! restart:k3s: its configuration changed",
        "+ agent-1/apply-agent: it shall join (assumed: the machine does not exist yet)",
        "      after server-1/apply-server",
        "      with <agent token of server-1>",
        "note: a remark",
        "2 steps for edge: + 1 create, ! 1 restart.",
    ]


def test_in_brief_the_differing_lines_are_left_out_and_nothing_else() -> None:
    plan = Plan("edge", (SERVER,))
    left_out = set(plan_lines(plan, full=True)) - set(plan_lines(plan))
    assert left_out == {"        -old", "        +new"}


def test_nothing_to_do_has_its_reason() -> None:
    plan = Plan("edge", (), unchanged=(Unchanged("server-1", "v1.34.4+k3s1 already runs"),))
    assert list(plan_lines(plan)) == [
        "  server-1: nothing to do, v1.34.4+k3s1 already runs",
        "Nothing to change.",
    ]


def test_one_step_is_one_step() -> None:
    assert list(plan_lines(Plan("edge", (AGENT,))))[-1] == "1 step for edge: + 1 create."


def many(count: int, **parts: object) -> tuple[Step, ...]:
    """The same step on many hosts, with one file that is equal and one that is each host's own."""
    return tuple(
        an_agent(
            id=f"agent-{n}/apply-agent",
            host=f"agent-{n}",
            impact="disrupt",
            reason=f"agent-{n} has other flags",
            changes=(UNIT, replace(CHANGE, id="write:own", diff=(f"+node-name: agent-{n}",)), RESTART),
            **parts,
        )
        for n in range(1, count + 1)
    )


UNIT = Change("write:k3s-agent.service", "write-file", "k3s-agent.service", "it differs", "change", ("+[Unit]",))


def test_the_same_on_many_hosts_is_one_block_with_their_names() -> None:
    assert list(plan_lines(Plan("edge", many(12)))) == [
        "12 steps for edge: ! 12 restart",
        "! apply-agent: <node> has other flags",
        "      on agent-{1..12}",
        "    ~ write:k3s-agent.service: it differs",
        "    ~ write:own: tls-san differs",
        "    ! restart:k3s: its configuration changed",
        "12 steps for edge: ! 12 restart.",
    ]


def test_in_full_an_equal_file_is_shown_once_and_others_by_host() -> None:
    lines = list(
        plan_lines(Plan("edge", (*many(2), an_agent(id="x/apply-agent", host="x", changes=(UNIT,)))), full=True)
    )
    assert lines.count("        +[Unit]") == 1
    assert lines.count("        as on agent-1") == 1
    at = lines.index("        on agent-2:")
    assert lines[at - 2 : at + 2] == [
        "        on agent-1:",
        "        +node-name: agent-1",
        "        on agent-2:",
        "        +node-name: agent-2",
    ]


def test_a_name_within_another_one_is_not_taken_for_it() -> None:
    steps = [an_agent(id=f"{name}/apply-agent", host=name, reason="like agent-10") for name in ("agent-1", "agent-2")]
    assert "~ apply-agent: like agent-10" in plan_lines(Plan("edge", tuple(steps)))


def test_steps_that_wait_in_turns_are_told_in_brief_and_in_full() -> None:
    steps = [replace(step, needs=(f"agent-{n}/apply-agent",)) for n, step in enumerate(many(4))]
    brief, full = (list(plan_lines(Plan("edge", tuple(steps)), full=full)) for full in (False, True))
    assert "      each after steps of its own (--full)" in brief
    assert "      agent-3 after agent-2/apply-agent" in full


@pytest.mark.parametrize(
    ("step", "mark"),
    [
        (SERVER, "restart"),
        (AGENT, "create"),
        (an_agent(), "change"),
        (an_agent(changes=tuple(Change("x", kind, "", "", "change") for kind in NEW)), "create"),
        (CreateMachine(id="a/c", host="a", reason="", impact="change"), "create"),
        (StartMachine(id="a/s", host="a", reason="", impact="change"), "change"),
        (DestroyMachine(id="a/d", host="a", reason="", impact="disrupt"), "destroy"),
        (UninstallHost(id="a/u", host="a", reason="", impact="disrupt", role="agent", ca_hash=None), "destroy"),
        (RemoveNode(id="a/r", host="s", node="a", reason="", impact="disrupt"), "remove"),
        (ForgetNode(id="a/f", host="s", node="a", reason="", impact="change"), "remove"),
        (DrainNode(id="a/n", host="s", node="a", reason="", impact="disrupt"), "drain"),
        (UncordonNode(id="a/o", host="s", node="a", reason="", impact="change"), "change"),
    ],
)
def test_each_step_has_the_mark_of_what_it_comes_to(step: Step, mark: str) -> None:
    assert mark_of(step) == mark


def test_vetoes_stand_last_by_cause_with_evidence_and_remedy() -> None:
    other = Failure("k3s.version-differs", "another version", "v1.33.1+k3s1", "ask for it", 4)
    refusals = (
        Refusal("server-1", other),
        Refusal("agent-1", Failure("host.no-systemd", "no systemd")),
        Refusal("server-2", other),
    )
    lines = list(plan_lines(Plan("edge", (AGENT,), refusals=refusals)))
    assert lines[-7:] == [
        "refused: server-1, server-2: another version [k3s.version-differs]",
        "  seen: v1.33.1+k3s1",
        "  next: ask for it",
        "  more: pk3s explain k3s.version-differs",
        "refused: agent-1: no systemd [host.no-systemd]",
        "  more: pk3s explain host.no-systemd",
        "Refused: 3 hosts refuse what was planned; nothing was changed.",
    ]


def test_hosts_that_were_not_reached_stand_last() -> None:
    """With one of them nobody knows whether there is nothing to change."""
    gone = (GONE, replace(GONE, host="agent-3"))
    assert list(plan_lines(Plan("edge", (), unreached=gone))) == [
        "The hosts that answered need no change.",
        "not planned: agent-2, agent-3: no connection [ssh.unreachable]",
        "  more: pk3s explain ssh.unreachable",
    ]
    assert list(plan_lines(Plan("edge", (AGENT,), unreached=gone)))[-3:] == [
        "1 step for edge: + 1 create.",
        "not planned: agent-2, agent-3: no connection [ssh.unreachable]",
        "  more: pk3s explain ssh.unreachable",
    ]


def test_a_refused_plan_without_steps_has_not_nothing_to_change() -> None:
    refused = Plan("edge", (), refusals=(Refusal("agent-1", Failure("host.no-systemd", "no systemd")),))
    assert not [line for line in plan_lines(refused) if "othing to change" in line]


def test_what_is_noted_of_many_hosts_is_noted_once() -> None:
    hosts = tuple(Unchanged(name, "runs") for name in ("a", "b", "c"))
    notes = ("a: old files", "b: old files", "c: others", "somewhere: old files", "all is new")
    assert list(plan_lines(Plan("edge", (), unchanged=hosts, notes=notes)))[1:-1] == [
        "note: a, b: old files",
        "note: c: others",
        "note: somewhere: old files",
        "note: all is new",
    ]


def test_colour_is_laid_over_the_same_text() -> None:
    plan = Plan("edge", (SERVER, *many(3)), unreached=(GONE,), notes=("a remark",))
    lines = list(plan_text(plan, full=True))
    assert [painted(line).plain for line in lines] == list(plan_lines(plan, full=True))
    assert {"counts", "restart", "added", "taken", "bad"} <= {line.kind for line in lines}


def test_markdown_has_the_counts_on_top_and_each_group_to_unfold() -> None:
    ticks = replace(SERVER, host="s", reason="<b>|`x`", changes=(replace(CHANGE, diff=("+```",)),))
    plan = Plan("edge", (ticks, *many(2), DestroyMachine(id="a/d", host="a", reason="gone", impact="disrupt")))
    plan = replace(plan, unchanged=(Unchanged("b", "it *runs*"), Unchanged("c", "it *runs*")))
    lines = list(markdown_lines(plan, end_text(plan)))
    assert lines[0] == "**4 steps for edge: ! 3 restart, x 1 destroy**"
    assert lines.count("<details>") == lines.count("</details>") == 2
    assert "<summary><code>!</code> server-1/apply-server: &lt;b&gt;|`x`</summary>" in lines
    assert "<summary><code>!</code> apply-agent on agent-1, agent-2: &lt;node&gt; has other flags</summary>" in lines
    assert "````diff" in lines
    assert "- `b`, `c`: nothing to do, it \\*runs\\*" in lines
    assert "<code>x</code> a/d: gone" in lines
    assert lines[-3:] == ["```text", "4 steps for edge: ! 3 restart, x 1 destroy.", "```"]
