"""Agents that join, and agents that cannot: each on a fresh machine beside one server."""

from __future__ import annotations

import pytest

import lab_bed
from lab_bed import Machine
from productive_k3s.waits import diagnosis

pytestmark = pytest.mark.contract

K = "/var/lib/rancher/k3s"


@pytest.fixture(scope="module")
def agent_token(home):
    """The agent token in its secure form."""
    return home.on(f"cat {K}/server/agent-token")


def begin(home, spare: Machine, token: str | None, **more: object) -> None:
    """Start an agent, and wait for nothing."""
    files = {} if token is None else {lab_bed.AGENT_TOKEN: (token, 0o600)}
    lab_bed.configure(home.bed, spare, "agent", lab_bed.agent_config(spare, home.server, **more), files)
    home.on("systemctl start --no-block k3s-agent", spare)


def said(home, spare: Machine) -> list[str]:
    return lab_bed.log(home.bed, spare, "k3s-agent").splitlines()


def until_said(home, spare: Machine, code: str) -> str:
    """Wait until the log names a cause, and return the line that is its evidence."""

    def found():
        return next((cause for cause in diagnosis.causes(said(home, spare)) if cause.code == code), None)

    return lab_bed.until(found, 30, f"the log names {code}").evidence


def is_waiting(home, spare: Machine) -> bool:
    """Whether the agent is neither active nor was ended and restarted."""
    text = home.on("systemctl show k3s-agent -p ActiveState -p SubState -p NRestarts", spare)
    return set(text.split()) == {"ActiveState=activating", "SubState=start", "NRestarts=0"}


@pytest.mark.parametrize("form", ["K10", "short"])
def test_tokens_that_join_an_agent(home, spare, agent_token, form):
    """The agent token joins in its secure and its short form; a newline does no harm.
    Source: cli/token; observed, what follows for this project."""
    begin(home, spare, {"K10": agent_token + "\n", "short": "agent-password\n"}[form])
    lab_bed.until(lambda: lab_bed.state(home.bed, spare, "k3s-agent") == "active", 30, "the agent is active")
    lab_bed.until(lambda: "spare" in lab_bed.ready_nodes(home.bed, home.server), 30, "its Node is Ready")
    warned = any("the token does not include a CA hash" in line for line in said(home, spare))
    assert warned == (form == "short")


@pytest.mark.parametrize("form", ["K10", "short"])
def test_the_servers_token_joins_no_agent(home, spare, form):
    """With an agent token of its own the cluster refuses an agent that brings the server's, for ever.

    An agent asks as user node, whatever its token says. Source: k3s-io/k3s pkg/agent/run.go, WithUser("node"); observed
    with v1.36.3, 3 of 3 runs.
    """
    begin(home, spare, {"K10": home.on(f"cat {K}/server/token"), "short": "server-password"}[form])
    line = until_said(home, spare, "k3s.token-mismatch")
    assert line.endswith("server is not ready: failed to retrieve configuration from server: not authorized")
    assert is_waiting(home, spare)


@pytest.mark.parametrize(
    ("shown", "path", "status"),
    [
        ("node:agent-password", "config", {200}),
        ("node:server-password", "config", {401}),
        ("node:another", "config", {401}),
        ("server:server-password", "encrypt/status", {200, 404, 500}),
        ("server:agent-password", "encrypt/status", {401}),
    ],
)
def test_whether_a_token_is_taken_can_be_asked(home, spare, shown, path, status):
    """An agent's first question is refused with 401 where its password is not the agents', a server's likewise.

    Any other answer means that it is taken: without secrets-encryption, or on the lab K3s, which does not have the
    page, there is nothing to say. Source: k3s-io/k3s, pkg/server/auth/auth.go and pkg/server/handlers/router.go.
    """
    ca = f"--cacert /etc/ca -u {shown} -o /dev/null -w '%{{http_code}}'"
    home.bed.put(spare, "/etc/ca", home.on(f"cat {K}/server/tls/server-ca.crt") + "\n")
    assert int(home.on(f"curl -s {ca} https://{home.server.address}:6443/v1-k3s/{path}", spare)) in status


def test_labels_and_taints_at_joining(home, spare, agent_token):
    """node-label and node-taint of config.yaml are on the Node when it has registered. Source: cli/agent."""
    begin(home, spare, agent_token, node_label=["disk=ssd", "rack=r1"], node_taint=["dedicated=db:NoSchedule"])
    lab_bed.until(lambda: home.get("nodes -l disk=ssd,rack=r1")["items"], 30, "the Node has its labels")
    taint = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
    assert taint in home.node("spare")["spec"]["taints"]


def test_a_wrong_token_waits_for_ever(home, spare, agent_token):
    """An agent whose token is refused never exits and never becomes active. Source: observed, Log lines, systemd."""
    begin(home, spare, agent_token.replace("agent-password", "another"))
    line = until_said(home, spare, "k3s.token-mismatch")
    assert line.endswith("server is not ready: failed to retrieve configuration from server: not authorized")
    assert is_waiting(home, spare)


def test_a_token_of_another_cluster(home, spare, agent_token):
    """The hash in the token is compared with the CA before the password is sent.

    Source: cli/token; observed, Log lines.
    """
    real = agent_token[3:67]
    begin(home, spare, f"K10{'0' * 64}::node:agent-password")
    line = until_said(home, spare, "k3s.ca-mismatch")
    assert f"token CA hash does not match the Cluster CA certificate hash: {'0' * 64} != {real}" in line
    assert f"https://{home.server.address}:6443" in line
    assert is_waiting(home, spare)


def test_a_server_that_does_not_answer(home, spare, agent_token):
    """Source: observed, Log lines."""
    begin(home, spare, agent_token, server=f"https://{spare.address}:7443")
    assert "failed to get CA certs" in until_said(home, spare, "k3s.unreachable-server")
    assert is_waiting(home, spare)


def test_an_agent_dies_of_an_unknown_key(home, spare, agent_token):
    """An unknown key in config.yaml ends an agent with 1, again and again. Source: observed, Log lines."""
    begin(home, spare, agent_token, no_such_flag="1")
    assert "flag provided but not defined: -no-such-flag" in until_said(home, spare, "k3s.unknown-flag")
    show = "systemctl show k3s-agent -p NRestarts --value"
    lab_bed.until(lambda: int(home.on(show, spare)) > 0, 20, "systemd restarts it")
    assert "code=exited, status=1/FAILURE" in lab_bed.log(home.bed, spare, "k3s-agent")


def test_a_servers_flag_is_unknown_to_an_agent(home, spare, agent_token):
    """Roles have flags of their own. Source: cli/agent."""
    begin(home, spare, agent_token, disable=["traefik"])
    assert "flag provided but not defined: -disable" in until_said(home, spare, "k3s.unknown-flag")


@pytest.mark.parametrize("lacking", ["token", "server"])
def test_an_agent_needs_a_token_and_a_server(home, spare, lacking):
    """Source: observed, Log lines."""
    words = {"token": f"--server https://{home.server.address}:6443", "server": "--token x"}[lacking]
    done = home.bed.try_ssh(spare, f"timeout 20 k3s agent {words}")
    assert done.returncode == 1
    assert f"Error: --{lacking} is required" in done.stdout + done.stderr


def test_the_node_password(home, spare, agent_token):
    """The first host that comes with a name keeps it: another password is refused, and the agent waits.

    Deleting the Node cures it, without a restart. Source: architecture; observed, Log lines.
    """
    begin(home, spare, agent_token)
    lab_bed.until(lambda: "spare" in lab_bed.ready_nodes(home.bed, home.server), 30, "the Node is Ready")
    uid = home.node("spare")["metadata"]["uid"]
    home.bed.put(spare, "/etc/rancher/node/password", "0123456789abcdef\n")
    home.on("systemctl restart --no-block k3s-agent", spare)
    assert "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password'" in until_said(
        home, spare, "k3s.node-password"
    )
    assert is_waiting(home, spare)
    lab_bed.kubectl(home.bed, home.server, "delete node spare")
    lab_bed.until(lambda: lab_bed.state(home.bed, spare, "k3s-agent") == "active", 30, "the agent is active")
    assert home.node("spare")["metadata"]["uid"] != uid


def test_a_restart_keeps_a_node(home, spare, agent_token):
    """A restarted agent is the same Node, with its password and certificates. Source: architecture."""
    begin(home, spare, agent_token)
    lab_bed.until(lambda: "spare" in lab_bed.ready_nodes(home.bed, home.server), 30, "the Node is Ready")
    before = (home.node("spare")["metadata"]["uid"], home.on("cat /etc/rancher/node/password", spare))
    runs = lab_bed.started(home.bed, spare, "k3s-agent")
    lab_bed.start(home.bed, spare, "agent", verb="restart", seconds=30)
    assert lab_bed.started(home.bed, spare, "k3s-agent") != runs
    lab_bed.until(lambda: "spare" in lab_bed.ready_nodes(home.bed, home.server), 30, "the Node is Ready")
    assert (home.node("spare")["metadata"]["uid"], home.on("cat /etc/rancher/node/password", spare)) == before
