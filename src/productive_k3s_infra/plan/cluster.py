"""PURE: rules of the stage of the cluster: servers, then agents, then what the API is told of their nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from productive_k3s.contract.change import Change, Impact
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.request import Artifact, Request, Secrets, Watch
from productive_k3s.plan.changes import Assessment, assess
from productive_k3s.plan.node import in_words, node_differences, taint_words
from productive_k3s.plan.notes import COSMETIC
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.plan.draining import with_drains
from productive_k3s_infra.plan.model import Refusal, Unchanged, Unreached
from productive_k3s_infra.plan.requests import Situation, request_for
from productive_k3s_infra.plan.rollout import turns_of
from productive_k3s_infra.plan.rule import Draft, Item, Note
from productive_k3s_infra.plan.servers import has_members, live_server
from productive_k3s_infra.plan.step import (
    ApplyAgent,
    ApplyServer,
    LabelNode,
    Placeholder,
    StageArtifacts,
    Step,
)

AGENT_TOKEN = "agent token"  # noqa: S105 - the name of a placeholder
_REASONS_SHOWN = 3


def file_warnings(situation: Situation, _: Draft) -> Iterator[Item]:
    """What the cluster file's own rules warn of."""
    return (Note(warning) for warning in situation.spec.warnings)


def notes(situation: Situation, _: Draft) -> Iterator[Item]:
    """What could not be looked at while the hosts were asked."""
    return (Note(note) for note in situation.notes)


def unreached_hosts(situation: Situation, _: Draft) -> Iterator[Item]:
    """Hosts that did not say how they are: nothing is planned for them, and the plan says so."""
    for host in situation.inventory.hosts:
        if host.name in situation.unreached:
            yield Unreached(host.name, situation.unreached[host.name])


def servers(situation: Situation, draft: Draft) -> Iterator[Item]:
    """Servers get what separates them from the file."""
    for host in situation.inventory.servers:
        yield from _host(situation, draft, host)


def agents(situation: Situation, draft: Draft) -> Iterator[Item]:
    """Agents get what separates them from the file, after the founder where that has a step of its own.

    They are pushed to after the founder, on which all of them wait: one uplink serves it alone, then them. If that
    push fails their files stay here too. None of them could join in this run, as each needs the server's start.
    What interrupts them reaches them in batches, drained before if the file says so.
    """
    yield from with_drains(situation, draft, tuple(_in_turns(situation, draft)))


def _in_turns(situation: Situation, draft: Draft) -> Iterator[Item]:
    hosts = situation.inventory.agents
    found = [tuple(_host(situation, draft, host)) for host in hosts]
    turns = turns_of([item for items in found for item in items], situation.spec.rollout.batch)
    for host, items in zip(hosts, found, strict=True):
        turn = turns.get(host.name)
        yield from items if turn is None else (turn.after(item) for item in _host(situation, draft, host, turn.watch))


def _host(situation: Situation, draft: Draft, host: Host, watch: Watch | None = None) -> Iterator[Item]:
    facts = situation.facts.get(host.name)
    if facts is None:
        return
    request = replace(request_for(situation, host), watch=watch)
    found = assess(request, facts, planning=True)
    if found.vetoes:
        yield from (Refusal(host.name, veto) for veto in found.vetoes)
    elif not found.changes:
        yield Unchanged(host.name, "; ".join(note for note in found.notes if not note.startswith(COSMETIC)))
        yield from (_note(host, note) for note in found.notes if note.startswith(COSMETIC))
    else:
        # The host's answer depended on them; a plan holds none.
        shown = replace(request, agreed=tuple(change.id for change in found.changes), secrets=Secrets())
        yield from _steps(situation, draft, host, shown, found)
        yield from (_note(host, note) for note in found.notes)


def _note(host: Host, text: str) -> Note:
    return Note(f"{host.name}: {text}", (host.name,))


def _steps(situation: Situation, draft: Draft, host: Host, request: Request, found: Assessment) -> Iterator[Step]:
    facts, changes = situation.facts[host.name], _with_placeholders(situation, found.changes)
    machine = draft.making(host.name)
    assumed = host.assumed or bool(machine)
    staged = _to_push(situation, host, request, changes)
    push = f"{host.name}/stage-artifacts"
    if staged:
        yield StageArtifacts(
            id=push,
            host=host.name,
            reason=f"this computer pushes {', '.join(item.name for item in staged)}",
            impact="change",
            needs=(*machine, *_pushed_before(situation, draft, host)),
            artifacts=staged,
            assumed=assumed,
        )
    needs = (*machine, *((push,) if staged else ()))
    reason, impact = _reason(facts, changes), _impact(changes)
    if host.role == "server":
        yield ApplyServer(
            id=f"{host.name}/apply-server",
            host=host.name,
            reason=reason,
            impact=impact,
            needs=needs,
            changes=changes,
            request=request,
            assumed=assumed,
        )
        return
    founder = situation.inventory.founder.name
    yield ApplyAgent(
        id=f"{host.name}/apply-agent",
        host=host.name,
        reason=reason,
        impact=impact,
        needs=(
            *machine,
            *draft.forgetting(host.name),
            *draft.labelling(host.name),
            *((push,) if staged else ()),
            *_applied(draft, founder),
        ),
        changes=changes,
        request=request,
        token=Placeholder(AGENT_TOKEN, founder) if _wants_token(found) else None,
        assumed=assumed,
    )


def _applied(draft: Draft, host: str) -> tuple[str, ...]:
    return tuple(step.id for step in draft.steps if isinstance(step, ApplyServer) and step.host == host)


def _pushed_before(situation: Situation, draft: Draft, host: Host) -> tuple[str, ...]:
    if host.role == "server":
        return ()
    founder = situation.inventory.founder.name
    return tuple(step.id for step in draft.steps if isinstance(step, StageArtifacts) and step.host == founder)


def _wants_token(found: Assessment) -> bool:
    # The token file may lie there already (a run was cut off after it), and the host still refuses to join without one.
    return found.needs_token or any(change.action == "write-secret" for change in found.changes)


def _to_push(situation: Situation, host: Host, request: Request, changes: tuple[Change, ...]) -> tuple[Artifact, ...]:
    """Return the files that this host lacks and cannot pull, () where it pulls or lacks nothing."""
    facts = situation.facts[host.name]
    files = situation.files.get(facts.host.os.arch)
    if files is None or not files.pushed:
        return ()
    there = {item.sha256 for item in facts.k3s.staged}
    wanted = {change.id for change in changes}
    binary = (request.binary,) if request.binary is not None and "binary" in wanted else ()
    images = tuple(image for image in request.images if f"image:{image.name}" in wanted)
    return tuple(item for item in (*binary, *images) if item.sha256 not in there)


def _reason(facts: Facts, changes: tuple[Change, ...]) -> str:
    if facts.k3s.role is None and any(change.action == "install-binary" for change in changes):
        return "K3s is not installed"
    causes = [change.reason for change in changes if change.action not in ("wait-ready", "watch-node", "restart-unit")]
    reasons = list(dict.fromkeys(causes or [change.reason for change in changes]))
    more = f"; and {len(reasons) - _REASONS_SHOWN} more" if len(reasons) > _REASONS_SHOWN else ""
    return "; ".join(reasons[:_REASONS_SHOWN]) + more


def _impact(changes: tuple[Change, ...]) -> Impact:
    order: tuple[Impact, ...] = ("read", "change", "disrupt")
    return max((change.impact for change in changes), key=order.index)


def _with_placeholders(situation: Situation, changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Write the addresses of machines to come as what they are, placeholders, in everything a person reads."""
    names = {host.address: f"<address of {host.name}>" for host in situation.inventory.hosts if host.assumed}
    return tuple(_with_names(change, names) for change in changes) if names else changes


def _with_names(change: Change, names: dict[str, str]) -> Change:
    diff = change.diff
    for address, name in names.items():
        diff = tuple(line.replace(address, name) for line in diff)
    return replace(change, diff=diff)


def node_labels(situation: Situation, _: Draft) -> Iterator[Item]:
    """Labels and taints of agents that are members follow the file through the API, which is asked on a server.

    The agent's configuration is written after them: labels that go are known by it.
    """
    asked = live_server(situation)
    if asked is None:
        yield from _not_compared(situation)
        return
    server, cluster = asked
    for host in situation.inventory.agents:
        facts = situation.facts.get(host.name)
        if facts is None or host.assumed:
            continue
        labels, taints = node_differences(request_for(situation, host), replace(facts, cluster=cluster))
        words = [
            f"{key}={value}" if value is not None else f"{key} is removed" for key, value in sorted(labels.items())
        ]
        differing = [f"labels of the node differ: {', '.join(words)}"] if words else []
        if taints is not None:
            differing.append(f"its taints differ: {in_words(taints)}")
        if differing:
            yield LabelNode(
                id=f"{host.name}/label-node",
                host=server.name,
                node=host.name,
                reason="; ".join(differing),
                impact="change",
                labels=labels,
                taints=taint_words(taints) if taints is not None else (),
            )


def _not_compared(situation: Situation) -> Iterator[Note]:
    """Say whose labels and taints are not known. A plan of named nodes says it in its own words."""
    names = tuple(
        host.name
        for host in situation.inventory.agents
        if host.name in situation.facts and situation.facts[host.name].k3s.role is not None
    )
    if names and has_members(situation) and not situation.limit:
        text = "labels and taints are compared only once a server of the cluster answers"
        yield from (Note(f"{name}: {text}", (name,)) for name in names)
