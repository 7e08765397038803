"""PURE: `--limit`: a plan of the named nodes alone. All others are neither changed, removed nor waited for.

Machines, and what all nodes have to be seen for, are left out; what a named node cannot do without is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from productive_k3s.contract.failure import Failure
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.plan.host_network import registration_address
from productive_k3s_infra.plan.mark import is_ours
from productive_k3s_infra.plan.model import Plan, Refusal
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.rule import Draft, Item, Note
from productive_k3s_infra.plan.servers import has_members, live_server
from productive_k3s_infra.plan.step import ApplyAgent, ApplyServer, ApplyStep, Step

_WITHOUT = "pk3s apply without --limit"
_STARTING = ("start-unit", "restart-unit", "wait-ready")


def named(words: Iterable[str]) -> frozenset[str]:
    """Return the nodes that `--limit` names, each time it was given, with commas or without; raises BadInput.

    Empty is only what was never given: an empty name would stand for all nodes, which nobody asked for.
    """
    names = [name.strip() for word in words for name in word.split(",")]
    if not all(names):
        remedy = "separate node names with commas: --limit agent-1,agent-2"
        raise BadInput("a name is empty", where="--limit", remedy=remedy, code="limit.empty")
    return frozenset(names)


def require_alone(limit: Collection[str], *, new_cluster: bool, replacing: Collection[str]) -> None:
    """Raise BadInput where `--limit` stands beside what concerns the whole cluster, or machines."""
    beside = [name for name, is_there in (("--new-cluster", new_cluster), ("--replace", bool(replacing))) if is_there]
    if limit and beside:
        raise BadInput(
            f"it cannot be combined with {' and '.join(beside)}: it leaves out machines and the creation of a cluster",
            where="--limit",
            remedy="leave one of them out",
            code="limit.beside",
        )


def looked_at(inventory: Inventory, limit: Collection[str]) -> Inventory:
    """Return the hosts that are asked anything: the named ones, and servers, which know the nodes. Without it all."""
    if not limit:
        return inventory
    return replace(
        inventory, hosts=tuple(host for host in inventory.hosts if host.name in limit or host.role == "server")
    )


def judged(situation: Situation) -> Inventory:
    """Return the hosts that preflight judges: with a limit those that answered, and the named ones that should have."""
    limit, inventory = situation.limit, situation.inventory
    if not limit:
        return inventory
    hosts = (host for host in looked_at(inventory, limit).hosts if not host.assumed)
    return replace(inventory, hosts=tuple(host for host in hosts if host.name in limit or host.name in situation.facts))


def require_known(situation: Situation) -> None:
    """Raise BadInput if `--limit` names what is neither in the file nor a node or machine that leaves."""
    known = _known(situation)
    unknown = sorted(situation.limit - set(known))
    if unknown:
        blind = "no server answered, so only cluster.lock shows which nodes leave" if _is_blind(situation) else ""
        raise BadInput(
            f"there is no such node: {', '.join(unknown)}",
            where="--limit",
            evidence=blind,
            remedy=f"these may be named: {', '.join(known)}",
            code="limit.unknown",
        )


def _known(situation: Situation) -> tuple[str, ...]:
    declared = (host.name for host in situation.inventory.hosts)
    if situation.survey.owns_machines:
        return tuple(dict.fromkeys((*declared, *situation.survey.extra)))
    recorded = situation.record.hosts if situation.record is not None else {}
    asked = live_server(situation)
    nodes = asked[1].nodes if asked is not None else ()
    ours = (node.name for node in nodes if is_ours(node, situation.spec.name))
    return tuple(dict.fromkeys((*declared, *sorted({*recorded, *ours}))))


def _is_blind(situation: Situation) -> bool:
    return live_server(situation) is None and not situation.survey.owns_machines


def seen_within(situation: Situation) -> Situation:
    """Return the situation as far as a limited plan may depend on it: batches are those of the named agents."""
    names = {host.name for host in looked_at(situation.inventory, situation.limit).hosts}
    return replace(
        situation,
        facts={name: facts for name, facts in situation.facts.items() if name in names},
        leaving={name: leaving for name, leaving in situation.leaving.items() if name in situation.limit},
    )


def plan_of_named(draft: Draft, situation: Situation) -> Plan:
    """Return what the draft has for the named nodes. A step needs no other that is left out.

    Where it could not end well without that other one, it is refused.
    """
    steps = tuple(step for step in draft.steps if step.subject in situation.limit)
    refusals = tuple(_refusals(situation, steps))
    refused = {refusal.host for refusal in refusals}
    kept = tuple(step for step in steps if step.subject not in refused)
    ids = {step.id for step in kept}
    items = tuple(item for item in draft.items if _is_about(item, situation.limit))
    pruned = tuple(replace(step, needs=tuple(need for need in step.needs if need in ids)) for step in kept)
    unseen = tuple(_not_compared(situation, kept, refused))
    plan = Draft(pruned, (*items, *refusals, *unseen)).plan(situation.spec.name)
    return replace(plan, limit=tuple(name for name in _known(situation) if name in situation.limit))


def _is_about(item: Item, limit: Collection[str]) -> bool:
    """A sentence that is about no host in particular is about all."""
    if isinstance(item, Note):
        return not item.hosts or any(name in limit for name in item.hosts)
    return item.host in limit


def _not_compared(situation: Situation, steps: Iterable[Step], refused: Collection[str]) -> Iterator[Note]:
    """Say that labels and taints, which live in the API, are not known to be as the file says."""
    if live_server(situation) is not None or any(isinstance(step, ApplyServer) for step in steps):
        return
    there = {host.name for host in situation.inventory.agents if host.name in situation.facts}
    names = [name for name in _known(situation) if name in situation.limit & there - {*refused}]
    if names:
        text = f"{', '.join(names)}: labels and taints were not compared, because no server answers ({_why(situation)})"
        yield Note(text, tuple(names))


def _refusals(situation: Situation, steps: tuple[Step, ...]) -> Iterator[Refusal]:
    for host in situation.inventory.hosts:
        if host.name in situation.limit and host.assumed:
            machine = situation.survey.machine(host.name)
            stopped = machine is not None and machine.state == "stopped"
            what = "its machine is not running" if stopped else "has no machine yet"
            remedy = f"{_WITHOUT}: --limit leaves out machines"
            yield Refusal(host.name, Failure("limit.no-machine", what, "", remedy, 4))
    serving = any(isinstance(step, ApplyServer) for step in steps)
    for step in steps:
        if isinstance(step, ApplyServer | ApplyAgent):
            failure = _incomplete(situation, step) or _unserved(situation, step, serving=serving)
            if failure is not None:
                yield Refusal(step.host, failure)


def _unserved(situation: Situation, step: ApplyStep, *, serving: bool) -> Failure | None:
    """Say what a step lacks: for an agent a server that runs, for a founder the look at all other hosts."""
    if live_server(situation) is not None:
        return None
    if isinstance(step, ApplyAgent):
        starts = step.token is not None or any(change.action in _STARTING for change in step.changes)
        if serving or not starts:
            return None
        what = "no server of the cluster answers, so the agent can neither join nor start"
        server = situation.inventory.founder.name
        remedy = f"bring {server} back, name it too (--limit {server},{step.host}), or {_WITHOUT}"
        return Failure("limit.no-server", what, _why(situation), remedy, 4)
    unseen = _unseen(situation)
    if has_members(situation) or not unseen:
        return None
    what = "a cluster is created only after all of its hosts were checked: one may already belong to a cluster"
    return Failure("limit.founds", what, f"not checked: {', '.join(unseen)}", _WITHOUT, 4)


def _unseen(situation: Situation) -> list[str]:
    missing = {machine.name for machine in situation.survey.machines if machine.state == "missing"}
    return [host.name for host in situation.inventory.hosts if host.name not in {*situation.facts, *missing}]


def _incomplete(situation: Situation, step: ApplyStep) -> Failure | None:
    """A host is not told the placeholder of an address that is not known yet."""
    request = step.request
    direct = request.environment.get("NO_PROXY", "").split(",")
    joined = registration_address(situation.spec, situation.inventory)
    told = []
    for host in situation.inventory.hosts:
        listed = any(entry.address == host.address for entry in request.hosts_file)
        joins = isinstance(step, ApplyAgent) and host.address == joined
        if host.assumed and (listed or joins or host.address in direct):
            told.append(host.name)
    if not told:
        return None
    what = f"it needs the addresses of all nodes, and that of {', '.join(told)} is not known"
    return Failure("limit.no-address", what, "their machines are not running", _WITHOUT, 4)


def _why(situation: Situation) -> str:
    return "; ".join(
        f"{server.name}: {situation.unreached[server.name].what}"
        if server.name in situation.unreached
        else f"{server.name}: {'its machine is not running' if server.assumed else 'its API does not answer'}"
        for server in situation.inventory.servers
    )
