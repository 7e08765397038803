"""Cluster files for machines that a test made: pk3s sees hosts that exist, reached over SSH.

Onprem
    node(name, machine, **more)   one entry of `nodes`, reached as `ops` with the host's key in the file
    write(*nodes, **k3s)          the cluster file; `k3s` replaces keys of spec.k3s
    found(done, host, code)       the one finding or failure that a run shows of a host, as its three lines
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lab_bed
from lab_bed import Bed, Machine, Release
from pk3s_bed import Done, Site
from productive_k3s_infra.hosts.wire.refusals import sudoers_line

USER = "ops"
ONE_LINE = sudoers_line(USER).removeprefix(f"{USER} ")


@dataclass(frozen=True)
class Shown:
    """What a person reads of one failure."""

    what: str
    seen: str
    remedy: str


@dataclass(frozen=True)
class Onprem:
    """A folder with a cluster file for machines of a bed."""

    bed: Bed
    site: Site

    def node(self, name: str, machine: Machine, **more: Any) -> dict[str, Any]:
        """Return an entry of `nodes`; its role is in its name."""
        role = "server" if name.startswith("server") else "agent"
        ssh = {"port": machine.ssh_port} if machine.ssh_port != 22 else {}
        entry = {"name": name, "role": role, "address": machine.address, "hostKey": machine.host_key, "ssh": ssh}
        return {**entry, **more, "ssh": {**ssh, **more.get("ssh", {})}}

    def write(self, *nodes: dict[str, Any], hosts_file: bool = False, **k3s: Any) -> Site:
        """Write the cluster file and return the site."""
        release = self.site.release
        wanted: dict[str, Any] = {
            "version": release.version,
            "artifacts": {"source": str(release.directory)},
            "server": {"disable": lab_bed.NOTHING_PACKAGED},
        }
        spec = {
            "provider": {"kind": "onprem"},
            "ssh": {"user": USER, "key": str(self.bed.key)},
            "k3s": {**wanted, **k3s},
            "hostsFile": hosts_file,
            "nodes": list(nodes),
        }
        head = {"apiVersion": "productive-k3s/v1alpha1", "kind": "Cluster", "metadata": {"name": self.site.name}}
        self.site.file.write_text(json.dumps({**head, "spec": spec}, indent=1))
        return self.site


def make_onprem(path: Path, bed: Bed, release: Release, tool: Path, name: str = "onprem") -> Onprem:
    """Return a folder without a cluster file yet."""
    path.mkdir()
    return Onprem(bed, Site(path, release, tool, name))


def found(done: Done, host: str, code: str) -> Shown:
    """Return what is shown of a host's failure; it must be there once, with what was seen and what to do."""
    lines = f"{done.out}\n{done.err}".splitlines()
    # One cause is shown once, with the names of all its hosts.
    marks = ("error: ", "warning: ", "refused: ")
    at = [
        n
        for n, line in enumerate(lines)
        if line.startswith(marks)
        and {*host.split(", ")} <= {*line.split(": ")[1].split(", ")}
        and line.endswith(f"[{code}]")
    ]
    assert len(at) == 1, f"{host} [{code}] is shown {len(at)} times: {done}"
    seen = lines[at[0] + 1].strip()
    remedy = next(line.strip() for line in lines[at[0] :] if line.startswith("  next: "))
    assert seen.startswith("seen: "), done
    assert remedy.startswith("next: "), done
    return Shown(lines[at[0]], seen, remedy)
