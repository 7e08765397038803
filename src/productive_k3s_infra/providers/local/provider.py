"""The provider `local`: the nodes of one cluster file as a set of machines on this computer."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from productive_k3s.k3s.release import MACHINES
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.inventory.model import Endpoint, Location
from productive_k3s_infra.providers.local import cgroup, machines
from productive_k3s_infra.providers.local.kubelet import allow_cgroup_v1
from productive_k3s_infra.providers.local.store import DEFAULT_ROOT, MachineFolder, SetFolder
from productive_k3s_infra.providers.protocol import Assumption, OnProgress, Survey, SurveyedMachine
from productive_k3s_infra.providers.thread import in_thread
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.operator_key import ensure_operator_key

_NAME_LENGTH = 32


def _say_nothing(_: MachineFolder) -> None:
    """Nothing has to be said to a machine."""


def set_name(cluster: str, home: Path) -> str:
    """PURE: name the cluster's set. Two cluster files with one name, in two folders, are two clusters."""
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:6]
    return f"{cluster[:_NAME_LENGTH].rstrip('-')}-{digest}"


class LocalProvider:
    """Implements `Provider`. `key` is the path of the operator's private key.

    `public_key` returns its public side, and makes the pair if need be: it is asked only when machines are made.
    """

    def __init__(
        self,
        name: str,
        nodes: tuple[str, ...],
        key: Path,
        public_key: Callable[[], str],
        *,
        root: Path = DEFAULT_ROOT,
    ) -> None:
        self._name = name
        self._nodes = nodes
        self._key = key
        self._public_key = public_key
        self._root = root

    @classmethod
    def of(cls, spec: ClusterSpec, workspace: Workspace) -> LocalProvider:
        """Return the provider of a cluster file; the pair of keys lies in the cluster directory."""
        names = tuple(node.name for node in spec.nodes)
        name = set_name(spec.name, workspace.folder)
        return cls(name, names, workspace.operator_key, lambda: ensure_operator_key(workspace).public_text)

    async def survey(self) -> Survey:
        """See Provider."""
        found = await in_thread(machines.survey, self._name, root=self._root)
        by_name = {machine.name: machine for machine in found}
        declared = tuple(
            self._surveyed(by_name[name]) if name in by_name else SurveyedMachine(name, "missing")
            for name in self._nodes
        )
        extra = tuple(
            replace(self._surveyed(machine), state="extra") for machine in found if machine.name not in self._nodes
        )
        # A machine has the kernel of this computer, and the control groups too.
        architecture, version = MACHINES.get(platform.machine(), "amd64"), cgroup.version()
        assumption = Assumption(architecture=architecture, cgroup_version=version, allows_cgroup_v1=version == 1)
        return Survey(owns_machines=True, machines=(*declared, *extra), assumption=assumption)

    def _surveyed(self, machine: machines.Machine) -> SurveyedMachine:
        endpoint = Endpoint(
            machine.address, machine.ssh_user, machine.ssh_port, str(self._key), host_keys=(machine.host_key,)
        )
        return SurveyedMachine(machine.name, machine.state, Location(machine.address, endpoint))

    async def create(self, names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        """See Provider."""
        requests = [machines.MachineRequest(name) for name in names]
        # Before a machine starts, as this program may be killed at any time; of one that runs it may have been lost.
        told = allow_cgroup_v1 if cgroup.version() == 1 else _say_nothing
        await in_thread(
            machines.create,
            self._name,
            requests,
            self._public_key(),
            root=self._root,
            on_progress=on_progress,
            before_start=told,
        )
        for name in names:
            told(SetFolder(self._root, self._name).machine(name))
        return await self.survey()

    async def destroy(self, names: tuple[str, ...], on_progress: OnProgress) -> None:
        """See Provider."""
        if names:
            await in_thread(machines.destroy, self._name, names, root=self._root, on_progress=on_progress)

    async def destroy_all(self, on_progress: OnProgress) -> None:
        """See Provider."""
        await in_thread(machines.destroy, self._name, None, root=self._root, on_progress=on_progress)
