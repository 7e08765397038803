"""From a step to whoever carries it out. The type checker holds that every kind of step is here."""

from __future__ import annotations

from functools import partial
from typing import assert_never

from productive_k3s.contract.events import Result
from productive_k3s_infra.execute.executor import Perform
from productive_k3s_infra.execute.model import Say
from productive_k3s_infra.execute.steps.apply_host import apply_agent, apply_server
from productive_k3s_infra.execute.steps.nodes import act_on_node
from productive_k3s_infra.execute.steps.stage_artifacts import stage_artifacts
from productive_k3s_infra.execute.steps.tools import Tools
from productive_k3s_infra.execute.steps.uninstall import uninstall_host
from productive_k3s_infra.plan.step import (
    ApplyAgent,
    ApplyServer,
    ChangeShared,
    CordonNode,
    CreateMachine,
    DestroyMachine,
    DestroyShared,
    DrainNode,
    ForgetNode,
    LabelNode,
    RemoveNode,
    StageArtifacts,
    StartMachine,
    Step,
    UncordonNode,
    UninstallHost,
)


def performing(tools: Tools) -> Perform:
    """Return what the executor calls for each step."""
    return partial(perform, tools)


async def perform(tools: Tools, step: Step, say: Say) -> Result:
    """Carry out one step."""
    match step:
        case ChangeShared() | CreateMachine() | StartMachine():
            return await tools.provider.make(step, say)
        case DestroyMachine() | DestroyShared():
            return await tools.provider.destroy(step, say)
        case StageArtifacts():
            return await stage_artifacts(tools, step, say)
        case ApplyServer():
            return await apply_server(tools, step, say)
        case ApplyAgent():
            return await apply_agent(tools, step, say)
        case LabelNode() | RemoveNode() | ForgetNode() | CordonNode() | DrainNode() | UncordonNode():
            return await act_on_node(tools, step, say)
        case UninstallHost():
            return await uninstall_host(tools, step, say)
        case _:
            assert_never(step)
