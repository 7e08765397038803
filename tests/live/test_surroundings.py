"""A server and an agent with all that a team's network asks for, from the first start on.

Names in /etc/hosts (the agent's is cloud-init's, which writes it anew at each boot), and one of them is where the agent
joins; a proxy that does not answer, so that whatever should go around it must; a public address that no interface has;
two interfaces on the server. Registries are planned only: the lab K3s refuses to start with a registries.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab_bed import Bed, Machine, Release
from live.fingerprint import differences, fingerprint
from live.onprem_bed import ONE_LINE, Onprem, make_onprem
from pk3s_bed import Done, Sampler, Site
from productive_k3s_infra.providers.local.machines import MachineRequest

PASSWORD = "hunter2-of-the-proxy"
REGISTRY_PASSWORD = "hunter2-of-the-registry"
PUBLIC = "203.0.113.7"
JOIN = "k3s.internal"
TEMPLATE = "/etc/cloud/templates/hosts.debian.tmpl"
ENVIRONMENT = {
    "server-1": "/etc/systemd/system/k3s.service.env",
    "agent-1": "/etc/systemd/system/k3s-agent.service.env",
}
REGISTRIES = {
    "mirrors": {"docker.io": {"endpoint": ["https://mirror.invalid:5000"]}},
    "configs": {"mirror.invalid:5000": {"auth": {"username": "ops", "password": "${REGISTRY_PASSWORD}"}}},
}
# What cloud-init does at each boot, with this template.
BOOT = f"sed 's/{{{{fqdn}}}}/agent-1.example/' {TEMPLATE} > /etc/hosts"


@dataclass(frozen=True)
class Life:
    """What was seen, in this order."""

    onprem: Onprem
    nodes: Mapping[str, Machine]
    vectors: frozenset[bytes]
    applied: Done
    hosts: Mapping[str, str]
    variables: Mapping[str, str]
    running: Mapping[str, str]
    names: str
    external: str
    advertised: str
    again: Done
    after_boot: Done
    without: Done
    mirrored: Done
    written: str
    destroyed: Done
    touched: Mapping[str, list[str]]


def write(onprem: Onprem, nodes: Mapping[str, Machine], *, hosts_file: bool = True, **k3s: object) -> Site:
    more = {"server-1": {"publicAddress": PUBLIC}}
    return onprem.write(
        *(onprem.node(name, one, **more.get(name, {})) for name, one in nodes.items()),
        hosts_file=hosts_file,
        registrationAddress=JOIN,
        apiAddress=nodes["server-1"].address,
        proxy={"https": "http://ops:${PROXY_PASSWORD}@127.0.0.1:9", "http": "http://127.0.0.1:9"},
        **k3s,
    )


@pytest.fixture(scope="module")
def life(module_lab: Bed, k3s_release: Release, kubectl_tool: Path, tmp_path_factory: pytest.TempPathFactory) -> Life:
    bed = module_lab
    requests = [MachineRequest(name, extra_user="ops", sudoers=ONE_LINE) for name in ENVIRONMENT]
    nodes = {one.name: one for one in bed.create("around", *requests)}
    server, agent = nodes.values()
    bed.put_all(
        agent,
        {
            "/etc/cloud/cloud.cfg": ("manage_etc_hosts: true\n", 0o644),
            TEMPLATE: ("## template:jinja\n127.0.1.1 {{fqdn}} agent-1\n127.0.0.1 localhost\n", 0o644),
        },
        f"{BOOT}",
    )
    bed.ssh(server, "ip link add second type bridge && ip addr add 198.51.100.1/24 dev second && ip link set second up")
    before = {name: fingerprint(bed, one) for name, one in nodes.items()}
    onprem = make_onprem(tmp_path_factory.mktemp("around") / "site", bed, k3s_release, kubectl_tool)
    onprem.site.environment.update(PROXY_PASSWORD=PASSWORD, REGISTRY_PASSWORD=REGISTRY_PASSWORD)
    site = write(onprem, nodes)

    def on_both(command: str) -> dict[str, str]:
        return {name: bed.ssh(one, command) for name, one in nodes.items()}

    with Sampler() as sampler:
        applied = site.expect(0, "apply", "--yes")
    unit = "$(systemctl show -p MainPID --value k3s k3s-agent 2>/dev/null | grep -v '^0*$' | head -1)"
    found = {
        "applied": applied,
        "vectors": frozenset(sampler.vectors),
        "hosts": on_both("cat /etc/hosts"),
        "variables": {
            name: bed.ssh(one, f"stat -c %a {ENVIRONMENT[name]}; cat {ENVIRONMENT[name]}")
            for name, one in nodes.items()
        },
        "running": on_both(f"tr '\\0' '\\n' < /proc/{unit}/environ"),
        "names": bed.ssh(
            server,
            "openssl s_client -connect 127.0.0.1:6443 </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName",
        ),
        "external": str([node["status"]["addresses"] for node in site.get("nodes")]),
        "advertised": site.kubectl("get", "endpoints", "kubernetes", "-o", "jsonpath={..ip}"),
        "again": site.pk3s("plan", "--exit-code"),
    }
    bed.ssh(agent, BOOT)
    found["after_boot"] = site.pk3s("plan", "--exit-code")
    found["without"] = write(onprem, nodes, hosts_file=False).pk3s("plan")
    found["mirrored"] = write(onprem, nodes, registries=REGISTRIES).pk3s("plan", "--full")
    found["written"] = "".join(path.read_text(errors="replace") for path in site.workspace.rglob("*") if path.is_file())
    found["destroyed"] = site.pk3s("destroy", "--yes")
    touched = {name: differences(before[name], fingerprint(bed, one)) for name, one in nodes.items()}
    return Life(onprem, nodes, touched=touched, **found)  # type: ignore[arg-type]


def test_the_cluster_works_around_a_dead_proxy(life: Life) -> None:
    assert "valid (full" in life.applied.out
    server, agent = (life.nodes[name].address for name in ENVIRONMENT)
    network = server.rpartition(".")[0]
    for name, text in life.variables.items():
        assert text.splitlines()[0] == "600"
        assert f"HTTPS_PROXY=http://ops:{PASSWORD}@127.0.0.1:9" in text
        assert f"{network}." in text.partition("NO_PROXY=")[2]
        assert ("10.43.0.0/16" in text) is (name == "agent-1")
        assert f"HTTPS_PROXY=http://ops:{PASSWORD}@127.0.0.1:9" in life.running[name].splitlines()
    assert agent not in life.variables["server-1"]


def test_registries_are_shown_without_their_password(life: Life) -> None:
    assert life.mirrored.code == 0, life.mirrored
    assert life.mirrored.out.count("restart:k3s") == 2  # of k3s, and of k3s-agent
    # The file is the same on both hosts, and shown once.
    assert life.mirrored.out.count("https://mirror.invalid:5000") == 1
    assert life.mirrored.out.count("password: '***'") == 1


def test_names_lead_to_the_nodes_on_every_host(life: Life) -> None:
    server, agent = (life.nodes[name].address for name in ENVIRONMENT)
    for text in life.hosts.values():
        lines = text.splitlines()
        begin = next(number for number, line in enumerate(lines) if line.startswith("# BEGIN productive-k3s"))
        assert lines[begin + 1 : begin + 4] == [f"{server} server-1 {JOIN}", f"{agent} agent-1", "# END productive-k3s"]
    assert "127.0.1.1 agent-1.example" in life.hosts["agent-1"]


def test_the_public_address_is_in_the_certificate_and_nowhere_else(life: Life) -> None:
    server = life.nodes["server-1"].address
    for name in (PUBLIC, JOIN, server):
        assert name in life.names
    assert PUBLIC not in life.external
    assert "198.51.100.1" not in life.external
    assert life.advertised == server


def test_a_second_plan_is_empty_also_after_a_boot(life: Life) -> None:
    for done in (life.again, life.after_boot):
        assert done.code == 0, done
        assert "Nothing to change." in done.out


def test_without_the_wish_the_names_go_and_nothing_restarts(life: Life) -> None:
    assert life.without.code == 0, life.without
    assert f"hosts:{TEMPLATE}" in life.without.out
    assert "the names of the nodes are no longer needed" in life.without.out
    assert "restart" not in life.without.out


def test_no_password_is_shown_or_kept(life: Life) -> None:
    said = "".join(
        f"{done.out}{done.err}" for done in (life.applied, life.again, life.without, life.mirrored, life.destroyed)
    )
    for password in (PASSWORD, REGISTRY_PASSWORD):
        assert password not in said
        assert password not in life.written
        assert not [vector for vector in life.vectors if password.encode() in vector]


def test_removal_leaves_the_hosts_as_they_were(life: Life) -> None:
    assert life.destroyed.code == 0, life.destroyed
    # As on every other interface, the kernel keeps forwarding on the one that this test added.
    left = {
        name: [item for item in found if "conf.second.forwarding" not in item] for name, found in life.touched.items()
    }
    assert left == {name: [] for name in ENVIRONMENT}
