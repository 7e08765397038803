"""Simulated machines for tests of what reads them: Debian 12 as its kernel's files and its tools show it."""

from __future__ import annotations

import json

from productive_k3s.contract.facts import ClusterFacts, Facts
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.doors.system import Completed
from productive_k3s.facts.gather import gather
from productive_k3s.k3s import paths
from productive_k3s_infra.rehearse.clock import SteppingClock
from productive_k3s_infra.rehearse.system import Command, SimulatedSystem
from static.contract_program.hosts import desired_files, server

NOW = 1_800_000_000.0
# 2027-01-15 08:00:00 UTC is NOW.
STARTED = "Fri 2027-01-15 07:00:00.250000 UTC"
STARTED_SECONDS = NOW - 3600 + 0.25
ADDRESSES = [
    {"ifname": "lo", "flags": ["LOOPBACK", "UP"], "link_type": "loopback", "address": "00:00:00:00:00:00",
     "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
    {"ifname": "eth0", "flags": ["BROADCAST", "UP"], "link_type": "ether", "address": "52:54:00:00:00:01",
     "addr_info": [{"family": "inet", "local": "10.0.0.11", "prefixlen": 24, "scope": "global"},
                   {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}]},
]  # fmt: skip
ROUTES = [
    {"dst": "default", "gateway": "10.0.0.1", "dev": "eth0", "flags": []},
    {"dst": "10.0.0.0/24", "dev": "eth0", "scope": "link", "prefsrc": "10.0.0.11"},
]


class Units:
    """What systemctl says; units that nobody set are not found."""

    def __init__(self) -> None:
        self.properties: dict[str, dict[str, str]] = {}

    def set(self, name: str, **properties: str) -> None:
        self.properties.setdefault(f"{name}.service", {}).update(properties)

    def show(self, command: Command) -> Completed:
        names = [word for word in command.argv[2:] if word.endswith(".service")]
        blocks = [
            "\n".join(f"{key}={value}" for key, value in {"Id": name, **self._of(name)}.items()) for name in names
        ]
        return Completed(0, "\n\n".join(blocks) + "\n", "")

    def _of(self, name: str) -> dict[str, str]:
        missing = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "UnitFileState": ""}
        return {**missing, **self.properties.get(name, {})}


class Api:
    """An API that tells of its cluster."""

    def __init__(self, found: ClusterFacts | None) -> None:
        self._found = found

    async def cluster(self) -> ClusterFacts:
        assert self._found is not None
        return self._found


class Machine:
    """A simulated machine, its units and what its API would say."""

    def __init__(self) -> None:
        self.system = SimulatedSystem(SteppingClock(NOW))
        self.units = Units()
        self.cluster: ClusterFacts | None = None
        self.asked: list[str] = []
        self.system.put(
            {
                "/etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
                "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
                "/proc/1/comm": "systemd\n",
                "/proc/sys/kernel/hostname": "Node-1\n",
                "/proc/sys/kernel/osrelease": "6.1.0-31-arm64\n",
                "/proc/sys/kernel/arch": "aarch64\n",
                "/proc/meminfo": "MemTotal:        4096000 kB\nMemFree: 1 kB\nSwapTotal:        1024 kB\n",
                "/proc/self/mountinfo": "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n",
                "/proc/net/ip_tables_names": "",
                "/sys/devices/system/cpu/online": "0-3\n",
                "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
                "/usr/bin/python3": "",
            },
            changed=1000.0,
        )
        self.system.script("ip", "-json", "addr", stdout=json.dumps(ADDRESSES))
        self.system.script("ip", "-json", "route", stdout=json.dumps(ROUTES))
        self.system.script("ss", stdout="")
        self.system.script_process(("systemctl", "show"), self.units.show)

    def facts(self) -> Facts:
        """Look at the machine as the program does."""
        return run_to_end(gather(self.host()))

    def host(self) -> Host:
        """The doors of the machine."""
        return Host(self.system, self._kube, lambda _kind, _message, _change="": None)  # type: ignore[arg-type]

    def _kube(self, kubeconfig: str) -> Api:
        self.asked.append(kubeconfig)
        return Api(self.cluster)


class LiveMachine(Machine):
    """A server that this program set up an hour ago, and that runs."""

    def __init__(self) -> None:
        super().__init__()
        wish = server()
        bare = self.facts()
        for file in desired_files(wish, bare):
            self.system.put({file.path: file.text}, mode=file.mode, changed=NOW - 7200)
        self.system.put({paths.BINARY: b"the binary"}, mode=0o755, changed=NOW - 7200)
        self.system.script(paths.BINARY, "--version", stdout="k3s version v1.34.4+k3s1 (e060c0b1)\ngo version go1.26\n")
        self.units.set(
            "k3s",
            LoadState="loaded",
            ActiveState="active",
            SubState="running",
            UnitFileState="enabled",
            MainPID="77",
            NRestarts="2",
            InvocationID="i1",
            ExecMainStartTimestamp=STARTED,
            ActiveEnterTimestamp=STARTED,
            FragmentPath=paths.unit_file("k3s"),
            DropInPaths="",
            NeedDaemonReload="no",
        )
        self.cluster = ClusterFacts(True, "", "v1.34.4+k3s1", ())
