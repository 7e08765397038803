"""Two machines make a cluster by hand: a server, its agent token carried over in a file, an agent."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from lab_bed import Bed, Machine, Release, get, ready_nodes, started, state, until
from live.fingerprint import LEFT_BY_UPSTREAM, differences, fingerprint
from live.program_bed import RELEASE, Run, ca_hash, equip, run, succeed, token

GIVEN = "/root/given/agent.token"


@dataclass(frozen=True)
class Pair:
    """A server and an agent, and how the agent came to be one."""

    bed: Bed
    server: Machine
    agent: Machine
    joined: Run

    def join(self, *more: str) -> str:
        """The command by which a machine becomes an agent of this server."""
        return " ".join((f"agent --artifacts {RELEASE} --server https://{self.server.address}:6443", *more))


@pytest.fixture(scope="module")
def pair(module_lab: Bed, k3s_release: Release) -> Pair:
    """The three commands of a person: server, token, agent."""
    server, agent = module_lab.create("pair", "one", "two")
    equip(module_lab, k3s_release, server, agent)
    succeed(module_lab, server, f"server --artifacts {RELEASE}")
    secret = token(module_lab, server)
    module_lab.put(agent, GIVEN, secret)
    made = Pair(module_lab, server, agent, Run(0, (), {}, "", ""))
    words = made.join(f"--token-file {GIVEN} --label disk=ssd --label tier=front --taint only=batch:NoSchedule")
    return Pair(module_lab, server, agent, succeed(module_lab, agent, words))


def late_agent(pair: Pair, release: Release, name: str) -> Machine:
    """A machine that could become an agent."""
    (machine,) = pair.bed.create("pair", name)
    equip(pair.bed, release, machine)
    return machine


def test_both_are_ready_and_the_agent_is_as_it_was_asked(pair: Pair) -> None:
    until(lambda: ready_nodes(pair.bed, pair.server) >= {"one", "two"}, 30, "two nodes Ready")
    node = get(pair.bed, pair.server, "node two")
    labels = node["metadata"]["labels"]
    assert (labels["disk"], labels["tier"]) == ("ssd", "front")
    assert {"key": "only", "value": "batch", "effect": "NoSchedule"} in node["spec"]["taints"]


def test_the_agent_holds_the_agent_token_and_nothing_of_the_servers(pair: Pair) -> None:
    agent, server = token(pair.bed, pair.server), token(pair.bed, pair.server, "server")
    assert agent.rpartition("::")[2].startswith("node:")
    assert agent.startswith(f"K10{ca_hash(pair.bed, pair.server)}::")
    assert pair.bed.ssh(pair.agent, "cat /etc/rancher/k3s/agent.token") == agent
    assert pair.bed.ssh(pair.agent, "stat -c %a:%U /etc/rancher/k3s/agent.token") == "600:root"
    password = server.rpartition(":")[2]
    found = pair.bed.try_ssh(pair.agent, "grep -rlFs -f - /etc /var/lib/rancher /root", data=password.encode())
    assert found.stdout == "", "no file of the agent holds the server's password"


def test_a_second_run_of_the_agent_wants_no_token_and_does_nothing(pair: Pair) -> None:
    before = started(pair.bed, pair.agent, "k3s-agent")
    words = pair.join("--label disk=ssd --label tier=front --taint only=batch:NoSchedule")
    again = succeed(pair.bed, pair.agent, words)
    assert (again.outcome, again.changes) == ("unchanged", [])
    assert started(pair.bed, pair.agent, "k3s-agent") == before


def test_the_server_will_not_go_while_the_agent_lives(pair: Pair) -> None:
    own = f"--cluster {ca_hash(pair.bed, pair.server)[:8]}"
    other = run(pair.bed, pair.server, f"uninstall --cluster {'0' * 64} --yes --force")
    assert (other.exit_code, other.failure["code"]) == (4, "k3s.ca-mismatch")
    done = run(pair.bed, pair.server, f"uninstall {own} --yes")
    assert (done.exit_code, done.failure["code"]) == (4, "cluster.has-members")
    assert state(pair.bed, pair.server, "k3s") == "active"


def test_a_token_of_another_cluster_is_refused_before_anything_is_written(pair: Pair, k3s_release: Release) -> None:
    machine = late_agent(pair, k3s_release, "stranger")
    pair.bed.put(machine, GIVEN, f"K10{'0' * 64}::node:{'0' * 32}")
    before = fingerprint(pair.bed, machine)
    done = run(pair.bed, machine, pair.join(f"--token-file {GIVEN}"))
    assert (done.exit_code, done.outcome, done.failure["code"]) == (4, "refused", "k3s.ca-mismatch")
    assert differences(before, fingerprint(pair.bed, machine)) == []


@pytest.mark.parametrize("given", ["another password", "the server's token"])
def test_a_token_that_the_server_refuses_changes_nothing(pair: Pair, k3s_release: Release, given: str) -> None:
    machine = late_agent(pair, k3s_release, given[:3])
    good, servers = token(pair.bed, pair.server), token(pair.bed, pair.server, "server")
    wrong = servers if given == "the server's token" else good.rpartition(":")[0] + ":" + "0" * 32
    pair.bed.put(machine, GIVEN, wrong)
    before = fingerprint(pair.bed, machine)
    done = run(pair.bed, machine, pair.join(f"--token-file {GIVEN}"))
    assert (done.exit_code, done.outcome, done.failure["code"]) == (4, "refused", "k3s.token-mismatch")
    assert ("it is the server token" in done.failure["evidence"]) == (wrong == servers)
    assert differences(before, fingerprint(pair.bed, machine)) == []
    assert wrong.rpartition(":")[2] not in done.text + done.errors
    pair.bed.put(machine, GIVEN, good)
    succeed(pair.bed, machine, pair.join(f"--token-file {GIVEN}"))
    until(lambda: machine.name in ready_nodes(pair.bed, pair.server), 30, "the agent is Ready")


def test_an_agent_goes_by_the_program_and_by_the_script(pair: Pair, k3s_release: Release) -> None:
    """`uninstall` leaves nothing; the uninstall script, as upstream's, leaves what is listed and no more."""
    machine = late_agent(pair, k3s_release, "guest")
    pair.bed.put(machine, GIVEN, token(pair.bed, pair.server))
    before = fingerprint(pair.bed, machine)
    succeed(pair.bed, machine, pair.join(f"--token-file {GIVEN}"))
    nobody = run(pair.bed, machine, "uninstall --yes --force")
    assert (nobody.exit_code, nobody.failure["code"]) == (4, "cluster.not-named")
    removed = succeed(pair.bed, machine, f"uninstall --cluster {ca_hash(pair.bed, pair.server)[:8]}")
    assert "productive-k3s node remove" in " ".join(removed.result["notes"])
    assert differences(before, fingerprint(pair.bed, machine)) == []

    deleted = succeed(pair.bed, pair.server, f"node remove {machine.name}")
    assert deleted.outcome == "done"
    pair.bed.allow_cgroup_v1(machine)
    succeed(pair.bed, machine, pair.join(f"--token-file {GIVEN}"))
    pair.bed.ssh(machine, "/usr/local/bin/k3s-agent-uninstall.sh")
    left = differences(before, fingerprint(pair.bed, machine), LEFT_BY_UPSTREAM)
    assert left == []
    facts = succeed(pair.bed, machine, "facts").result["facts"]["k3s"]
    assert facts["role"] is None, json.dumps(facts["units"])
