"""Kills in the middle of an apply of one server and two agents: the next plain apply ends well, always at the same end.

A kill happens right after the n-th event that pk3s tells, drawn from a seed, never at a wall time. Killed is pk3s
itself, or the host program on the machine whose event it was. `make test` has one run with three kills after each
other on one set of machines; the sweep of `make soak` has fresh machines for each kill.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import pytest

import lab_bed
from lab_bed import Machine
from pk3s_bed import Done, Running, Site
from productive_k3s_infra.providers.local import leftovers, machines

pytestmark = pytest.mark.live

NAMES = ("server-1", "agent-1", "agent-2")
# An apply from nothing tells at least this many events; those of waiting come on top.
EVENTS = 55
# A host's own events while its program runs there.
HOST_EVENT = re.compile(r"^ +… +(?P<host>\S+) +(push k|install |link |write |enable |start k|wait for |unit )")
EVENT = re.compile(r"^ +(…|done) +(?P<subject>\S+) ")
CA = "/var/lib/rancher/k3s/server/tls/server-ca.crt"

# Prints what lies on a machine: path -> [mode, owner, what]. Of secrets only that they are there.
LOOK = r"""
import hashlib, json, os
found = {}
for top in TOPS:
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            s = os.lstat(path)
            if os.path.islink(path):
                what = "-> " + os.readlink(path)
            elif os.path.isdir(path):
                what = "folder"
            elif name.endswith((".token", "k3s.yaml", "password")):
                what = "secret"
            elif name.endswith(".pyz"):
                path, what = os.path.join(folder, "<its digest>.pyz"), "program"
            else:
                data = open(path, "rb").read()
                what = data.decode() if len(data) < 20000 else hashlib.sha256(data).hexdigest()
            found[path] = [oct(s.st_mode), s.st_uid, what]
print(json.dumps(found))
"""
TOPS = ("/etc/rancher", "/etc/systemd/system", "/usr/local", "/var/lib/rancher/k3s/agent/images")

Whom = Literal["pk3s", "program"]


@dataclass(frozen=True)
class Kill:
    """Whom to kill after which event; only events about one host count if it is named."""

    whom: Whom
    event: int
    about: str = ""

    def counts(self, line: str) -> bool:
        """Whether this line is an event to count."""
        found = EVENT.match(line)
        return found is not None and self.about in ("", found["subject"])


def kill_during(site: Site, kill: Kill) -> tuple[str, Done]:
    """Begin an apply, kill at the event, and return the event's line and how the apply ended."""
    running = site.begin("apply", "--yes")
    where = (_kill_pk3s if kill.whom == "pk3s" else _kill_program)(site, running, kill)
    done = running.end()
    assert where, f"the apply ended before event {kill.event}:\n{done}"
    if kill.whom == "pk3s":
        assert done.code == -9, done
    else:
        # One clear error that says where and what to do; only what needs this host was not done.
        assert done.code == 5, done
        assert "so it is not known what" in done.out, done
        assert "next: run pk3s again" in done.out, done
    return where, done


def _kill_pk3s(_: Site, running: Running, kill: Kill) -> str:
    told = 0
    for line in running.lines():
        told += kill.counts(line)
        if told == kill.event:
            running.process.kill()
            return line
    return ""


def _kill_program(site: Site, running: Running, kill: Kill) -> str:
    """From that event on kill the program of the first host that says something and still runs it."""
    told = 0
    for line in running.lines():
        told += kill.counts(line)
        found = HOST_EVENT.match(line)
        if told >= kill.event and found and kill.about in ("", found["host"]) and _killed(site, found["host"]):
            return line
    return ""


def _killed(site: Site, host: str) -> bool:
    """Kill the host's program, which may be a moment from running: what is pushed is told before it begins."""
    with suppress(AssertionError):
        return lab_bed.until(lambda: site.kill_program(host), 3, f"the program runs on {host}")
    return False


@dataclass(frozen=True)
class Identity:
    """What must never change once it is there: the CA, and the UIDs of Nodes."""

    ca: str
    nodes: dict[str, str]

    def must_be_kept_in(self, later: Identity) -> None:
        assert not self.ca or later.ca == self.ca
        assert {name: later.nodes.get(name) for name in self.nodes} == self.nodes


def identity(site: Site) -> Identity:
    """Look at what there is of a cluster, also at half of one."""
    server = next((one for one in site.machines if one.name == "server-1" and one.state == "running"), None)
    if server is None or not (site.workspace / "operator_key.pub").exists():
        return Identity("", {})
    ca = site.bed.try_ssh(server, f"cat {CA}").stdout
    admin = site.bed.try_ssh(server, "cat /etc/rancher/k3s/k3s.yaml").stdout
    return Identity(hashlib.sha256(ca.encode()).hexdigest() if ca else "", _nodes(site, server, admin))


def _nodes(site: Site, server: Machine, admin: str) -> dict[str, str]:
    if not admin:
        return {}
    kubeconfig = site.path / ".admin"
    kubeconfig.touch(0o600)
    kubeconfig.write_text(admin.replace("127.0.0.1", server.address))
    answer = site.try_kubectl("get", "nodes", "-o", "json", kubeconfig=kubeconfig)
    items = json.loads(answer.stdout)["items"] if answer.returncode == 0 else []
    return {node["metadata"]["name"]: node["metadata"]["uid"] for node in items}


def end_state(site: Site) -> dict[str, Any]:
    """Return what lies on the machines, the same for all clusters of this file: addresses are written as names."""
    script = LOOK.replace("TOPS", repr(TOPS))
    found = {name: site.bed.ssh(site.machine(name), "python3 -", data=script.encode()) for name in NAMES}
    units = {name: site.on(name, f"systemctl is-enabled {unit}; systemctl is-active {unit}") for name, unit in UNITS}
    text = json.dumps({"files": {name: json.loads(said) for name, said in found.items()}, "units": units})
    for machine in site.machines:
        text = re.sub(rf"{re.escape(machine.address)}\b", f"<{machine.name}>", text)
    state: dict[str, Any] = json.loads(text)
    return state


UNITS = (("server-1", "k3s"), ("agent-1", "k3s-agent"), ("agent-2", "k3s-agent"))


def finish(site: Site, before: Identity) -> dict[str, Any]:
    """Run plain applies to the end and return the state; what was there before must be there still."""
    done = site.pk3s("apply", "--yes")
    assert done.code == 0, done
    before.must_be_kept_in(identity(site))
    assert "Nothing to change." in site.expect(0, "plan", "--exit-code").out
    nodes = {node["metadata"]["name"] for node in site.get("nodes")}
    assert nodes == set(NAMES)
    left = [path for path in site.path.rglob("*.part") if path.is_file()]
    assert left == []
    return end_state(site)


def require_plain(state: dict[str, Any]) -> None:
    """Of no run is anything left over, and every machine has what it needs."""
    for name, unit in UNITS:
        files = state["files"][name]
        left = [path for path in files if re.search(r"\.(partial|new|part)$|\.pyz\.|/artifacts/", path)]
        assert left == [], f"{name}: {left}"
        assert state["units"][name] == "enabled\nactive"
        assert {"/usr/local/bin/k3s", "/etc/rancher/k3s/config.yaml", f"/etc/systemd/system/{unit}.service"} <= set(
            files
        )
    assert without_names(state, "agent-1") == without_names(state, "agent-2")


def without_names(state: dict[str, Any], name: str) -> str:
    return json.dumps(state["files"][name], sort_keys=True).replace(name, "<itself>")


@pytest.mark.timeout(900)
def test_three_kills_in_one_making(new_site: Callable[..., Site]) -> None:
    """pk3s while machines are made or artefacts pushed, the program at the server's work, pk3s or it at an agent's."""
    chance = random.Random(7)
    site = new_site()
    told = []
    before = Identity("", {})
    for kill in (
        Kill("pk3s", chance.randint(1, 15)),
        Kill("program", chance.randint(2, 16), "server-1"),
        Kill(chance.choice(("pk3s", "program")), chance.randint(2, 12), "agent-1"),
    ):
        where, _done = kill_during(site, kill)
        told.append((kill, where.strip()))
        now = identity(site)
        before.must_be_kept_in(now)
        before = now
    print(*told, sep="\n")
    require_plain(finish(site, before))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_sweep_of_kills_always_ends_the_same(new_site: Callable[..., Site]) -> None:
    """Twenty-four kills, each on fresh machines: the end is that of an apply that nobody disturbed."""
    chance = random.Random(42)
    site = new_site()
    expected = finish(site, Identity("", {}))
    require_plain(expected)
    kills = [Kill(whom, chance.randint(1, EVENTS)) for whom in ("pk3s", "program") for _ in range(12)]
    chance.shuffle(kills)
    for kill in kills:
        machines.destroy(site.set)
        (site.path / "cluster.lock").unlink()
        (site.workspace / "kubeconfig").unlink()
        where, _done = kill_during(site, kill)
        print(kill, where.strip(), flush=True)
        state = finish(site, identity(site))
        assert state == expected, differences(state, expected)


def differences(state: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Name the files that differ."""
    found = []
    for name in NAMES:
        here, there = state["files"][name], expected["files"][name]
        found += [f"{name}: {path}" for path in sorted({*here, *there}) if here.get(path) != there.get(path)]
    return found


def is_ending(site: Site, namespace: str) -> bool:
    """Return whether a namespace is being deleted, or gone meanwhile."""
    words = f"kubectl get namespace {namespace} --ignore-not-found --output 'jsonpath={{.metadata.deletionTimestamp}}/'"
    return site.on("server-1", words) != "/"


def test_interrupted_ends_in_order(new_site: Callable[..., Site]) -> None:
    """Ctrl-C at a change of the server: the host finishes that change, pk3s ends with 130; the next apply goes on.

    Ctrl-C while an agent joins: the validation that has begun meanwhile takes its pods away. Then a server that went as
    a whole is refused as a second cluster, and destroy asks and leaves nothing.
    """
    site = new_site(agents=1)
    running = site.begin("apply", "--yes")
    running.until(r"server-1 +start k3s ")
    running.process.send_signal(2)
    done = running.end()
    assert done.code == 130, done
    assert "run.interrupted" in done.err
    assert "journal: " in done.err
    before = identity(site)

    running = site.begin("apply", "--yes")
    # The first look at the nodes; the pods are made by then.
    running.until(r" server-1 +(server|agent)-1 is ")
    running.process.send_signal(2)
    assert running.end().code == 130
    pods = "kubectl get pods --all-namespaces --output name"
    lab_bed.until(lambda: "trial-" not in site.on("server-1", pods), 60, "the pods of the validation are gone")
    namespaces = site.on("server-1", "kubectl get namespaces --output 'jsonpath={.items[*].metadata.name}'").split()
    assert all(is_ending(site, name) for name in namespaces if name.startswith("productive-k3s-"))

    site.expect(0, "apply", "--yes")
    before.must_be_kept_in(identity(site))

    machines.destroy(site.set, ["server-1"])
    refused = site.expect(4, "apply", "--yes").out
    assert "cluster.second" in refused
    assert [machine.name for machine in site.machines] == ["agent-1"]

    with site.on_terminal("destroy") as person:
        person.until("Type the cluster's name (local)")
        person.type("local")
        assert person.end() == 0, person.shown
    assert leftovers.leftovers(site.set) == ()
    assert "machine agent-1, with its disk" in person.shown
    assert not (site.path / "cluster.lock").exists()
    assert sorted(path.name for path in site.workspace.iterdir()) == [
        "journal",
        "lock",
        "operator_key",
        "operator_key.pub",
    ]
    assert "Nothing to destroy" in site.expect(0, "destroy").out
