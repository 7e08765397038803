"""What hosts can have wrong, through pk3s: one clear error each with its remedy, and nothing done half.

No K3s is started here: the preflight and the vetoes refuse before anything is changed. What goes wrong later is in
test_bad_moments.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab_bed import CONFIG, Bed, Machine, Release
from live.fingerprint import differences, fingerprint
from live.onprem_bed import ONE_LINE, Onprem, found, make_onprem
from pk3s_bed import Done
from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.hosts.fleet.probing import probe_ports
from productive_k3s_infra.hosts.ssh.fleet import SshFleet
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory
from productive_k3s_infra.providers.local.machines import MachineRequest

MEBIBYTE = 1 << 20
NOISE = 'echo \'Welcome! {"type": "result"}\'; echo trouble >&2\n'


@dataclass(frozen=True)
class Hosts:
    """Good hosts, one on which sudo asks, one without Python, a jump host that forwards nothing, and bad disks."""

    onprem: Onprem
    server: Machine
    agent: Machine
    other: Machine
    asking: Machine
    bare: Machine
    gate: Machine
    small: Machine
    locked: Machine

    @property
    def bed(self) -> Bed:
        return self.onprem.bed

    @property
    def jump(self) -> dict[str, str]:
        return {"address": self.gate.address, "user": "ops", "hostKey": self.gate.host_key}


@pytest.fixture(scope="module")
def hosts(module_lab: Bed, k3s_release: Release, kubectl_tool: Path, tmp_path_factory: pytest.TempPathFactory) -> Hosts:
    onprem = make_onprem(tmp_path_factory.mktemp("hosts") / "site", module_lab, k3s_release, kubectl_tool)
    good = MachineRequest("server-1", extra_user="ops", sudoers=ONE_LINE)
    machines = module_lab.create(
        "bad",
        good,
        replace(good, name="agent-1"),
        replace(good, name="other"),
        replace(good, name="asking", sudoers=ONE_LINE.replace("NOPASSWD: ", "")),
        replace(good, name="bare"),
        replace(good, name="gate"),
        replace(good, name="small", disk_bytes=96 * MEBIBYTE),
        replace(good, name="locked", read_only=True),
    )
    made = Hosts(onprem, *machines)
    module_lab.ssh(made.bare, "mv /usr/bin/python3 /usr/bin/python3.away")
    module_lab.ssh(made.gate, "echo 'AllowTcpForwarding no' > /etc/ssh/sshd_config.d/no.conf; systemctl reload ssh")
    return made


@contextmanager
def untouched(hosts: Hosts, *machines: Machine) -> Iterator[None]:
    """Nothing may differ on these machines afterwards."""
    before = {machine.name: fingerprint(hosts.bed, machine) for machine in machines}
    yield
    for machine in machines:
        assert differences(before[machine.name], fingerprint(hosts.bed, machine)) == [], machine.name


def refused(done: Done) -> Done:
    assert "Refused: nothing was changed on any host." in done.out, done
    assert "journal: " in done.out
    return done


def test_hosts_that_cannot_be_asked_are_all_named_at_once(hosts: Hosts) -> None:
    """Each with its own cause; a host with a chatty shell beside them is asked, and left alone."""
    nowhere = hosts.server.address.rpartition(".")[0] + "."
    node, agent = hosts.onprem.node, hosts.agent

    def at(name: str, number: int, machine: Machine, **ssh: object) -> dict[str, object]:
        """The same machine again as a node of another address."""
        return node(name, machine, address=f"{nowhere}{number}", ssh={"address": machine.address, **ssh})

    site = hosts.onprem.write(
        node("server-1", hosts.server),
        node("agent-silent", agent, address=f"{nowhere}250"),
        at("agent-port", 249, agent, port=222),
        at("agent-user", 248, agent, user="nobody-we-know"),
        {**node("agent-key", hosts.other), "hostKey": hosts.gate.host_key},
        {key: value for key, value in node("agent-new", hosts.small).items() if key != "hostKey"},
        at("agent-jump", 245, agent, jump=hosts.jump),
        node("agent-sudo", hosts.asking),
        node("agent-bare", hosts.bare),
    )
    hosts.bed.put(hosts.server, "/etc/profile.d/noise.sh", NOISE, mode="644")
    hosts.bed.put(hosts.server, "/home/ops/.bashrc", NOISE, mode="644")
    hosts.bed.ssh(hosts.server, "chsh -s /bin/bash ops")
    assert "Welcome" in hosts.bed.ssh(hosts.server, "true", user="ops"), "the file is read"
    try:
        with untouched(hosts, hosts.server, agent):
            done = refused(site.expect(4, "apply", "--yes", "--no-probe"))
    finally:
        hosts.bed.ssh(hosts.server, "rm /etc/profile.d/noise.sh ~ops/.bashrc")
    expected = {
        "agent-silent": ("ssh.", "check the address"),
        "agent-port": ("ssh.refused", "port"),
        "agent-user": ("ssh.authentication", "authorized_keys"),
        "agent-key": ("ssh.host-key-changed", "if the host was recreated"),
        "agent-new": ("ssh.host-key-unknown", "known_hosts"),
        "agent-jump": ("ssh.jump-refused", "AllowTcpForwarding yes"),
        "agent-sudo": ("sudo.password-wanted", f"ops {ONE_LINE}"),
        "agent-bare": ("host.no-python", "apt-get install python3"),
    }
    for host, (code, remedy) in expected.items():
        shown = found(done, host, "host.reachable")
        assert shown.seen.startswith(f"seen: {code}"), shown
        assert remedy in shown.remedy, shown
    # Nothing is wrong with the server but what all lab machines lack: they have no resolver.
    of_server = [line for line in done.out.splitlines() if ": server-1: " in line]
    assert all(line.startswith("warning: ") and line.endswith("[host.nameserver]") for line in of_server), done
    assert not (site.path / "known_hosts").exists()


def test_findings_of_all_hosts_are_shown_at_once(hosts: Hosts) -> None:
    """Names, ids, ports, disks, files of others: one report, and the plan is good as soon as they are mended."""
    bed, server, agent, other = hosts.bed, hosts.server, hosts.agent, hosts.other
    site = hosts.onprem.write(
        hosts.onprem.node("server-1", server),
        hosts.onprem.node("agent-1", agent),
        hosts.onprem.node("agent-other", other),
        hosts.onprem.node("agent-small", hosts.small),
        hosts.onprem.node("agent-locked", hosts.locked),
    )
    machine_id = bed.ssh(other, "cat /etc/machine-id")
    listen = "systemd-run -q --unit=taken --service-type=exec python3 -m http.server 6443"
    bed.ssh(other, "hostname AGENT-1")
    bed.put(other, "/etc/machine-id", bed.ssh(agent, "cat /etc/machine-id") + "\n", mode="444")
    bed.ssh(server, listen)
    bed.put(server, CONFIG, "write-kubeconfig-mode: '0644'\n")
    bed.put(server, f"{CONFIG}.d/50-ours.yaml", "disable: [traefik]\n")
    try:
        with untouched(hosts, server, agent, other):
            done = refused(site.expect(4, "apply", "--yes", "--no-probe"))
            planned = site.expect(4, "plan")
    finally:
        bed.ssh(other, "hostname other")
        bed.put(other, "/etc/machine-id", machine_id + "\n", mode="444")
        bed.ssh(server, f"systemctl stop taken; rm -r {CONFIG}.d")
    for run in (done, planned):
        assert "hostnamectl" in found(run, "agent-1, agent-other", "host.hostname-unique").remedy
        assert "systemd-machine-id-setup" in found(run, "agent-1, agent-other", "host.machine-id").remedy
        port = found(run, "server-1", "net.ports-free")
        assert "tcp/6443 by python3" in port.what
        assert port.remedy == "next: stop what listens there"
        override = found(run, "server-1", "config.overridden")
        assert f"{CONFIG}.d/50-ours.yaml sets disable" in override.what
        assert "/var/lib/rancher" in found(run, "agent-small", "host.disk").remedy
        assert "read-write" in found(run, "agent-locked", "host.writable").remedy
    # What somebody else wrote is shown before it is replaced.
    mended = hosts.onprem.write(hosts.onprem.node("server-1", server), hosts.onprem.node("agent-1", agent))
    try:
        shown = mended.expect(0, "plan", "--full").out
        assert "not written by productive-k3s" in shown
        assert "-write-kubeconfig-mode: '0644'" in shown
    finally:
        bed.ssh(server, f"rm -r {Path(CONFIG).parent}")


def test_a_release_unlike_its_checksums_is_refused_before_any_host_is_changed(hosts: Hosts, tmp_path: Path) -> None:
    release = hosts.onprem.site.release
    folder = tmp_path / release.version
    folder.mkdir()
    for path in release.binary.parent.iterdir():
        if path.name.startswith("sha256sum"):
            (folder / path.name).write_text(path.read_text().replace(release.sha256(), "0" * 64))
        else:
            (folder / path.name).symlink_to(path)
    site = hosts.onprem.write(hosts.onprem.node("server-1", hosts.server), artifacts={"source": str(tmp_path)})
    with untouched(hosts, hosts.server):
        done = site.expect(2, "apply", "--yes")
    assert "[artifact.checksum]" in done.err
    assert "k3s does not match its checksum file" in done.err
    assert "next: copy the release again" in done.err
    assert "journal: " in done.err


async def test_the_probe_lets_go_of_the_ports_before_it_returns(hosts: Hosts) -> None:
    """K3s starts next, and must find them free."""
    machines = {"server-1": hosts.server, "agent-1": hosts.agent}
    inventory = Inventory("ports", tuple(_host(hosts.bed, name, machine) for name, machine in machines.items()))
    targets = {"server-1": ("tcp/6443", "tcp/10250", "udp/8472"), "agent-1": ("tcp/10250", "udp/8472")}
    fleet = SshFleet(
        inventory,
        program=build_program(),
        known_hosts=None,
        trust=lambda _host, _keys: False,
        ask_sudo=lambda _host: None,
        openssh=OpenSsh("none"),
    )
    try:
        probes = await probe_ports(inventory, targets, fleet)
        left = {name: hosts.bed.ssh(machine, "ss -Hltnup") for name, machine in machines.items()}
    finally:
        await fleet.close()
    assert [probe for probe in probes if probe.cause] == []
    assert len(probes) == 5
    for name, text in left.items():
        assert ":22 " in text
        assert [line for line in text.splitlines() if any(f":{port} " in line for port in (6443, 10250, 8472))] == [], (
            name
        )


def _host(bed: Bed, name: str, machine: Machine) -> Host:
    endpoint = Endpoint(machine.address, "ops", machine.ssh_port, str(bed.key), (machine.host_key,))
    return Host(name, "server" if name.startswith("server") else "agent", machine.address, endpoint)


def test_the_journal_of_a_refusal_has_every_finding(hosts: Hosts) -> None:
    site = hosts.onprem.write(hosts.onprem.node("server-1", hosts.server), hosts.onprem.node("agent-s", hosts.small))
    document = site.expect(4, "apply", "--yes", "--no-probe", "-o", "json").document
    (finding,) = [
        item for item in document["preflight"]["checks"] if not item["passed"] and item["severity"] == "error"
    ]
    assert (finding["id"], finding["subject"]) == ("host.disk", "agent-s")
    told = [json.loads(line) for line in Path(document["journal"]).read_text().splitlines()]
    assert finding in [
        check for line in told if line["kind"] == "report" for check in line["fields"]["report"]["checks"]
    ]
    assert document["exit_code"] == 4
    assert document["results"] == []
