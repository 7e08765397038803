"""PURE: the whole procedure of `destroy`, as one list. A host loses K3s only if it belongs to the recorded cluster."""

from __future__ import annotations

from collections.abc import Iterator

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.plan.model import Plan, Refusal, Unreached
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.rule import Draft, Item, Stage, plan_by
from productive_k3s_infra.plan.step import DestroyMachine, DestroyShared, UninstallHost

_SHOWN = 12
_BY_HAND = "on the host: productive-k3s uninstall --cluster HASH8, as productive-k3s facts shows it"


def existing_machines(situation: Situation, _: Draft) -> Iterator[Item]:
    """Machines that pk3s made go, in the file or not: their nodes need not leave a cluster that goes as a whole."""
    for machine in situation.survey.machines if situation.survey.owns_machines else ():
        if machine.state != "missing":
            yield DestroyMachine(
                id=f"{machine.name}/destroy-machine",
                host=machine.name,
                reason="the cluster is destroyed; its disk and the volumes on it are lost",
                impact="disrupt",
            )


def shared_by_machines(situation: Situation, draft: Draft) -> Iterator[Item]:
    """What the machines share goes with them, in the same call of the provider."""
    if situation.survey.owns_machines and (draft.steps or situation.survey.shared):
        cluster = situation.spec.name
        yield DestroyShared(
            id=f"{cluster}/destroy-shared",
            host=cluster,
            reason="it is no longer needed",
            impact="disrupt",
            resources=situation.survey.shared,
        )


def hosts_of_others(situation: Situation, _: Draft) -> Iterator[Item]:
    """A host that is not proved to belong to the recorded cluster stops all: a wrong address is enough for that."""
    for host in _asked(situation):
        failure = _not_ours(situation, _facts(situation, host))
        if failure is not None:
            yield Refusal(host.name, failure)


def agents_lose_k3s(situation: Situation, _: Draft) -> Iterator[Item]:
    """Agents first, all at the same time; also those that the file does not name any more."""
    for host in _asked(situation):
        if host.role == "agent":
            yield _uninstall(situation, host, ())


def servers_lose_k3s(situation: Situation, draft: Draft) -> Iterator[Item]:
    """The servers, with the datastore, after every agent that answers: one that is dead holds nobody up."""
    needs = tuple(step.id for step in draft.steps if isinstance(step, UninstallHost))
    for host in _asked(situation):
        if host.role == "server":
            yield _uninstall(situation, host, needs)


def unreached_hosts(situation: Situation, _: Draft) -> Iterator[Item]:
    """Hosts that did not answer keep what is on them, and it is said."""
    for host in situation.inventory.hosts:
        if host.name in situation.unreached:
            yield Unreached(host.name, situation.unreached[host.name])
    for name, leaving in situation.leaving.items():
        if leaving.failure is not None:
            yield Unreached(name, leaving.failure)


TEARDOWN = (
    Stage(
        "teardown",
        (
            existing_machines,
            shared_by_machines,
            hosts_of_others,
            agents_lose_k3s,
            servers_lose_k3s,
            unreached_hosts,
        ),
    ),
)


def plan_teardown(situation: Situation) -> Plan:
    """Return the steps that take the cluster away."""
    return plan_by(TEARDOWN, situation)


def how_to_clean(situation: Situation, host: str) -> str:
    """Return what to do about K3s on a host that was not reached."""
    record = situation.record
    by_hand = f"productive-k3s uninstall --cluster {record.ca_hash[:8]} --yes" if record is not None else _BY_HAND
    return (
        f"when {host} answers, run pk3s destroy again (cluster.lock is kept for this); or run there, as root: {by_hand}"
    )


def _asked(situation: Situation) -> tuple[Host, ...]:
    if situation.survey.owns_machines:
        return ()
    # One that the file does not name any more may be anybody's by now: that stops nothing.
    leaving = (
        leaving.host
        for leaving in situation.leaving.values()
        if leaving.facts is not None and _not_ours(situation, leaving.facts) is None
    )
    declared = (host for host in situation.inventory.hosts if host.name in situation.facts)
    return (*declared, *leaving)


def _facts(situation: Situation, host: Host) -> Facts:
    leaving = situation.leaving.get(host.name)
    return leaving.facts if leaving is not None and leaving.facts is not None else situation.facts[host.name]


def _uninstall(situation: Situation, host: Host, needs: tuple[str, ...]) -> UninstallHost:
    record, facts = situation.record, _facts(situation, host)
    return UninstallHost(
        id=f"{host.name}/uninstall",
        host=host.name,
        reason="the cluster is destroyed; the host stays",
        impact="disrupt",
        needs=needs,
        role=host.role,
        ca_hash=record.ca_hash if record is not None and _has_something_to_lose(facts) else None,
    )


def _has_something_to_lose(facts: Facts) -> bool:
    k3s = facts.k3s
    return bool(k3s.ca_hash) or k3s.datastore is not None or k3s.has_node_password


def _not_ours(situation: Situation, facts: Facts) -> Failure | None:
    """Say why a host must be left alone, None where it is ours or has nothing to lose."""
    record, ca = situation.record, facts.k3s.ca_hash
    if not _has_something_to_lose(facts) or (record is not None and ca == record.ca_hash):
        return None
    found = f"its CA is {ca[:_SHOWN]}..." if ca else "its CA is missing"
    if record is None:
        what = "K3s is installed there, and cluster.lock does not show that it belongs to this cluster"
        remedy = f"restore cluster.lock from version control; or write it: pk3s init --from-host; or {_BY_HAND}"
        return Failure("destroy.no-record", what, found, remedy, 4)
    evidence = f"{found}, recorded is {record.ca_hash[:_SHOWN]}..."
    if not ca:
        what = "it is not known to which cluster this K3s belongs"
        # Without --plan an agent's leftovers would go at once.
        listing = "productive-k3s uninstall --cluster unknown --plan"
        remedy = f"on the host: {listing} lists what would be deleted; uninstall there, then run this again"
        return Failure("destroy.ca-lost", what, evidence, remedy, 4)
    remedy = "correct its address, or remove the node from the file; then run this again"
    return Failure("destroy.other-cluster", "the host belongs to another cluster", evidence, remedy, 4)
