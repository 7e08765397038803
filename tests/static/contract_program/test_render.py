"""The files that K3s reads, as text, and what an install script's host has beside them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from productive_k3s.contract.request import Request
from productive_k3s.k3s import config_file, header, paths, unit_file
from productive_k3s.plan import render
from productive_k3s.plan.desired import desired_state
from productive_k3s.plan.effective import effective_state
from static.contract_program.hosts import agent, desired_files, fresh, server, with_config

HEADER = "# Written by productive-k3s, schema 1. Changes made here are shown and replaced by its next run.\n"


def config_text(request: Request) -> str:
    return next(file.text for file in desired_files(request, fresh()) if file.path == paths.CONFIG)


def test_first_server() -> None:
    wish = server(
        tls_san=("k3s.example",), labels={"disk": "ssd"}, taints=("a=b:NoSchedule",), config={"disable": ["traefik"]}
    )
    assert config_text(wish) == HEADER + (
        "node-name: node-1\n"
        "node-ip: 10.0.0.11\n"
        "flannel-iface: eth0\n"
        "cluster-init: true\n"
        "token-file: /etc/rancher/k3s/server.token\n"
        "agent-token-file: /etc/rancher/k3s/agent.token\n"
        "tls-san:\n- k3s.example\n"
        "node-label:\n- disk=ssd\n"
        "node-taint:\n- a=b:NoSchedule\n"
        "disable:\n- traefik\n"
    )


def test_sqlite_does_not_initialise_etcd() -> None:
    assert "cluster-init" not in config_text(server(datastore="sqlite"))


def test_agent_names_the_token_file_and_holds_no_token() -> None:
    assert config_text(agent(node_ip="192.168.9.5")) == HEADER + (
        "node-name: node-1\n"
        "node-ip: 192.168.9.5\n"
        "flannel-iface: eth1\n"
        "server: https://10.0.0.11:6443\n"
        "token-file: /etc/rancher/k3s/agent.token\n"
    )


def test_what_is_written_stays_where_the_request_is_silent() -> None:
    there = with_config(fresh(), "node-ip: 192.168.9.5\n")
    values = desired_state(server(), effective_state(server(), there)).config
    assert (values["node-ip"], values["flannel-iface"]) == ("192.168.9.5", "eth1")


@pytest.mark.parametrize(("role", "name"), [("server", "k3s"), ("agent", "k3s-agent")])
def test_unit_directives_equal_the_install_script_s(role: str, name: str) -> None:
    fixture = json.loads((Path(__file__).parent / "install-script-unit.json").read_text())
    wanted = [
        (section, key, value.replace("NAME", name).replace("ROLE", role))
        for section, key, value in fixture["directives"]
    ]
    assert list(unit_file.directives(render.unit(role, name))) == wanted


def test_unit_meaning_ignores_arguments_and_sees_directives() -> None:
    ours = render.unit("server", "k3s")
    flags = ours.replace("k3s server\n", "k3s \\\n    server \\\n\t'--debug' \\\n\n")
    assert unit_file.meaning((ours,)) == unit_file.meaning((f"# a word\n{flags}",))
    assert unit_file.meaning((ours,)) != unit_file.meaning((ours.replace("KillMode=process", "KillMode=mixed"),))
    assert unit_file.meaning((ours,)) != unit_file.meaning((ours.replace("k3s server", "k3s agent"),))


@pytest.mark.parametrize("value", ["http://user:p$w d@10.0.0.1", 'with "quotes" and \\', "plain", ""])
def test_environment_survives_its_file(value: str) -> None:
    text = render.environment({"HTTP_PROXY": value})
    assert unit_file.environment(text)["HTTP_PROXY"] == value
    assert text.count("\n") == 1


def test_schema_is_read_back() -> None:
    assert header.schema_of(HEADER) == 1
    assert header.schema_of("# Written by productive-k3s, schema 12. x") == 12
    assert header.schema_of("# by hand") == 0


@pytest.mark.parametrize("name", ["k3s-killall.sh", "k3s-uninstall.sh"])
def test_scripts_are_posix_shell(name: str) -> None:
    text = next(
        file.text
        for file in desired_files(agent(), fresh())
        if file.path.endswith(name.replace("k3s-u", "k3s-agent-u"))
    )
    shell = shutil.which("dash") or "sh"
    assert subprocess.run([shell, "-n"], input=text, text=True, check=False, capture_output=True).stderr == ""
    assert "@UNIT@" not in text
    assert "K3S_DATA_DIR" in text


def test_no_rendered_file_holds_a_token() -> None:
    for file in desired_files(agent(), fresh()):
        assert "K10" not in file.text


def test_merge_follows_k3s_rules() -> None:
    files = [
        ("config.yaml", "disable: [traefik]\ndebug: true\nkubelet-arg: [a=1]\n"),
        ("config.yaml.d/1.yaml", "disable+: servicelb\nkubelet-arg: [b=2]\n"),
        ("config.yaml.d/2.yaml", "debug: false\n"),
    ]
    found = config_file.merge(files, ("--kubelet-arg", "c=3", "--kubelet-arg=d=4", "--debug"))
    assert found.values["disable"] == ["servicelb", "traefik"]
    assert found.values["kubelet-arg"] == ["c=3", "d=4"]
    assert found.values["debug"] == ["true"]
    assert found.sources == {"disable": "config.yaml.d/1.yaml", "debug": "unit", "kubelet-arg": "unit"}


@pytest.mark.parametrize(
    ("text", "where"), [("a: 1\n\tb: 2\n", "c.yaml:2"), ("- a\n", "c.yaml"), ("a: [\n", "c.yaml:2")]
)
def test_an_unreadable_config_says_where(text: str, where: str) -> None:
    with pytest.raises(config_file.ConfigUnreadable, match=where.replace(".", r"\.")):
        config_file.load(text, "c.yaml")


def test_config_is_yaml_that_reads_back() -> None:
    wish = server(config={"kubelet-arg": ["a=#b", "c: d"], "tls-san-security": False, "advertise-port": 6443})
    document = yaml.safe_load(config_text(wish))
    assert document["kubelet-arg"] == ["a=#b", "c: d"]
    assert document["tls-san-security"] is False
