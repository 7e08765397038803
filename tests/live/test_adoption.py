"""A cluster that K3s' install script made, then a cluster file for it: taken as it is, and moved as a whole when asked.

One agent was given a wrong token by hand; the apply that is to move the others' flags makes it join, too.
"""

from __future__ import annotations

from pathlib import Path

import lab_bed
from install_script import install
from lab_bed import CONFIG, Bed, Machine, Release
from live.onprem_bed import make_onprem
from productive_k3s_infra.providers.local.machines import MachineRequest

PASSWORD = "the-password-that-a-person-chose"
ENVIRONMENT = "/etc/systemd/system/k3s-agent.service.env"


def unit(machine: Machine) -> str:
    return lab_bed.unit_of(machine.name.partition("-")[0])


def test_what_the_install_script_left_is_taken_as_it_is(
    lab: Bed, k3s_release: Release, kubectl_tool: Path, tmp_path: Path
) -> None:
    server, agent, wrong = made = lab.create("adopt", *(MachineRequest(n) for n in ("server-1", "agent-1", "agent-2")))
    lab_bed.place(lab, k3s_release, *made)
    flags = [word for name in lab_bed.NOTHING_PACKAGED for word in ("--disable", name)]
    install(lab, server, "server", "--cluster-init", *flags, K3S_TOKEN=PASSWORD)
    url = f"https://{server.address}:6443"
    install(lab, agent, "agent", K3S_TOKEN=PASSWORD, K3S_URL=url)
    install(lab, wrong, "agent", K3S_TOKEN="another-password", K3S_URL=url)
    lab_bed.until(lambda: lab_bed.ready_nodes(lab, server) == {"server-1", "agent-1"}, 90, "two nodes Ready")

    onprem = make_onprem(tmp_path / "site", lab, k3s_release, kubectl_tool)
    nodes = [onprem.node(one.name, one, ssh={"user": "root"}) for one in made]
    site = onprem.write(*nodes[:2])
    runs = {one.name: lab_bed.started(lab, one, unit(one)) for one in (server, agent)}
    uids = {node["metadata"]["name"]: node["metadata"]["uid"] for node in lab_bed.get(lab, server, "nodes")["items"]}

    planned = site.expect(3, "plan", "--exit-code").out
    assert "2 steps for " in planned
    assert "nothing is rewritten (on the unit: cluster-init, disable; in its environment file: token)" in planned
    assert "nothing is rewritten (in its environment file: server, token)" in planned
    taken = site.expect(0, "apply", "--yes", "-o", "json").document
    # They get the cluster's mark, through the API, and nothing else.
    done = {result["step"]: result["changes"] for result in taken["results"]}
    assert done == {"server-1/apply-server": ["label:server-1"], "agent-1/label-node": []}
    assert taken["report"]["passed"]
    assert {one.name: lab_bed.started(lab, one, unit(one)) for one in (server, agent)} == runs

    # Now something differs: what only the environment said goes to config.yaml and the token's file, in one restart.
    site = onprem.write(*nodes, agent={"kubelet-arg": ["max-pods=50"]})
    planned = site.expect(0, "plan").out
    assert "with <agent token of server-1>" in planned
    assert "server-1: nothing to do" in planned
    assert PASSWORD not in planned
    moved = site.expect(0, "apply", "--yes", "-o", "json").document
    done = {result["step"]: result["changes"] for result in moved["results"] if result["step"].startswith("agent-1")}
    assert done == {
        "agent-1/apply-agent": [
            "secret:/etc/rancher/k3s/agent.token",
            f"write:{CONFIG}",
            f"write:{ENVIRONMENT}",
            "restart:k3s-agent",
            "wait:k3s-agent",
            "watch:k3s-agent",
        ]
    }
    assert lab.ssh(agent, f"cat {ENVIRONMENT}") == ""
    assert f"server: {url}" in lab.ssh(agent, f"cat {CONFIG}")
    assert lab_bed.started(lab, server, "k3s") == runs["server-1"]
    found = {node["metadata"]["name"]: node["metadata"]["uid"] for node in site.get("nodes")}
    assert {name: found[name] for name in uids} == uids
    assert lab_bed.ready_nodes(lab, server) == {"server-1", "agent-1", "agent-2"}
    assert "Nothing to change." in site.expect(0, "plan", "--exit-code").out
