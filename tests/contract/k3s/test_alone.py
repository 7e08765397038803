"""Servers that restart, change and refuse: each on a fresh machine of its own."""

from __future__ import annotations

import json
import re

import pytest
import yaml

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

    A tls-san that was added is in the certificate then. Source: upgrades/killall, cli/server.
    """
    lab_bed.place(alone.bed, alone.release, alone.server)
    configure(alone)
    lab_bed.start(alone.bed, alone.server, "server")
    alone.on("until k3s kubectl -n kube-system get deployment coredns; do sleep 0.2; done 2>/dev/null")
    alone.on("k3s kubectl -n kube-system rollout status deployment coredns --timeout=60s")
    before = identity(alone)
    assert "containerd-shim" in before[2]
    configure(alone, tls_san=["later.example"])
    runs = lab_bed.started(alone.bed, alone.server, "k3s")
    lab_bed.start(alone.bed, alone.server, "server", verb="restart")
    assert lab_bed.started(alone.bed, alone.server, "k3s") != runs
    lab_bed.until(lambda: lab_bed.ready_nodes(alone.bed, alone.server), 30, "the Node is Ready")
    assert identity(alone) == before
    shown = alone.on(
        f"openssl s_client -connect {alone.server.address}:6443 </dev/null 2>/dev/null | openssl x509 -text"
    )
    assert "DNS:later.example" in shown
    alone.on("systemctl kill -s KILL --kill-who=main k3s")
    lab_bed.until(lambda: lab_bed.started(alone.bed, alone.server, "k3s")[2] == "1", 30, "systemd restarts it")
    lab_bed.until(lambda: lab_bed.state(alone.bed, alone.server, "k3s") == "active", 60, "it is active")
    lab_bed.until(lambda: identity(alone) == before, 30, "all is kept")


def test_every_start_sets_the_labels_of_the_file(alone):
    """Each start sets every node-label of config.yaml on the Node, over what the API said since, 1 to 3 s after it.

    What was taken out of the file stays. Source: k3s-io/k3s pkg/agent/run.go, updateMutableLabels; observed: v1.36.3.
    """
    configure(alone, node_label=["disk=ssd", "rack=r1", "old=1"])
    lab_bed.start(alone.bed, alone.server, "server")

    def labels():
        return {key: alone.node("server-1")["metadata"]["labels"].get(key) for key in ("disk", "rack", "old", "later")}

    wanted = {"disk": "ssd", "rack": "r1", "old": "1", "later": None}
    lab_bed.until(lambda: labels() == wanted, 30, "the labels of the first start")
    # The first start sets them too, after the kubelet did: what is said before that would be undone by it.
    since = "systemctl show k3s -p ActiveEnterTimestampMonotonic --value"
    age = f"echo $(( $(cut -d. -f1 /proc/uptime) - $({since}) / 1000000 ))"
    lab_bed.until(lambda: int(alone.on(age)) >= 5, 30, "the first start has set its labels")

    def changed():
        alone.on("k3s kubectl label node server-1 --overwrite disk=hdd rack-")
        return labels() == wanted | {"disk": "hdd", "rack": None}

    lab_bed.until(changed, 30, "the API has other labels")
    configure(alone, node_label=["disk=ssd", "rack=r1", "later=1"])
    lab_bed.start(alone.bed, alone.server, "server", verb="restart")
    lab_bed.until(lambda: labels() == wanted | {"later": "1"}, 30, "the labels of the second start")


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


@pytest.mark.skipif(lab_bed.cgroup_version() == 2, reason="this computer has cgroup v2: nothing is refused")
def test_a_kubelet_refuses_cgroup_v1(alone):
    """Unless it is told not to, in a drop-in or by a flag: K3s ends with status 0 and never gets ready.

    Source: KEP-5573; observed with v1.36.3, cgroup v1.
    """
    alone.on(f"rm /var/lib/rancher/{lab_bed.KUBELET_DROP_INS}/{lab_bed.KUBELET_DROP_IN}")
    configure(alone, disable=[*lab_bed.NOTHING_PACKAGED, "coredns"])
    alone.on("systemctl start --no-block k3s")
    show = "systemctl show k3s -p NRestarts --value"
    lab_bed.until(lambda: int(alone.on(show)) > 0, 60, "systemd starts it again")
    said = lab_bed.log(alone.bed, alone.server, "k3s")
    assert (
        r"Shutdown request received: \"kubelet exited: failed to validate kubelet configuration, error: kubelet is "
        "configured to not run on a host using cgroup v1. cgroup v1 support is unsupported and will be removed "
        r"in a future release, path: &TypeMeta{Kind:,APIVersion:,}\""
    ) in said
    assert "k3s is up and running" not in said
    assert alone.on("systemctl show k3s -p ExecMainStatus --value") == "0"
    # Its etcd was killed in its first second: where that came before its first entries, it never has a leader.
    alone.on(f"systemctl stop k3s; systemctl reset-failed k3s; rm -rf {K}/server {K}/agent/*.crt {K}/agent/*.key")
    configure(alone, kubelet_arg=["fail-cgroupv1=false"])
    lab_bed.start(alone.bed, alone.server, "server")


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


def test_a_normal_start_complains_twice(alone):
    """With etcd every start says two things at level error before it is up, which mean nothing. Source: observed with
    v1.36.3, Node, files."""
    configure(alone)
    lab_bed.start(alone.bed, alone.server, "server")
    before, up, _ = lab_bed.log(alone.bed, alone.server, "k3s").partition("k3s is up and running")
    assert up
    errors = [line for line in before.splitlines() if " level=error " in line]
    assert any(
        "Failed to check local etcd status for learner management" in line
        and "dial tcp 127.0.0.1:2379: connect: connection refused" in line
        for line in errors
    )
    assert any(re.search(r"Sending HTTP/1.1 503 response to \S+: runtime core not ready", line) for line in errors)


def test_names_in_the_kubeconfig(alone):
    """write-kubeconfig-name names cluster, user and context. Source: observed with v1.36.3, Flags."""
    configure(alone, write_kubeconfig_name="prod", disable_agent=True)
    lab_bed.start(alone.bed, alone.server, "server")
    config = yaml.safe_load(alone.on("cat /etc/rancher/k3s/k3s.yaml"))
    (context,) = config["contexts"]
    names = {config["clusters"][0]["name"], config["users"][0]["name"], context["name"], *context["context"].values()}
    assert names | {config["current-context"]} == {"prod"}
    assert alone.on("k3s kubectl get --raw /readyz") == "ok"


def test_a_template_of_containerds_configuration(alone):
    """config-v3.toml.tmpl is filled in at each start; "base" in it is K3s' own. Source: advanced, containerd; observed
    with v1.36.3, Node, files."""
    folder = f"{K}/agent/etc/containerd"
    text = '{{ template "base" . }}\n[metrics]\n  address = "127.0.0.1:1338"\n'
    configure(alone, {**lab_bed.TOKENS, f"{folder}/config-v3.toml.tmpl": (text, 0o600)})
    lab_bed.start(alone.bed, alone.server, "server")
    made = alone.on(f"cat {folder}/config.toml")
    assert made.startswith("version = 3\n")
    assert "127.0.0.1:1338" in made
    assert "go_goroutines" in alone.on("curl -sS http://127.0.0.1:1338/v1/metrics")


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
