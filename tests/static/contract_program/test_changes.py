"""What is done to a host, and why: case tables, and the promise that a run leaves nothing to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productive_k3s.contract.facts import Facts, FileFact, Listener, Running
from productive_k3s.contract.request import Artifact, HostEntry, Join, Request, Secrets
from productive_k3s.contract.secret import Secret
from productive_k3s.k3s import paths
from productive_k3s.plan import render
from productive_k3s.plan.changes import assess
from static.contract_program.hosts import (
    BINARY,
    CA,
    OTHER_CA,
    TOKEN,
    VERSION,
    after,
    agent,
    file,
    fresh,
    merged,
    on_k3s,
    server,
    unit_fact,
    with_config,
)


def ids(request: Request, facts: Facts) -> list[str]:
    assessment = assess(request, facts)
    assert not assessment.vetoes
    return [change.id for change in assessment.changes]


def run(request: Request, facts: Facts, stop_after: int | None = None) -> Facts:
    assessment = assess(request, facts)
    assert not assessment.vetoes, assessment.vetoes
    for change in assessment.changes[:stop_after]:
        facts = after(request, facts, change)
    return facts


def codes(request: Request, facts: Facts, *, planning: bool = False) -> list[str]:
    return [failure.code for failure in assess(request, facts, planning=planning).vetoes]


def test_first_server_from_nothing() -> None:
    assert ids(server(), fresh()) == [
        "binary",
        "links",
        "secret:/etc/rancher/k3s/server.token",
        "secret:/etc/rancher/k3s/agent.token",
        "write:/usr/local/bin/k3s-killall.sh",
        "write:/usr/local/bin/k3s-uninstall.sh",
        "write:/etc/rancher/k3s/config.yaml",
        "write:/etc/systemd/system/k3s.service.env",
        "write:/etc/systemd/system/k3s.service",
        "start:k3s",
        "enable:k3s",
        "wait:k3s",
    ]


_LABELS = st.dictionaries(st.sampled_from(["disk", "zone"]), st.sampled_from(["ssd", "a"]))
_CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "disable": st.sampled_from([["traefik"], ["traefik", "servicelb"], "traefik"]),
        "debug": st.booleans(),
        "kubelet-arg": st.just(["max-pods=50", "v=2"]),
    },
)
_COMMON = {
    "labels": _LABELS,
    "environment": st.sampled_from([{}, {"HTTPS_PROXY": "http://user:pw d@10.0.0.1"}]),
    "registries": st.sampled_from([None, {"mirrors": {"docker.io": {"endpoint": ["https://m.example"]}}}]),
    "images": st.sampled_from([(), (Artifact("k3s-airgap-images-amd64.tar", "2" * 64),)]),
    "node_ip": st.sampled_from([None, "192.168.9.5"]),
    "hosts_file": st.sampled_from([(), (HostEntry("10.0.0.11", ("node-1", "api")),)]),
    "secrets": st.sampled_from([Secrets(), Secrets({"HTTP_PROXY": Secret("http://u:pw@p:1")})]),
}
_REQUESTS = st.one_of(
    st.builds(server, config=_CONFIG, tls_san=st.sampled_from([(), ("k3s.example",)]), **_COMMON),
    st.builds(agent, config=st.just({"debug": True}), **_COMMON),
)


@settings(max_examples=60, deadline=None)
@given(request=_REQUESTS, killed_after=st.integers(0, 15))
def test_a_run_leaves_nothing_to_do_also_after_a_kill(request: Request, killed_after: int) -> None:
    killed = run(request, fresh(), stop_after=killed_after)
    finished = run(request, killed)
    assert ids(request, finished) == []


@settings(max_examples=40, deadline=None)
@given(first=_REQUESTS, second=_REQUESTS, killed_after=st.integers(0, 6))
def test_a_change_of_the_wish_is_done_once(first: Request, second: Request, killed_after: int) -> None:
    if first.role != second.role:
        return
    if first.role == "server":
        # A member of etcd keeps its address.
        second = replace(second, node_ip=first.node_ip)
    there = run(first, fresh())
    killed = run(second, there, stop_after=killed_after)
    finished = run(second, killed)
    assert ids(second, finished) == []
    assert finished.k3s.running is not None
    assert finished.k3s.running.digests == finished.k3s.on_disk


def test_kill_between_writing_and_restarting_is_seen() -> None:
    there = run(server(), fresh())
    wish = server(config={"debug": True})
    written = run(wish, there, stop_after=1)
    assert ids(wish, written) == ["restart:k3s", "wait:k3s"]


def test_what_a_killed_run_left_staged_goes_and_restarts_nothing() -> None:
    """The copy was in place and the staged one not yet removed; what is staged for a later version stays."""
    there = run(server(), fresh())
    left, later = (FileFact(paths.staged(digest, "k3s"), digest, 0o644, 0, 1.0) for digest in ("1" * 64, "9" * 64))
    assert ids(server(), on_k3s(there, staged=(left, later))) == [f"remove:{left.path}"]
    assert ids(server(), on_k3s(there, staged=(later,))) == []


def test_comments_order_and_spelling_are_no_difference() -> None:
    there = run(server(config={"disable": ["traefik", "servicelb"], "debug": True}), fresh())
    wish = server(config={"debug": "true", "disable": ["servicelb", "traefik"], "prefer-bundled-bin": False})
    assert ids(wish, there) == []
    text = "# a word\n" + next(item.text or "" for item in there.k3s.config_files)
    assert ids(wish, with_config(there, text.replace("node-name", "'node-name'"))) == []


def test_join_time_keys_never_drift_on_a_member() -> None:
    there = run(agent(labels={"disk": "ssd"}), fresh())
    assert ids(agent(join=Join("https://10.0.0.12:6443"), labels={"disk": "ssd"}), there) == []


def test_labels_of_a_server_go_through_the_api() -> None:
    there = run(server(labels={"disk": "ssd"}), fresh())
    changes = assess(server(labels={"zone": "a"}), there).changes
    assert [change.id for change in changes] == ["label:node-1", f"write:{paths.CONFIG}"]
    assert "zone=a" in changes[0].reason
    assert "disk is removed" in changes[0].reason


def test_only_labels_of_our_own_are_removed() -> None:
    """Those that somebody else set stay, also beside one that was set through the API and is no longer in the file."""
    there = run(server(), fresh())
    assert there.cluster is not None
    (node,) = there.cluster.nodes
    labelled = replace(node, labels={"disk": "ssd", "zone": "a"}, own_labels=("disk",))
    (change,) = assess(server(), replace(there, cluster=replace(there.cluster, nodes=(labelled,)))).changes
    assert change.id == "label:node-1"
    assert change.reason == "labels differ: disk is removed"


def test_a_node_keeps_its_name_and_address() -> None:
    there = run(server(), fresh())
    renamed = replace(there, host=replace(there.host, hostname="other", default_interface="eth1"))
    assert ids(server(), renamed) == []
    assert codes(server(node_name="other"), there) == ["k3s.node-name-changes"]


def test_restart_shows_the_differing_line() -> None:
    there = run(server(), fresh())
    first = assess(server(config={"debug": True}), there).changes[0]
    assert first.id == "write:/etc/rancher/k3s/config.yaml"
    assert [line for line in first.diff if line.startswith(("+", "-")) and not line.startswith(("+++", "---"))] == [
        "+debug: true"
    ]


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        (Running("unchanged", None), ["restart:k3s", "wait:k3s"]),
        (Running("unknown", None), ["restart:k3s", "wait:k3s"]),
    ],
)
def test_what_runs_decides(running: Running, expected: list[str]) -> None:
    there = run(server(), fresh())
    assert ids(server(), on_k3s(there, running=running)) == expected


def test_an_install_script_s_server_is_adopted_without_a_restart() -> None:
    unit = (
        render.unit("server", "k3s")
        .replace("# ", "#")
        .replace(
            "ExecStart=/usr/local/bin/k3s server", "ExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--debug' \\\n"
        )
    )
    facts = fresh()
    facts = on_k3s(
        facts,
        role="server",
        binary=file(paths.BINARY, ""),
        binary_version=VERSION,
        links={f"/usr/local/bin/{name}": "k3s" for name in paths.LINKS},
        scripts=(file(paths.KILLALL, "#!/bin/sh\n"), file(paths.uninstall_script("k3s"), "#!/bin/sh\n")),
        units=(
            unit_fact(
                "k3s",
                unit,
                active_state="active",
                enabled=True,
                arguments=("server", "--debug"),
                environment_files=(file(paths.environment_file("k3s"), ""),),
            ),
        ),
        datastore="sqlite",
        ca_hash=CA,
        has_node_password=True,
        node_name="node-1",
    )
    facts = merged(facts)
    facts = on_k3s(facts, running=Running("unchanged", facts.k3s.on_disk))
    facts = replace(facts, cluster=run(server(), fresh()).cluster)
    wish = server(binary=None, config={"debug": True})
    assert ids(wish, facts) == []
    # One more flag is a difference: then everything moves to config.yaml, and the unit loses its flags.
    assert [item.split("/")[-1] for item in ids(server(binary=None), facts)] == [
        "server.token",
        "agent.token",
        "config.yaml",
        "k3s.service",
        "restart:k3s",
        "wait:k3s",
    ]


def test_somebody_else_s_config_is_shown_before_it_is_replaced() -> None:
    facts = with_config(fresh(), "write-kubeconfig-mode: '0644'\n")
    change = next(item for item in assess(server(), facts).changes if item.target == paths.CONFIG)
    assert "not written by productive-k3s" in change.reason
    assert "-write-kubeconfig-mode: '0644'" in change.diff


def test_an_agent_that_never_joined_takes_another_token() -> None:
    wrong = agent(join=Join("https://10.0.0.11:6443", Secret(f"K10{CA}::node:wrong")))
    facts = run(wrong, fresh(), stop_after=-1)
    assert ids(agent(), facts) == ["secret:/etc/rancher/k3s/agent.token", "restart:k3s-agent", "wait:k3s-agent"]
    assert ids(wrong, run(agent(), facts)) == []


def _drop_in(text: str) -> Facts:
    there = run(server(), fresh())
    own = next(item.text or "" for item in there.k3s.config_files)
    return with_config(there, own, file("/etc/rancher/k3s/config.yaml.d/9.yaml", text))


def test_a_drop_in_that_overrides_is_a_veto_and_one_that_adds_is_a_note() -> None:
    assert codes(server(tls_san=("a",)), _drop_in("tls-san: [b]\n")) == ["config.overridden"]
    # It was there before K3s' start would see it: only the restart is left.
    added = assess(server(), _drop_in("debug: true\n"))
    assert not added.vetoes
    assert "/etc/rancher/k3s/config.yaml.d/9.yaml also sets debug" in added.notes


def _vetoed() -> list[tuple[str, Request, Facts, str]]:
    member = run(server(), fresh())
    joined = run(agent(), fresh())
    listener = Listener("tcp", "0.0.0.0", 6443, "nginx")
    unit = member.k3s.units[0]
    execing = file("/etc/systemd/system/k3s.service.d/x.conf", "[Service]\nExecStart=\nExecStart=/bin/k3s server\n")
    default = file("/etc/default/k3s", "K3S_TOKEN=sha256:0\n")
    newer = "# Written by productive-k3s, schema 2. x\nnode-name: node-1\n"
    return [
        ("k3s.version-differs", server(version="v1.34.5+k3s1"), member, ""),
        ("k3s.other-role", agent(), member, ""),
        ("cluster.second", server(expected_ca=CA), fresh(), ""),
        ("cluster.second", server(others_are_members=True), fresh(), ""),
        ("k3s.ca-mismatch", server(expected_ca=OTHER_CA), member, ""),
        ("k3s.ca-mismatch", agent(expected_ca=OTHER_CA), fresh(), ""),
        ("k3s.ca-mismatch", agent(join=Join("https://x:1", Secret(f"K10{OTHER_CA}::node:x"))), joined, ""),
        ("k3s.no-token", agent(join=Join("https://10.0.0.11:6443")), fresh(), ""),
        ("k3s.no-token", server(join=Join("https://10.0.0.11:6443")), fresh(), ""),
        ("k3s.token-not-secure", agent(join=Join("https://10.0.0.11:6443", Secret("abc"))), fresh(), ""),
        ("request.no-server", agent(join=None), fresh(), ""),
        ("host.no-systemd", server(), fresh(init="openrc-init"), ""),
        ("host.no-default-route", server(), fresh(default_interface=None), ""),
        ("host.address-missing", server(node_ip="10.9.9.9"), fresh(), ""),
        ("host.other-kubernetes", server(), fresh(other_kubernetes=("rke2",)), ""),
        ("k3s.port-in-use", server(), fresh(listeners=(listener,)), "nginx listens on 0.0.0.0:6443"),
        ("host.cgroup-v1", server(version="v1.35.6+k3s1"), fresh(cgroup_version=1), ""),
        (
            "config.unreadable",
            server(),
            on_k3s(fresh(), config_error="config.yaml:3:1: a tab"),
            "config.yaml:3:1: a tab",
        ),
        ("host.newer-program", server(), with_config(member, newer), ""),
        ("unit.overridden", server(), merged(on_k3s(member, units=(replace(unit, drop_ins=(execing,)),))), ""),
        (
            "environment.overridden",
            server(),
            merged(on_k3s(member, units=(replace(unit, environment_files=(default,)),))),
            "",
        ),
        ("k3s.fixed-at-first-start", server(config={"cluster-cidr": "10.99.0.0/16"}), member, ""),
    ]


@pytest.mark.parametrize(("code", "request_", "facts", "evidence"), _vetoed())
def test_vetoes(code: str, request_: Request, facts: Facts, evidence: str) -> None:
    found = [item for item in assess(request_, facts).vetoes if item.code == code]
    assert found, codes(request_, facts)
    assert found[0].exit_code == 4
    assert found[0].remedy
    assert evidence in found[0].evidence


def test_the_same_host_without_the_fault_is_not_vetoed() -> None:
    assert codes(server(), fresh()) == []
    assert codes(agent(), fresh()) == []
    assert codes(agent(expected_ca=CA), fresh()) == []
    assert codes(server(new_cluster=True, expected_ca=CA), fresh()) == []
    assert (
        codes(server(config={"kubelet-arg": "fail-cgroupv1=false"}, version="v1.35.6+k3s1"), fresh(cgroup_version=1))
        == []
    )


def test_a_token_that_will_be_filled_in_is_no_veto_while_planning() -> None:
    assert codes(agent(join=Join("https://10.0.0.11:6443")), fresh(), planning=True) == []


def test_a_member_needs_no_token() -> None:
    assert ids(agent(join=Join("https://10.0.0.11:6443")), run(agent(), fresh())) == []


def test_no_secret_in_a_plan() -> None:
    wish = agent(
        registries={"configs": {"r": {"auth": {"password": "hunter2"}}}},
        environment={"HTTP_PROXY": "http://u:hunter2@p"},
    )
    said = repr(assess(wish, fresh()))
    assert "hunter2" not in said
    assert TOKEN not in said
    assert BINARY.sha256 not in said
