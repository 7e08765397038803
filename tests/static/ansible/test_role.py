"""The role over stand-ins for hosts: what goes to their standard input, in which order, and what is made of answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_bed import LOCKED, VERSIONS, Call, Ended, Recorded, recorded
from productive_k3s.contract.codec import decode
from productive_k3s.contract.events import Result
from productive_k3s.contract.expectation import Expectation
from productive_k3s.contract.request import Secrets
from productive_k3s.contract.secret import Secret
from productive_k3s.plan.state import state_of
from productive_k3s_infra.artifacts.program import Program
from productive_k3s_infra.execute.executor import execute
from productive_k3s_infra.execute.steps.perform import performing
from productive_k3s_infra.hosts.wire import bootstrap
from productive_k3s_infra.plan.model import ClusterRecord
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.validate.quick import expectation
from productive_k3s_infra.workspace.ansible_files import AnsibleInventory
from static.ansible import worlds
from static.contract_program.hosts import CA, TOKEN
from static.fleet_doubles import Call as HostCall
from static.fleet_doubles import Ears, FakeFleet, tools
from static.plan.clusters import executed, situation, spec, wish_again

FLAGS = {"write-kubeconfig-mode": "0644", "kubelet-arg": ["a={{ b }}", "max-pods=50"], "disable": ["traefik"]}
PASSWORD = "hunter2-of-the-proxy"
SECRETS = Secrets({"HTTPS_PROXY": Secret(PASSWORD)}, {})
ORDER = ["look"] * 3 + ["server"] + ["token"] * 2 + ["agent"] * 2 + ["validate"] * 3

Make = Callable[..., Recorded]


def written(
    folder: Path, seen: Situation, *, version: str = LOCKED, secrets: Secrets | None = None
) -> tuple[Recorded, AnsibleInventory]:
    """Write a situation's inventory, with hosts that do what they are asked."""
    inventory = worlds.inventory(seen)
    if secrets is not None:
        hosts = (replace(item, request=replace(item.request, secrets=secrets)) for item in inventory.hosts)
        inventory = replace(inventory, hosts=tuple(hosts))
    bed = recorded(folder, inventory, version)
    bed.answer(worlds.answers(seen))
    return bed, inventory


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a situation's inventory."""

    def write(seen: Situation, **more: Any) -> Recorded:
        return written(tmp_path, seen, **more)[0]

    return write


@dataclass(frozen=True)
class Fresh:
    """A run that makes a cluster from nothing, as talkative as Ansible can be."""

    seen: Situation
    inventory: AnsibleInventory
    bed: Recorded
    ended: Ended
    calls: tuple[Call, ...]


@pytest.fixture(scope="module", params=VERSIONS)
def fresh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    folder = tmp_path_factory.mktemp("fresh")
    seen = situation(spec(server=FLAGS, tls_san=("k3s.example",)))
    bed, inventory = written(folder, seen, version=request.param, secrets=SECRETS)
    bed.add("cluster_edge", {"remote_cluster_secrets": {"secrets.environment.HTTPS_PROXY": PASSWORD}})
    cache = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts")}
    ended = bed.playbook.play("cluster", "-vvvv", "--diff", ANSIBLE_DISPLAY_ARGS_TO_STDOUT="1", **cache)
    assert ended.code == 0, ended.out
    return Fresh(seen, inventory, bed, ended, tuple(bed.calls))


async def asked_by_pk3s(seen: Situation) -> dict[str, bootstrap.Invocation]:
    """Return what apply runs on each host for the same situation; it asks for tokens in the same run."""
    found: dict[str, bootstrap.Invocation] = {}

    def answer(call: HostCall) -> Result:
        words = tuple(word for word in call.arguments if word != "--tokens")
        seconds = call.deadline_seconds
        found[call.host] = bootstrap.invocation(call.verb, call.document, words, seconds, has_payload=True)
        return Result("done", data={"agent": TOKEN})

    fleet = FakeFleet({host.name: answer for host in seen.inventory.hosts})
    await execute(plan_stages(seen).steps, performing(tools(fleet, secrets=SECRETS)), Ears())
    return found


async def test_the_role_and_pk3s_send_the_same(fresh: Fresh) -> None:
    made = {call.host: call for call in fresh.calls if call.verb in ("server", "agent")}
    by_pk3s = await asked_by_pk3s(fresh.seen)
    assert set(made) == set(by_pk3s) == {"server-1", "agent-1", "agent-2"}
    for name, invocation in by_pk3s.items():
        # Byte for byte: the document is text here.
        assert made[name].order == json.loads(invocation.line(Program(b"", fresh.inventory.sha256))), name
    assert TOKEN in made["agent-1"].order["document"]


def test_order_is_held_and_nothing_is_asked_twice(fresh: Fresh) -> None:
    assert fresh.ended.count("changed") == {"server-1": 1, "agent-1": 1, "agent-2": 1}
    assert [call.verb for call in fresh.calls] == ORDER
    assert fresh.calls[3].host == "server-1"
    assert {"agent-1 -> server-1", "agent-2 -> server-1"} <= set(re.findall(r"agent-. -> server-1", fresh.ended.out))
    full = {call.host: "--full" in call.order["arguments"] for call in fresh.calls if call.verb == "validate"}
    assert full == {"server-1": True, "agent-1": False, "agent-2": False}
    assert {call.verb for call in fresh.calls if call.order["keep"]} == {"server", "agent"}


def test_no_secret_is_anywhere_but_on_standard_input(fresh: Fresh) -> None:
    assert "remote_cluster_token" in fresh.ended.out
    assert TOKEN not in fresh.ended.out
    assert PASSWORD not in fresh.ended.out
    assert all(call.argv[1:] == (str(fresh.bed.folder), call.host) for call in fresh.calls)
    folder = fresh.bed.folder
    mine = {folder / "calls", folder / "answers", folder / "inventory/group_vars/cluster_edge.yml"}
    for path in set(folder.rglob("*")) - mine:
        content = path.read_bytes() if path.is_file() else b""
        assert TOKEN.encode() not in content, path
        assert PASSWORD.encode() not in content, path


def test_one_play_over_all_hosts_holds_the_order_too(make: Make, tmp_path: Path) -> None:
    bed = make(situation(spec()))
    roles = ["productive_k3s.infra.remote_cluster"]
    own = [{"hosts": "servers:agents", "gather_facts": False, "any_errors_fatal": True, "roles": roles}]
    (tmp_path / "own.yml").write_text(yaml.safe_dump(own))
    bed.playbook.expect(0, str(tmp_path / "own.yml"))
    assert [call.verb for call in bed.calls] == ORDER


def test_the_second_run_asks_two_questions_and_changes_nothing(make: Make) -> None:
    seen = situation(spec())
    done = executed(seen, plan_stages(seen))
    bed = make(done)
    ended = bed.playbook.expect(0, "cluster")
    assert ended.count("changed") == {}
    assert sorted((call.host, call.verb) for call in bed.calls) == sorted(
        (host.name, verb) for host in done.inventory.hosts for verb in ("look", "validate")
    )
    assert not any(call.order["keep"] for call in bed.calls)


def judged(bed: Recorded, host: str = "server-1") -> tuple[bool, Expectation]:
    """Whether the last validation of a host asked for pods, and what it expected."""
    call = [call for call in bed.calls if call.verb == "validate" and call.host == host][-1]
    return "--full" in call.order["arguments"], decode(Expectation, json.loads(call.order["document"]))


def noted(bed: Recorded) -> list[tuple[str, str]]:
    """On which host it was noted for which state a full validation has passed."""
    return [(call.host, call.order["arguments"][-1]) for call in bed.calls if call.verb == "note"]


def validated(done: Situation, scope: str, *, passed: bool = True) -> worlds.Answers:
    """What hosts answer where the first server's validation goes so far."""
    answers = worlds.answers(done)
    said = answers["server-1"]["validate"]
    outcome = "done" if passed else "failed"
    answers["server-1"]["validate"] = {
        **said, "outcome": outcome, "checks": [worlds.check(passed=passed)], "data": {"scope": scope}
    }  # fmt: skip
    return answers


class TestUntilPodsHavePassedOnce:
    """As `pk3s apply` and `pk3s validate` have it, and with the note that they leave."""

    @pytest.fixture
    def done(self) -> Situation:
        seen = situation(spec())
        return executed(seen, plan_stages(seen))

    @pytest.fixture
    def state(self, done: Situation) -> str:
        found = state_of(expectation(done.spec, done.inventory), done.facts)
        assert found
        return found

    def test_a_run_without_a_change_asks_whether_they_have(self, make: Make, done: Situation, state: str) -> None:
        bed = make(done)
        bed.playbook.expect(0, "cluster")
        full, wanted = judged(bed)
        assert (full, wanted.unless_passed, wanted.state) == (True, True, state)
        assert [judged(bed, name)[0] for name in ("agent-1", "agent-2")] == [False, False]
        # They had: it was a quick one, of which nothing is noted.
        assert noted(bed) == []

    def test_that_they_passed_is_noted(self, make: Make, done: Situation, state: str) -> None:
        bed = make(done)
        bed.answer(validated(done, "full"))
        bed.playbook.expect(0, "cluster")
        assert noted(bed) == [("server-1", state)]

    def test_that_they_did_not_is_noted(self, make: Make, done: Situation) -> None:
        bed = make(done)
        bed.answer(validated(done, "full", passed=False))
        bed.playbook.expect(2, "cluster")
        assert noted(bed) == [("server-1", "")]

    def test_a_check_that_fails_without_them_takes_no_note_back(self, make: Make, done: Situation) -> None:
        bed = make(done)
        bed.answer(validated(done, "quick", passed=False))
        bed.playbook.expect(2, "cluster")
        assert noted(bed) == []

    def test_after_a_change_they_run_whatever_was_noted(self, make: Make, done: Situation, state: str) -> None:
        bed = make(situation(spec()))
        answers, fresh = validated(done, "full"), worlds.answers(situation(spec()))
        for name, role in (("server-1", "server"), ("agent-1", "agent"), ("agent-2", "agent")):
            answers[name]["look"] = fresh[name]["look"]
            answers[name][role]["changes"] = fresh[name][role]["changes"]
        bed.answer(answers)
        bed.playbook.expect(0, "cluster")
        full, wanted = judged(bed)
        assert (full, wanted.unless_passed) == (True, False)
        assert noted(bed) == [("server-1", state)]

    def test_alone_it_asks_for_them_where_they_did_not_pass_last(self, make: Make, done: Situation, state: str) -> None:
        """Nobody has looked at the hosts before: what they are is known by their own checks."""
        bed = make(done)
        bed.answer(validated(done, "full"))
        bed.playbook.expect(0, "cluster", "--tags", "validate")
        full, wanted = judged(bed)
        assert (full, wanted.unless_passed, wanted.state) == (True, True, "")
        assert noted(bed) == [("server-1", state)]

    def test_one_that_fails_on_another_host_is_not_noted_as_passed(self, make: Make, done: Situation) -> None:
        bed = make(done)
        answers = validated(done, "full")
        answers["agent-2"]["validate"] = {"outcome": "failed", "checks": [worlds.check(passed=False)]}
        bed.answer(answers)
        bed.playbook.expect(2, "cluster")
        assert noted(bed) == []

    @pytest.mark.parametrize(("asked", "full"), [("full", True), ("quick", False)])
    def test_who_says_how_far_is_obeyed(self, make: Make, done: Situation, asked: str, *, full: bool) -> None:
        bed = make(done)
        bed.playbook.expect(0, "cluster", "-e", f"remote_cluster_validate={asked}")
        found, wanted = judged(bed)
        assert (found, wanted.unless_passed) == (full, False)


def with_a_label(done: Situation, *, fresh: str = "") -> Situation:
    """A label is new in the file, for a member; `fresh` is a host whose K3s is gone."""
    wish = done.spec
    labelled = wish.nodes[1].model_copy(update={"labels": {"disk": "ssd"}})
    changed = wish.model_copy(update={"nodes": (wish.nodes[0], labelled, *wish.nodes[2:])})
    later = wish_again(done, changed)
    empty = {name: facts for name, facts in situation(wish).facts.items() if name == fresh}
    return replace(later, facts={**later.facts, **empty})


def test_check_mode_only_looks_and_shows_what_would_change(make: Make) -> None:
    seen = situation(spec(), pushed=True)
    bed = make(with_a_label(executed(seen, plan_stages(seen)), fresh="agent-2"))
    ended = bed.playbook.expect(0, "cluster", "--check", "--diff")
    assert {call.verb for call in bed.calls} == {"look"}
    assert not any(call.order["keep"] for call in bed.calls)
    assert ended.count("changed") == {"server-1": 1, "agent-1": 1, "agent-2": 1}
    assert "labels of agent-1: disk=ssd" in ended.plain
    assert "+node-name: agent-2" in ended.out


def test_labels_of_members_are_set_on_the_server(make: Make) -> None:
    seen = situation(spec())
    bed = make(with_a_label(executed(seen, plan_stages(seen))))
    ended = bed.playbook.expect(0, "cluster")
    assert ended.count("changed") == {"server-1": 1, "agent-1": 1}
    asked = [(call.host, call.order["arguments"]) for call in bed.calls if call.verb == "node"]
    assert asked == [("server-1", ["node", "--json", "label", "agent-1", "disk=ssd"])]


def test_labels_and_taints_go_through_the_api_before_agents_are_written(make: Make) -> None:
    """An agent's configuration is what knows the labels that go: as `pk3s apply` has it, the API comes before."""
    seen = situation(spec())
    done = with_a_label(executed(seen, plan_stages(seen)))
    tainted = done.spec.nodes[1].model_copy(update={"taints": ("dedicated=batch:NoSchedule",)})
    wish = done.spec.model_copy(update={"nodes": (done.spec.nodes[0], tainted, *done.spec.nodes[2:])})
    bed = make(replace(wish_again(done, wish), facts=done.facts))
    bed.playbook.expect(0, "cluster")
    asked = [(call.host, call.order["arguments"][:1], call.order["arguments"][2:]) for call in bed.calls]
    changes = [item for item in asked if item[1][0] in ("node", "agent") and "--plan" not in item[2]]
    assert changes[:2] == [
        ("server-1", ["node"], ["label", "agent-1", "disk=ssd"]),
        ("server-1", ["node"], ["taint", "agent-1", "dedicated=batch:NoSchedule"]),
    ]
    assert [host for host, _, _ in changes[2:]] == ["agent-1"]


@pytest.mark.parametrize(
    ("tag", "verbs"),
    [
        ("validate", ORDER[-3:]),
        ("look", ORDER[:3]),
        ("server", ORDER[:4]),
        ("server,agent", ORDER[:-3]),
    ],
)
@pytest.mark.parametrize("by_role", [False, True])
def test_tags_choose_parts(make: Make, tmp_path: Path, tag: str, verbs: list[str], *, by_role: bool) -> None:
    bed = make(situation(spec()))
    roles = ["productive_k3s.infra.remote_cluster"]
    own = [{"hosts": "servers:agents", "gather_facts": False, "any_errors_fatal": True, "roles": roles}]
    (tmp_path / "own.yml").write_text(yaml.safe_dump(own))
    bed.playbook.expect(0, str(tmp_path / "own.yml") if by_role else "cluster", "--tags", tag)
    assert [call.verb for call in bed.calls] == verbs


def wrong(bed: Recorded, *words: str, playbook: str = "cluster") -> Ended:
    """Run the playbook, which must refuse before a host is asked."""
    ended = bed.playbook.expect(2, playbook, *words)
    assert bed.calls == []
    assert "next: " in ended.plain
    return ended


def test_an_inventory_without_a_server_is_refused(make: Make) -> None:
    bed = make(situation(spec()))
    document = yaml.safe_load(bed.playbook.inventory.read_text())
    document["all"]["children"]["cluster_edge"]["children"]["servers"]["hosts"] = {}
    bed.playbook.inventory.write_text(yaml.safe_dump(document))
    assert "no host is in the group servers [ansible.no-server]" in wrong(bed).plain


def test_a_host_in_two_groups_is_refused(make: Make) -> None:
    bed = make(situation(spec()))
    document = yaml.safe_load(bed.playbook.inventory.read_text())
    document["all"]["children"]["cluster_edge"]["children"]["servers"]["hosts"]["agent-2"] = {}
    bed.playbook.inventory.write_text(yaml.safe_dump(document))
    assert "in the groups servers and agents [ansible.two-groups]; seen: agent-2;" in wrong(bed).plain


def test_a_host_in_the_group_of_another_role_is_refused(make: Make) -> None:
    bed = make(situation(spec()))
    document = yaml.safe_load(bed.playbook.inventory.read_text())
    groups = document["all"]["children"]["cluster_edge"]["children"]
    groups["servers"]["hosts"]["agent-2"] = groups["agents"]["hosts"].pop("agent-2")
    bed.playbook.inventory.write_text(yaml.safe_dump(document))
    said = wrong(bed).plain
    assert "than their request is for [ansible.role]; seen: agent-2; next: change the role in cluster.yaml" in said
    assert "ansible.unknown-variable" not in said


def test_a_variable_that_does_not_exist_is_named(make: Make) -> None:
    said = wrong(make(situation(spec(1))), "-e", "remote_cluster_validat=none").plain
    assert "[ansible.unknown-variable]; seen: remote_cluster_validat; next: correct the name; there are remote_" in said
    assert "ansible.role" not in said


def test_a_secret_that_is_not_given_is_named(make: Make) -> None:
    said = wrong(make(situation(spec(1)), secrets=SECRETS)).plain
    assert "[ansible.missing-secret]; seen: secrets.environment.HTTPS_PROXY; next: put them by these names" in said


def test_values_that_are_none_or_missing_are_named(make: Make) -> None:
    bed = make(situation(spec(1)))
    (bed.playbook.inventory.parent / "host_vars" / "agent-1.yml").write_text("remote_cluster_validate: sometimes\n")
    said = bed.playbook.expect(2, "cluster").plain
    assert "missing required arguments: remote_cluster_files, remote_cluster_request" in said
    assert "remote_cluster_validate must be one of: auto, full, quick, none, got: sometimes" in said
    assert bed.calls == []


def with_record() -> Situation:
    return replace(situation(spec()), record=ClusterRecord(CA, "v1.34.4+k3s1"))


def test_nobody_takes_a_cluster_away_by_mistake(make: Make) -> None:
    bed = make(with_record())
    said = wrong(bed, "-e", "remote_cluster_uninstall=another", playbook="uninstall").plain
    assert "the removal of the cluster was not confirmed [ansible.not-agreed]" in said
    bed.playbook.expect(0, "uninstall", "-e", "remote_cluster_uninstall=edge")
    asked = [(call.host, call.order["arguments"]) for call in bed.calls]
    assert sorted(host for host, _ in asked[:2]) == ["agent-1", "agent-2"]
    words = ["uninstall", "--json", "--cluster", CA, "--yes"]
    assert [given for _, given in asked[:2]] == [words, words]
    assert asked[2:] == [("server-1", [*words, "--force"])]


def test_without_a_record_of_its_ca_nothing_is_taken_off(make: Make) -> None:
    bed = make(situation(spec()))
    said = bed.playbook.expect(2, "uninstall", "-e", "remote_cluster_uninstall=edge").plain
    assert "missing required arguments: remote_cluster_ca" in said
    assert bed.calls == []


def test_a_host_of_another_cluster_keeps_the_server(make: Make) -> None:
    seen = with_record()
    bed = make(seen)
    answers = worlds.answers(seen)
    answers["agent-1"]["uninstall"] = worlds.failure("k3s.ca-mismatch")
    bed.answer(answers)
    said = bed.playbook.expect(2, "uninstall", "-e", "remote_cluster_uninstall=edge").plain
    assert "k3s.ca-mismatch" in said
    assert {call.host for call in bed.calls} == {"agent-1", "agent-2"}


def test_an_agent_that_stays_keeps_the_server(make: Make) -> None:
    seen = with_record()
    bed = make(seen)
    answers = worlds.answers(seen)
    answers["agent-2"]["uninstall"] = worlds.failure("k3s.does-not-stop", 5)
    bed.answer(answers)
    bed.playbook.expect(2, "uninstall", "-e", "remote_cluster_uninstall=edge")
    assert {call.host for call in bed.calls} == {"agent-1", "agent-2"}


def test_hosts_that_refuse_or_say_nothing_stop_everything_before_a_change(make: Make) -> None:
    seen = situation(spec())
    bed = make(seen)
    answers = worlds.answers(seen)
    answers["agent-2"]["look"] = worlds.failure()
    del answers["agent-1"]["look"]
    bed.answer(answers)
    said = bed.playbook.expect(2, "cluster").plain
    assert "a token is missing [k3s.no-token]; seen: no file; next: give one" in said
    assert "so it is not known what it did [host.no-result]; seen: sh: 1: no answer to look; next: run" in said
    assert [call.verb for call in bed.calls] == ["look"] * 3


def test_a_host_that_does_not_answer_stops_everything_before_a_change(make: Make) -> None:
    bed = make(situation(spec()))
    nowhere = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    with (bed.playbook.inventory.parent / "host_vars" / "agent-2.yml").open("a") as file:
        file.write(yaml.safe_dump(nowhere))
    ended = bed.playbook.expect(4, "cluster")
    assert ended.count("unreachable") == {"agent-2": 1}
    assert [call.verb for call in bed.calls] == ["look"] * 2


def test_an_agent_that_fails_stops_no_other_and_nothing_is_validated(make: Make) -> None:
    seen = situation(spec(3))
    bed = make(seen)
    answers = worlds.answers(seen)
    answers["agent-1"]["agent"] = worlds.failure("k3s.not-ready", 5)
    answers["agent-2"]["token"] = worlds.failure("k3s.no-server")  # asked of the server, in the agent's name
    bed.answer(answers)
    ended = bed.playbook.expect(2, "cluster")
    assert ended.count("failed") == {"agent-1": 1, "agent-2": 1}
    assert "server-1: a token is missing [k3s.no-server]; seen: no file; next: give one" in ended.plain
    assert sorted(call.host for call in bed.calls if call.verb == "agent") == ["agent-1", "agent-3"]
    assert not [call for call in bed.calls if call.verb == "validate"]


def test_a_check_that_fails_fails_the_run(make: Make) -> None:
    seen = situation(spec(1))
    bed = make(executed(seen, plan_stages(seen)))
    answers = worlds.answers(executed(seen, plan_stages(seen)))
    remark = {**worlds.check(passed=False), "id": "certificate.days", "severity": "warning"}
    answers["server-1"]["validate"] = {"outcome": "failed", "checks": [worlds.check(passed=False), remark]}
    bed.answer(answers)
    ended = bed.playbook.expect(2, "cluster")
    assert "agent-1: is not Ready [node.ready]; seen: NotReady for 40 s; next: see its unit" in ended.plain
    assert "[WARNING]: agent-1: is not Ready [certificate.days]" in ended.plain


def test_a_server_without_its_data_founds_no_second_cluster(make: Make) -> None:
    seen = situation(spec())
    done = executed(seen, plan_stages(seen))
    lost = replace(done, facts={**done.facts, "server-1": seen.facts["server-1"]})
    # The inventory is older than the cluster: what it says of the others no longer holds.
    bed = make(seen)
    bed.answer(worlds.answers(lost))
    bed.playbook.expect(0, "cluster")
    document: dict[str, Any] = next(json.loads(c.order["document"]) for c in bed.calls if c.verb == "server")
    assert document["others_are_members"] is True


def test_the_real_loader_runs_the_real_program(make: Make, tmp_path: Path) -> None:
    """Looking writes nothing, so this computer can be the host; it refuses for reasons of its own."""
    bed = make(situation(spec(0)))
    (bed.playbook.inventory.parent / "productive-k3s.loader").write_bytes(bootstrap.loader_line())
    ended = bed.playbook.expect(2, "cluster")
    assert "no interface of this host has the address 10.0.0.11 [host.address-missing]" in ended.plain
