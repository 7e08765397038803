"""PURE: from a situation to the plan. `CLUSTER` is the whole procedure of the cluster stage, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from productive_k3s.contract.change import Change, Impact
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.request import Request, Secrets
from productive_k3s.plan.changes import Assessment, assess
from productive_k3s.plan.node import in_words, node_differences, taint_words
from productive_k3s.plan.notes import COSMETIC
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.plan.model import Placeholder, Plan, Refusal, Step, Unchanged
from productive_k3s_infra.plan.removal import plan_removal, plan_stale
from productive_k3s_infra.plan.requests import Situation, request_for

AGENT_TOKEN = "agent token"  # noqa: S105 - the name of a placeholder
_REASONS_SHOWN = 3


@dataclass(frozen=True)
class Planned:
    """What one rule of the pipeline found."""

    steps: tuple[Step, ...] = ()
    unchanged: tuple[Unchanged, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()


def plan_cluster(situation: Situation) -> Plan:
    """Return every step of the cluster stage, in an order that respects what each needs."""
    parts = [part for rule in CLUSTER for part in rule(situation)]
    stale = plan_stale(situation)
    forgotten = {step.node: step.id for step in stale.steps}
    labelled = {step.node: step.id for part in parts for step in part.steps if step.action == "label-node"}
    first = {name: tuple(filter(None, (forgotten.get(name), labelled.get(name)))) for name in {*forgotten, *labelled}}
    steps = tuple(_after(first, _shown(situation, step)) for part in parts for step in part.steps)
    removal = plan_removal(situation, steps)
    return Plan(
        cluster=situation.spec.name,
        steps=(*stale.steps, *steps, *removal.steps),
        unchanged=tuple(item for part in parts for item in part.unchanged),
        refusals=(*(item for part in parts for item in part.refusals), *stale.refusals, *removal.refusals),
        notes=(*situation.spec.warnings, *(note for part in parts for note in part.notes), *removal.notes),
    )


def _after(first: dict[str, tuple[str, ...]], step: Step) -> Step:
    """An agent joins after the Node of its predecessor is gone.

    Its configuration is written after the labels of its Node: those that go are known by it.
    """
    if step.action != "apply-agent" or step.host not in first:
        return step
    return replace(step, needs=(*first[step.host], *step.needs))


def join_plans(machines: Plan, cluster: Plan) -> Plan:
    """Put the stage of the machines before that of the cluster; a host's steps need its machine."""
    made = {step.host: step.id for step in machines.steps if step.action == "create-machine"}
    later = tuple(
        replace(step, needs=(made[step.host], *step.needs), assumed=True) if step.host in made else step
        for step in cluster.steps
    )
    return replace(
        cluster,
        steps=(*machines.steps, *later),
        refusals=(*machines.refusals, *cluster.refusals),
        notes=(*machines.notes, *cluster.notes),
    )


def _servers(situation: Situation) -> Iterator[Planned]:
    for host in situation.inventory.servers:
        yield from _host(situation, host)


def _agents(situation: Situation) -> Iterator[Planned]:
    """Agents are pushed to after the first server, on which all of them wait: one uplink serves it alone, then them.

    If that push fails their files stay here too. None of them could join in this run, as each needs the server's start.
    """
    first = tuple(
        step.id
        for part in _host(situation, situation.inventory.first_server)
        for step in part.steps
        if step.action == "stage-artifacts"
    )
    for host in situation.inventory.agents:
        for part in _host(situation, host):
            yield replace(part, steps=tuple(_pushed_after(step, first) for step in part.steps))


def _pushed_after(step: Step, first: tuple[str, ...]) -> Step:
    return replace(step, needs=(*first, *step.needs)) if step.action == "stage-artifacts" else step


def _host(situation: Situation, host: Host) -> Iterator[Planned]:
    facts = situation.facts.get(host.name)
    if facts is None:
        return
    request = request_for(situation, host)
    found = assess(request, facts, planning=True)
    notes = tuple(f"{host.name}: {note}" for note in found.notes) if found.changes else ()
    if found.vetoes:
        yield Planned(refusals=tuple(Refusal(host.name, veto) for veto in found.vetoes))
    elif not found.changes:
        later = tuple(f"{host.name}: {note}" for note in found.notes if note.startswith(COSMETIC))
        why = "; ".join(note for note in found.notes if not note.startswith(COSMETIC))
        yield Planned(unchanged=(Unchanged(host.name, why),), notes=later)
    else:
        agreed = tuple(change.id for change in found.changes)
        # The host's answer depended on them; a plan holds none.
        shown = replace(request, agreed=agreed, secrets=Secrets())
        steps = tuple(_steps(situation, host, shown, found))
        yield Planned(steps=steps, notes=notes)


def _steps(situation: Situation, host: Host, request: Request, found: Assessment) -> Iterator[Step]:
    facts, changes = situation.facts[host.name], found.changes
    stage = _stage(situation, host, request, changes)
    if stage is not None:
        yield stage
    needs = (stage.id,) if stage is not None else ()
    placeholders: tuple[Placeholder, ...] = ()
    if host.role == "agent":
        first = situation.inventory.first_server
        if _is_planned(situation, first):
            needs = (*needs, f"{first.name}/apply-server")
        if _wants_token(found):
            placeholders = (Placeholder(AGENT_TOKEN, first.name),)
    yield Step(
        id=f"{host.name}/apply-{host.role}",
        stage="cluster",
        host=host.name,
        action="apply-server" if host.role == "server" else "apply-agent",
        reason=_reason(facts, changes),
        impact=_impact(changes),
        needs=needs,
        changes=changes,
        placeholders=placeholders,
        request=request,
        assumed=host.assumed,
    )


def _is_planned(situation: Situation, host: Host) -> bool:
    facts = situation.facts.get(host.name)
    return facts is not None and bool(assess(request_for(situation, host), facts, planning=True).changes)


def _wants_token(found: Assessment) -> bool:
    # The token file may lie there already (a run was cut off after it), and the host still refuses to join without one.
    return found.needs_token or any(change.action == "write-secret" for change in found.changes)


def _stage(situation: Situation, host: Host, request: Request, changes: tuple[Change, ...]) -> Step | None:
    """Return the step that pushes what this host lacks, None where it pulls or lacks nothing."""
    facts = situation.facts[host.name]
    files = situation.files.get(facts.host.os.arch)
    if files is None or not files.pushed:
        return None
    there = {item.sha256 for item in facts.k3s.staged}
    wanted = {change.id for change in changes}
    binary = request.binary if "binary" in wanted and request.binary and request.binary.sha256 not in there else None
    images = tuple(image for image in request.images if f"image:{image.name}" in wanted and image.sha256 not in there)
    if binary is None and not images:
        return None
    names = [item.name for item in ((binary,) if binary else ()) + images]
    return Step(
        id=f"{host.name}/stage-artifacts",
        stage="cluster",
        host=host.name,
        action="stage-artifacts",
        reason=f"this computer pushes {', '.join(names)}",
        impact="change",
        request=replace(request, binary=binary, images=images),
        assumed=host.assumed,
    )


def _reason(facts: Facts, changes: tuple[Change, ...]) -> str:
    if facts.k3s.role is None and any(change.action == "install-binary" for change in changes):
        return "K3s is not on this host"
    causes = [change.reason for change in changes if change.action not in ("wait-ready", "restart-unit")]
    reasons = list(dict.fromkeys(causes or [change.reason for change in changes]))
    more = f"; and {len(reasons) - _REASONS_SHOWN} more" if len(reasons) > _REASONS_SHOWN else ""
    return "; ".join(reasons[:_REASONS_SHOWN]) + more


def _impact(changes: tuple[Change, ...]) -> Impact:
    order: tuple[Impact, ...] = ("read", "change", "disrupt")
    return max((change.impact for change in changes), key=order.index)


def _node_labels(situation: Situation) -> Iterator[Planned]:
    """Labels and taints of agents that are members follow the file through the API, which is asked on a server."""
    first = situation.inventory.first_server
    server = situation.facts.get(first.name)
    if server is None or server.cluster is None or not server.cluster.reachable:
        return
    for host in situation.inventory.agents:
        facts = situation.facts.get(host.name)
        if facts is None or host.assumed:
            continue
        labels, taints = node_differences(request_for(situation, host), replace(facts, cluster=server.cluster))
        words = [f"{key}={value}" if value is not None else f"{key} goes" for key, value in sorted(labels.items())]
        differing = [f"labels of the node differ: {', '.join(words)}"] if words else []
        if taints is not None:
            differing.append(f"its taints differ: {in_words(taints)}")
        if differing:
            step = Step(
                id=f"{host.name}/label-node",
                stage="cluster",
                host=first.name,
                node=host.name,
                action="label-node",
                reason="; ".join(differing),
                impact="change",
                labels=labels,
                taints=taint_words(taints) if taints is not None else (),
            )
            yield Planned(steps=(step,))


def _undeclared_nodes(situation: Situation) -> Iterator[Planned]:
    server = situation.facts.get(situation.inventory.first_server.name)
    if server is None or server.cluster is None:
        return
    declared = {*situation.leaving, *(host.name for host in situation.inventory.hosts)}
    found = [node.name for node in server.cluster.nodes if node.name not in declared]
    if found:
        yield Planned(notes=(f"in the cluster, and not in the file: {', '.join(found)}; they are left alone",))


CLUSTER: tuple[Callable[[Situation], Iterator[Planned]], ...] = (_servers, _node_labels, _agents, _undeclared_nodes)


def _shown(situation: Situation, step: Step) -> Step:
    """Write the addresses of machines to come as what they are, placeholders, in everything a person reads."""
    names = {host.address: f"<address of {host.name}>" for host in situation.inventory.hosts if host.assumed}
    if not names or not step.changes:
        return step
    return replace(step, changes=tuple(_with_names(change, names) for change in step.changes))


def _with_names(change: Change, names: dict[str, str]) -> Change:
    diff = change.diff
    for address, name in names.items():
        diff = tuple(line.replace(address, name) for line in diff)
    return replace(change, diff=diff)
