"""`pk3s inventory`: the same requests that `apply` would send, written down for the Ansible role."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from productive_k3s.contract.codec import encode
from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.expectation import Expectation
from productive_k3s_infra._files import at_home
from productive_k3s_infra.artifacts.program import Program, build_program
from productive_k3s_infra.hosts.ssh import known_hosts
from productive_k3s_infra.hosts.wire import bootstrap
from productive_k3s_infra.inventory.model import Endpoint, Inventory
from productive_k3s_infra.operations.observe import Observation, observe
from productive_k3s_infra.operations.plan import preflight
from productive_k3s_infra.operations.session import Session, fleet_of, running_inventory_of, survey_of
from productive_k3s_infra.operations.validate import expected
from productive_k3s_infra.plan.requests import Situation, request_for
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.validate.report import Report
from productive_k3s_infra.workspace.ansible_files import (
    AnsibleHost,
    AnsibleInventory,
    PushedFile,
    secret_names,
    write_ansible,
)
from productive_k3s_infra.workspace.directory import open_workspace

_FOLDER = "ansible"


@dataclass(frozen=True)
class Written:
    """What was written where; `secrets` are the names of those that the role has to be given, `notes` worth a line.

    Nothing was written if the preflight did not pass.
    """

    folder: Path
    preflight: Report
    changed: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 4 where applying would be refused."""
        return ExitCode.DONE if self.preflight.passed else ExitCode.REFUSED


async def write_inventory(session: Session, folder: Path | None = None) -> Written:
    """Look at all hosts as `plan` does, and write what the role needs; no host is changed.

    Raises Refused while machines of the cluster do not exist.
    """
    survey = await survey_of(session)
    inventory = running_inventory_of(session, survey)
    async with fleet_of(session, inventory) as fleet:
        seen = await observe(session, survey, inventory, fleet)
    target = _target(session, folder)
    found = preflight(session, seen, plan_stages(seen.situation))
    if not found.passed:
        return Written(target, found)
    proof = known_hosts_text(inventory, known_hosts.read(session.workspace.known_hosts))
    content = ansible_inventory(seen, build_program(), proof, await expected(session, inventory))
    if folder is None:
        open_workspace(session.workspace.cluster_file, session.workspace.cluster)
    notes = (*seen.situation.notes, *unrecorded(seen.situation))
    return Written(target, found, write_ansible(target, content), secret_names(content), notes)


def unrecorded(situation: Situation) -> tuple[str, ...]:
    """PURE: say that a cluster which the role made is not recorded yet: only `apply` does that, having validated it."""
    first = situation.facts.get(situation.inventory.founder.name)
    if situation.record is not None or first is None or first.k3s.datastore is None:
        return ()
    return (
        "this cluster is not in cluster.lock: pk3s apply records it, so that a second one is not created by mistake",
    )


def _target(session: Session, folder: Path | None) -> Path:
    return session.workspace.path / _FOLDER if folder is None else at_home(folder).absolute()


def ansible_inventory(seen: Observation, program: Program, proof: str, wanted: Expectation) -> AnsibleInventory:
    """Return the inventory for Ansible of what was seen; reads the sizes of files that are pushed."""
    inventory, situation = seen.inventory, seen.situation
    hosts = []
    for host in inventory.hosts:
        request = request_for(situation, host)
        artifacts = (*((request.binary,) if request.binary else ()), *request.images)
        here = ((item, seen.resolved.local_files.get(item.sha256)) for item in artifacts if item.url is None)
        files = [PushedFile(item.name, item.sha256, path.stat().st_size, str(path)) for item, path in here if path]
        hosts.append(AnsibleHost(host, request, tuple(files)))
    return AnsibleInventory(
        cluster=inventory.cluster,
        founder=inventory.founder.name,
        hosts=tuple(hosts),
        expectation=encode(wanted),
        known_hosts=proof,
        command=bootstrap.COMMAND,
        loader=bootstrap.loader_line(),
        program=program.data,
        sha256=program.sha256,
        ca_hash=situation.record.ca_hash if situation.record is not None else "",
    )


def known_hosts_text(inventory: Inventory, committed: str) -> str:
    """PURE: return what proves the hosts and jump hosts to OpenSSH.

    Where the cluster file or the provider names keys, they and no others count; for all else it is the team's file.
    """
    endpoints = [endpoint for host in inventory.hosts for endpoint in _with_jump(host.endpoint)]
    lines = [known_hosts.entry(one.address, one.port, key) for one in endpoints for key in one.host_keys]
    if all(endpoint.host_keys for endpoint in endpoints):
        committed = ""
    return "".join(f"{line}\n" for line in dict.fromkeys((*lines, *committed.splitlines())))


def _with_jump(endpoint: Endpoint) -> tuple[Endpoint, ...]:
    return (endpoint,) if endpoint.jump is None else (endpoint, *_with_jump(endpoint.jump))
