"""A plan as text: everything a person needs to agree to it."""

from __future__ import annotations

from productive_k3s.contract.change import Change
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.plan.model import Plan, Refusal, Unchanged, Unreached
from productive_k3s_infra.plan.step import ApplyServer, Placeholder
from productive_k3s_infra.plan.text import plan_lines
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
GONE = Unreached("agent-2", Failure("ssh.unreachable", "no connection"))


def test_each_step_has_reason_impact_needs_placeholders_and_diff() -> None:
    assert list(plan_lines(Plan("edge", (SERVER, AGENT), notes=("a remark",)))) == [
        "! server-1/apply-server: its flags differ",
        "    + write:config.yaml: tls-san differs",
        "        -old",
        "        +new",
        "    ! restart:k3s: its configuration changed",
        "+ agent-1/apply-agent: it shall join (assumed: the machine does not exist yet)",
        "      after server-1/apply-server",
        "      with <agent token of server-1>",
        "note: a remark",
        "2 steps, 1 of them interrupt something that runs (!).",
    ]


def test_diffs_can_be_left_out_and_nothing_else() -> None:
    plan = Plan("edge", (SERVER,))
    left_out = set(plan_lines(plan)) - set(plan_lines(plan, diffs=False))
    assert left_out == {"        -old", "        +new"}


def test_nothing_to_do_has_its_reason() -> None:
    plan = Plan("edge", (), unchanged=(Unchanged("server-1", "v1.34.4+k3s1 already runs"),))
    assert list(plan_lines(plan)) == [
        "  server-1: nothing to do, v1.34.4+k3s1 already runs",
        "Nothing to change.",
    ]


def test_one_step_is_one_step() -> None:
    assert list(plan_lines(Plan("edge", (AGENT,))))[-1] == "1 step."


def test_a_veto_comes_first_with_evidence_and_remedy_and_has_the_last_word() -> None:
    refusals = (
        Refusal("server-1", Failure("k3s.version-differs", "another version", "v1.33.1+k3s1", "ask for it", 4)),
        Refusal("agent-1", Failure("host.no-systemd", "no systemd")),
    )
    lines = list(plan_lines(Plan("edge", (AGENT,), refusals=refusals)))
    assert lines[:4] == [
        "refused  server-1: another version [k3s.version-differs]",
        "         seen: v1.33.1+k3s1",
        "         next: ask for it",
        "refused  agent-1: no systemd [host.no-systemd]",
    ]
    assert lines[-1].startswith("Refused: vetoes of hosts: 2")


def test_the_last_line_names_hosts_that_were_not_reached() -> None:
    """With one of them nobody knows whether there is nothing to change."""
    lines = list(plan_lines(Plan("edge", (), unreached=(GONE,))))
    assert lines[0] == "? agent-2: not planned, no connection [ssh.unreachable]"
    assert lines[-1] == "Nothing to change on the hosts that answered; not reached: agent-2."
    assert list(plan_lines(Plan("edge", (AGENT,), unreached=(GONE,))))[-1] == "1 step; not reached: agent-2."
