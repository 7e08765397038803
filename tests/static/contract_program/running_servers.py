"""Servers that run, as simulated machines: one that the install script and a person set up, one of this program's."""

from __future__ import annotations

from typing import Any

from install_script import unit_text
from productive_k3s.contract.facts import ClusterFacts, NodeFact
from productive_k3s.contract.request import Request
from productive_k3s.k3s import paths
from productive_k3s.plan.changes import Assessment, assess
from static.contract_program.hosts import desired_files, server
from static.contract_program.simulated import NOW, STARTED, STARTED_SECONDS, LiveMachine, Machine

LONG_AGO = NOW - 7200
VERSION = "v1.34.4+k3s1"


def ready(**values: Any) -> NodeFact:
    return NodeFact(**{
        "name": "node-1", "uid": "u", "ready": True, "schedulable": True, "roles": (), "version": VERSION,
        "internal_ip": "10.0.0.11", "heartbeat": NOW, **values,
    })  # fmt: skip


class Foreign(Machine):
    """A server that the install script set up long ago, with a config.yaml of a person's, and that runs."""

    def __init__(self, config: str, *, unit: str = "", drop_ins: dict[str, str] | None = None) -> None:
        super().__init__()
        drop_ins = drop_ins or {}
        script = "#!/bin/sh\nexit 1\n"
        self.put(
            {
                paths.BINARY: "the binary",
                paths.KILLALL: script,
                paths.uninstall_script("k3s"): script,
                paths.unit_file("k3s"): unit or unit_text("server"),
                paths.environment_file("k3s"): "",
                paths.CONFIG: config,
                f"{paths.DATA}/server/db/etcd/name": "node-1",
                f"{paths.DATA}/server/tls/server-ca.crt": "ca",
                f"{paths.NODE_PASSWORD_DIRECTORY}/password": "x",
                paths.CLUSTER_SERVER_TOKEN: f"K10{'a' * 64}::server:of-the-server",
                paths.CLUSTER_AGENT_TOKEN: f"K10{'a' * 64}::node:of-agents",
                **drop_ins,
            }
        )
        for name in paths.LINKS:
            self.system.put_link(f"/usr/local/bin/{name}", "k3s")
        self.system.script(paths.BINARY, "--version", stdout=f"k3s version {VERSION} (e060c0b1)\n")
        self.units.set(
            "k3s",
            LoadState="loaded",
            ActiveState="active",
            SubState="running",
            UnitFileState="enabled",
            MainPID="77",
            InvocationID="i1",
            ExecMainStartTimestamp=STARTED,
            ActiveEnterTimestamp=STARTED,
            FragmentPath=paths.unit_file("k3s"),
            DropInPaths=" ".join(path for path in drop_ins if path.startswith(paths.SYSTEMD_DIRECTORY)),
            NeedDaemonReload="no",
        )
        self.cluster = ClusterFacts(True, "", VERSION, (ready(),))

    def put(self, files: dict[str, str]) -> None:
        self.system.put(files, changed=LONG_AGO)

    def assess(self, **wishes: Any) -> Assessment:
        return assess(server(binary=None, **wishes), self.facts())


def ids(found: Assessment) -> list[str]:
    assert not found.vetoes, found.vetoes
    return [change.id for change in found.changes]


def codes(found: Assessment) -> list[str]:
    return [veto.code for veto in found.vetoes]


class Own(LiveMachine):
    """A member of etcd that this program set up with a request."""

    def __init__(self, request: Request, **node: Any) -> None:
        super().__init__()
        for file in desired_files(request, self.facts()):
            self.put({file.path: file.text})
        self.put(
            {
                f"{paths.DATA}/server/db/etcd/name": "node-1",
                f"{paths.DATA}/server/tls/server-ca.crt": "ca",
                paths.SERVER_TOKEN: "of-the-server\n",
                paths.AGENT_TOKEN: "of-agents\n",
                paths.CLUSTER_SERVER_TOKEN: f"K10{'a' * 64}::server:of-the-server\n",
            }
        )
        for name in paths.LINKS:
            self.system.put_link(f"/usr/local/bin/{name}", "k3s")
        self.cluster = ClusterFacts(True, "", VERSION, (ready(**node),))

    def put(self, files: dict[str, str]) -> None:
        self.system.put(files, changed=STARTED_SECONDS - 60)

    def assess(self, **wishes: Any) -> Assessment:
        return assess(wish(**wishes), self.facts())


def wish(**wishes: Any) -> Request:
    return server(binary=None, **wishes)
