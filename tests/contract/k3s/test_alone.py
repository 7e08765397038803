"""Servers that restart, change and refuse: each on a fresh machine of its own."""

from __future__ import annotations

import json

import pytest

import lab_bed
from productive_k3s.waits import diagnosis

pytestmark = pytest.mark.contract

K = "/var/lib/rancher/k3s"


def configure(alone, files: lab_bed.Files = lab_bed.TOKENS, **more: object) -> None:
    """Write the server's config.yaml; None takes a key out."""
    config = {key: value for key, value in lab_bed.server_config(alone.server, **more).items() if value is not None}
    lab_bed.configure(alone.bed, alone.server, "server", config, files)


def identity(alone) -> tuple[str, ...]:
    """What a restart must keep: authorities, tokens, the Node, the containers."""
    files = f"cat {K}/server/tls/*-ca.crt {K}/server/tls/etcd/*-ca.crt {K}/server/token {K}/server/agent-token"
    sandboxes = "ps axww -o pid,args | grep '[c]ontainerd-shim' | sort"
    return (alone.on(files), alone.node("server-1")["metadata"]["uid"], alone.on(sandboxes))


def fatal_of(alone, code: str) -> str:
    """Wait until the unit has ended with 1 for the cause that the code names, and return its line."""
    show = "systemctl show k3s -p ExecMainStatus --value"
    lab_bed.until(lambda: alone.on(show) == "1", 60, "K3s ended with 1")
    lines = lab_bed.log(alone.bed, alone.server, "k3s").splitlines()
    return next(cause.evidence for cause in diagnosis.causes(lines) if cause.code == code)


def test_restarts_keep_all(alone):
    """A restart, and a kill of the process, keep authorities, tokens, Node and running containers.

    A tls-san that was added is in the certificate then, a label that was added is not on the Node. Source:
    upgrades/killall, cli/server; observed, what follows for this project.
    """
    lab_bed.place(alone.bed, alone.release, alone.server)
    configure(alone)
    lab_bed.start(alone.bed, alone.server, "server")
    alone.on("until k3s kubectl -n kube-system get deployment coredns; do sleep 0.2; done 2>/dev/null")
    alone.on("k3s kubectl -n kube-system rollout status deployment coredns --timeout=60s")
    before = identity(alone)
    assert "containerd-shim" in before[2]
    configure(alone, tls_san=["later.example"], node_label=["later=1"])
    runs = lab_bed.started(alone.bed, alone.server, "k3s")
    lab_bed.start(alone.bed, alone.server, "server", verb="restart")
    assert lab_bed.started(alone.bed, alone.server, "k3s") != runs
    lab_bed.until(lambda: lab_bed.ready_nodes(alone.bed, alone.server), 30, "the Node is Ready")
    assert identity(alone) == before
    shown = alone.on(
        f"openssl s_client -connect {alone.server.address}:6443 </dev/null 2>/dev/null | openssl x509 -text"
    )
    assert "DNS:later.example" in shown
    assert "later" not in alone.node("server-1")["metadata"]["labels"]
    alone.on("systemctl kill -s KILL --kill-who=main k3s")
    lab_bed.until(lambda: lab_bed.started(alone.bed, alone.server, "k3s")[2] == "1", 30, "systemd restarts it")
    lab_bed.until(lambda: lab_bed.state(alone.bed, alone.server, "k3s") == "active", 60, "it is active")
    lab_bed.until(lambda: identity(alone) == before, 30, "all is kept")


def test_a_changed_token_is_refused(alone):
    """The token encrypts the datastore's bootstrap data: another one ends the server. Source: cli/token; observed."""
    configure(alone, disable_agent=True)
    lab_bed.start(alone.bed, alone.server, "server")
    alone.bed.put(alone.server, lab_bed.SERVER_TOKEN, "another-password\n")
    alone.on("systemctl restart --no-block k3s")
    line = fatal_of(alone, "k3s.token-changed")
    assert line.endswith("bootstrap data already found and encrypted with different token")


def test_a_taken_port(alone):
    """Source: observed, Log lines."""
    alone.on("systemd-run --quiet socat TCP-LISTEN:6443,fork /dev/null; until ss -Hltn | grep -q :6443; do :; done")
    configure(alone)
    alone.on("systemctl start --no-block k3s")
    assert "failed to start supervisor listener: listen tcp :6443: bind: address already in use" in fatal_of(
        alone, "k3s.port-in-use"
    )


def test_an_unknown_flag_on_the_command_line(alone):
    """Unlike a key of config.yaml it ends a server too. Source: observed, Log lines."""
    done = alone.bed.try_ssh(alone.server, "timeout 20 k3s server --nope")
    assert done.returncode == 1
    assert "Incorrect Usage: flag provided but not defined: -nope" in done.stdout + done.stderr


def test_a_wiped_server_founds_another_cluster(alone):
    """With the same configuration and token files, and says nothing: the CA is another. Source: observed."""
    configure(alone, disable_agent=True)
    lab_bed.start(alone.bed, alone.server, "server")
    first = alone.on(f"cat {K}/server/tls/server-ca.crt")
    alone.on(f"systemctl stop k3s; rm -rf {K}/server")
    lab_bed.start(alone.bed, alone.server, "server")
    assert alone.on(f"cat {K}/server/tls/server-ca.crt") != first


def test_defaults_without_a_token_and_without_etcd(alone):
    """No token given: one is made, agent-token is a link to it. No cluster-init: SQLite, and no role etcd.
    The node's name is the hostname. Source: cli/token; datastore; observed, Other findings."""
    configure(
        alone, cluster_init=None, token_file=None, agent_token_file=None, node_name=None, write_kubeconfig_mode="0640"
    )
    lab_bed.start(alone.bed, alone.server, "server")
    assert alone.on(f"readlink {K}/server/agent-token") == f"{K}/server/token"
    assert alone.on(f"test -f {K}/server/db/state.db && ls {K}/server/db | grep -cx etcd; true") == "0"
    assert alone.on("stat -c %a /etc/rancher/k3s/k3s.yaml") == "640"
    role = "node-role.kubernetes.io/"
    lab_bed.until(lambda: alone.get(f"nodes -l {role}control-plane")["items"], 30, "the Node has its role")
    assert role + "etcd" not in alone.node("server-1")["metadata"]["labels"]


def test_components_get_their_arguments(alone):
    """kubelet-arg and kube-apiserver-arg reach them. Source: cli/server."""
    configure(alone, kubelet_arg=["max-pods=42"], kube_apiserver_arg=["default-not-ready-toleration-seconds=7"])
    lab_bed.start(alone.bed, alone.server, "server")
    lab_bed.until(lambda: alone.node("server-1")["status"]["capacity"]["pods"] == "42", 30, "the kubelet has its own")
    asked = "k3s kubectl run x --image=x --dry-run=server -o json"
    pod = json.loads(lab_bed.until(lambda: alone.on(asked), 30, "the default service account is there"))
    assert 7 in [one["tolerationSeconds"] for one in pod["spec"]["tolerations"]]


def test_the_lab_says_what_it_lacks(alone):
    """Only of the lab K3s: it never pretends. (K3s with `server`, without token, founds another cluster.)"""
    if not alone.release.is_lab:
        pytest.skip("a released K3s has all of this: only the lab K3s, which runs by default, lacks it")
    for what, words in {
        "joining a further server": "--server https://192.0.2.1:6443",
        "secrets-encryption: true": "--secrets-encryption",
        "datastore-endpoint: postgres://x": "--datastore-endpoint postgres://x",
        "etcd-arg: x=y": "--etcd-arg x=y",
    }.items():
        done = alone.bed.try_ssh(alone.server, f"timeout 20 k3s server {words}")
        assert (done.returncode, f"this is the lab K3s, not K3s: missing: {what}" in done.stderr) == (1, True), (
            done.stderr
        )
    done = alone.bed.try_ssh(alone.server, "K3S_VPN_AUTH=x timeout 20 k3s server")
    assert "missing: K3S_VPN_AUTH in the environment" in done.stderr
    for command in ("crictl ps", "token create", "etcd-snapshot save", "secrets-encrypt status", "check-config"):
        done = alone.bed.try_ssh(alone.server, f"k3s {command}")
        assert "this is the lab K3s, not K3s" in done.stderr
        assert done.returncode == 1
