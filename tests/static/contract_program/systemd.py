"""Systemd on a simulated machine, and one run on it, change by change."""

from __future__ import annotations

from dataclasses import replace

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.request import Request
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.doors.system import Completed
from productive_k3s.effects.install import apply_change
from productive_k3s.effects.task import Task
from productive_k3s.facts.gather import gather
from productive_k3s.k3s import paths
from productive_k3s.plan.changes import assess
from productive_k3s.plan.desired import desired_state
from productive_k3s.plan.effective import effective_state
from productive_k3s_infra.rehearse.system import Command
from static.contract_program.simulated import Machine


def task(machine: Machine, request: Request, facts: Facts | None = None) -> Task:
    return task_on(machine.host(), request, facts or machine.facts(), "new")


def task_on(host: Host, request: Request, facts: Facts, token: str) -> Task:
    effective = effective_state(request, facts)
    return Task(host, desired_state(request, effective), effective, lambda: Secret(token), gather)


def do(work: Task, *ids: str) -> None:
    """Apply these changes of those that the host needs."""
    needed = {change.id: change for change in assess(work.request, work.facts).changes}
    for name in ids:
        run_to_end(apply_change(work, needed[name]))


class Systemd:
    """Systemd on a simulated machine: what it holds of the unit, and what it was told, in order."""

    def __init__(self, machine: Machine, *, is_old: bool = False) -> None:
        self.machine = machine
        self.is_old = is_old
        self.told: list[str] = []
        for verb in ("daemon-reload", "reset-failed", "enable", "start", "restart"):
            machine.system.script_process(("systemctl", verb), self.tell)
        machine.system.script_process(("systemctl", "show", "k3s"), self.show)

    def show(self, command: Command) -> Completed:
        """Units can be named without their suffix."""
        return self.machine.units.show(replace(command, argv=("systemctl", "show", "k3s.service")))

    def tell(self, command: Command) -> Completed:
        verb = command.argv[1]
        self.told.append(verb)
        units = self.machine.units
        if verb in ("daemon-reload", "enable"):
            units.set("k3s", LoadState="loaded", NeedDaemonReload="no", FragmentPath=paths.unit_file("k3s"))
        if verb in ("start", "restart"):
            held = units.properties["k3s.service"]
            if held["LoadState"] == "not-found":
                # It looks for the file now; before version 247 it believes what it saw at the last reload.
                if self.is_old:
                    return Completed(5, "", "Unit k3s.service not found.")
                units.set("k3s", LoadState="loaded", NeedDaemonReload="no", FragmentPath=paths.unit_file("k3s"))
            assert (held["LoadState"], held["NeedDaemonReload"]) == ("loaded", "no"), "it would start something else"
            units.set("k3s", ActiveState="activating", MainPID="99", InvocationID="i2")
        return Completed(0, "", "")
