"""What an agreement covers: the plan that was shown, and no interruption beyond it."""

from __future__ import annotations

from dataclasses import replace

from productive_k3s_infra.operations.agreement import covers
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.step import CreateMachine, LabelNode, Step

LABEL = LabelNode(id="agent-1/label-node", host="server-1", reason="", impact="change", node="agent-1", labels={})
CREATE = CreateMachine(id="agent-2/create-machine", host="agent-2", reason="it is not there", impact="change")


def plan(*steps: Step) -> Plan:
    return Plan("edge", steps)


def test_what_was_shown_is_covered_and_so_is_less() -> None:
    assert covers(plan(LABEL, CREATE), plan(LABEL, CREATE))
    assert covers(plan(LABEL, CREATE), plan(LABEL))
    assert not covers(None, plan(LABEL))


def test_what_only_changes_more_is_covered_and_what_interrupts_is_not() -> None:
    assert covers(plan(CREATE), plan(CREATE, LABEL))
    assert not covers(plan(CREATE), plan(CREATE, replace(LABEL, impact="disrupt")))


def test_a_step_that_was_shown_as_harmless_does_not_cover_its_interruption() -> None:
    """The same step by its name: real facts of a machine that was made may ask for a restart."""
    disrupts = replace(LABEL, impact="disrupt")
    assert not covers(plan(LABEL), plan(disrupts))
    assert covers(plan(disrupts), plan(disrupts))
