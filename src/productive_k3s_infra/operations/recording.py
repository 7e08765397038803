"""What is written down while the steps of an apply run: which cluster this is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from productive_k3s.contract.events import Event
from productive_k3s.contract.facts import Facts
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.execute.model import StepResult, as_failure
from productive_k3s_infra.operations.apply_run import ApplyRun
from productive_k3s_infra.plan.leaving import still_leaving
from productive_k3s_infra.plan.mark import reach_of
from productive_k3s_infra.plan.model import ClusterRecord, Reach
from productive_k3s_infra.plan.step import ApplyServer, Step, UninstallHost
from productive_k3s_infra.workspace.record import read_record, write_record


@dataclass(frozen=True)
class RecordingListener:
    """Records the cluster's CA as soon as a server's step has ended, whatever comes of the other steps."""

    run: ApplyRun

    def step_started(self, step: Step) -> None:
        self.run.reporter.step_started(step)

    def step_progressed(self, step: Step, event: Event) -> None:
        self.run.reporter.step_progressed(step, event)

    def step_ended(self, result: StepResult) -> None:
        self.run.reporter.step_ended(result)
        if self.run.ahead is not None:
            self.run.ahead.step_ended(result)
        if isinstance(result.step, ApplyServer) and result.result is not None:
            record_cluster(self.run, result.result.facts)

    def stopping(self, running: tuple[Step, ...]) -> None:
        self.run.reporter.stopping(running)


def record_cluster(run: ApplyRun, facts: Facts | None) -> None:
    """Remember which cluster this is: a later run must never found another one."""
    if facts is None or not facts.k3s.ca_hash or facts.k3s.datastore is None:
        return
    _write(run, ClusterRecord(facts.k3s.ca_hash, _version(run), _hosts(run, frozenset())))


def record_hosts(run: ApplyRun) -> None:
    """Keep how hosts are reached that the file may not name one day; forget those from which K3s has gone."""
    record = read_record(run.session.workspace.folder, run.session.spec.name)
    done = (one.step for one in run.results if one.outcome == "done")
    uninstalled = (step.host for step in done if isinstance(step, UninstallHost))
    if record is not None:
        _write(run, replace(record, hosts=_hosts(run, frozenset(uninstalled))))


def _version(run: ApplyRun) -> str:
    """What the file says; where no server was to follow it, what is recorded is still what was installed."""
    situation = run.seen.situation
    left_out = situation.limit and not any(server.name in situation.limit for server in situation.inventory.servers)
    return situation.record.version if left_out and situation.record is not None else situation.spec.k3s.version


def _hosts(run: ApplyRun, cleaned: frozenset[str]) -> dict[str, Reach]:
    """Return how hosts are reached: those that were looked at as they were, all others as they are recorded."""
    situation = run.seen.situation
    if situation.survey.owns_machines:
        return {}
    key, inventory = run.session.spec.ssh.key, situation.inventory
    declared = {host.name: host for host in inventory.hosts if host.name in situation.facts}
    found = {name: reach_of(host, key) for name, host in (still_leaving(situation, cleaned) | declared).items()}
    recorded = situation.record.hosts if situation.record is not None else {}
    kept = {name: reach for name, reach in recorded.items() if name not in {*situation.leaving, *declared}}
    in_file = [host.name for host in inventory.hosts]
    known = {**kept, **found}
    return {name: known[name] for name in dict.fromkeys((*sorted({*known} - {*in_file}), *in_file)) if name in known}


def _write(run: ApplyRun, record: ClusterRecord) -> None:
    try:
        write_record(run.session.workspace.folder, run.session.spec.name, record)
    except Pk3sError as error:
        # The steps go on: half a cluster is no better recorded than a whole one.
        run.trouble(as_failure(error))
