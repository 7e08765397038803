"""The provider `aws` over a double of OpenTofu: what is planned, made, known and destroyed, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import Facts, no_k3s
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.errors import HostKeyMismatch, Pk3sError
from productive_k3s_infra.hosts.ssh.first_contact import Patience
from productive_k3s_infra.inventory.model import Endpoint
from productive_k3s_infra.providers.aws import contact
from productive_k3s_infra.providers.aws.provider import AwsProvider
from productive_k3s_infra.workspace.directory import Workspace
from static.contract_program.simulated import Machine
from static.providers.aws.tofu_double import GROUP, KEY, TofuDouble

FILE = """
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {{name: edge}}
spec:
  provider: {{kind: aws, region: eu-central-1, allowedCidrs: {{ssh: [203.0.113.7/32], api: [203.0.113.0/24]}}{more}}}
  k3s: {{version: v1.34.4+k3s1}}
  ssh: {{{ssh}}}
  nodes:
{nodes}
"""
SERVER, AGENT = "    - {name: server-1, role: server}\n", "    - {name: agent-1, role: agent}\n"
FACTS = Facts(host=replace(Machine().facts().host, cloud_init="done"), k3s=no_k3s())
OWN = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP////////////////////////////////////////8="


class Hosts:
    """The machines: each has a host key, and makes another one when it is asked. `cut` fails at a verb's argument."""

    def __init__(self) -> None:
        self.prepared: dict[str, str] = {}
        self.used: dict[str, str] = {}
        self.cut = ""
        self.stubborn = False
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def open(self, endpoints: Mapping[str, Endpoint]) -> Any:
        return _Fleet(self, endpoints)


@dataclass
class _Fleet:
    hosts: Hosts
    endpoints: Mapping[str, Endpoint]

    async def session(self, name: str) -> Any:
        known = self.endpoints[name].host_keys
        shown = self.hosts.used.setdefault(name, known[-1] if known else "")
        if shown not in known:
            raise HostKeyMismatch("another key", where=name)
        return _Session(name, self.hosts)

    async def close(self) -> None:
        pass


@dataclass
class _Session:
    name: str
    hosts: Hosts

    async def call(self, verb: str, *_: Any, arguments: tuple[str, ...] = (), **__: Any) -> Result:
        self.hosts.asked.append((verb, arguments))
        if verb == "facts":
            return Result("done", facts=FACTS)
        assert verb == "host-key"
        if self.hosts.cut in arguments:
            raise HostKeyMismatch("cut", where=self.name)
        if arguments == ("--rotate",) and not self.hosts.stubborn:
            self.hosts.used[self.name] = OWN
        return Result("done", data={"public": OWN})


@dataclass
class Bed:
    folder: Path
    tofu: TofuDouble
    hosts: Hosts

    def provider(self, *nodes: str, more: str = "", ssh: str = "") -> AwsProvider:
        """Return a new run's provider for these nodes."""
        file = self.folder / "cluster.yaml"
        file.write_text(FILE.format(nodes="".join(nodes or (SERVER, AGENT)), more=more, ssh=ssh))
        spec = load_cluster_file(file, {})
        return AwsProvider(
            spec,
            Workspace(file, spec.name),
            tofu=self.tofu,  # type: ignore[arg-type]
            patience=Patience(5, 5, 0.01),
            open_fleet=self.hosts.open,
        )

    @property
    def work(self) -> Path:
        return self.folder / ".pk3s" / "edge" / "tofu"

    @property
    def known_hosts(self) -> str:
        path = self.folder / "known_hosts"
        return path.read_text() if path.exists() else ""

    def seeds(self) -> list[str]:
        path = self.work / "seeds.json"
        return sorted(json.loads(path.read_text())) if path.exists() else []


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path, TofuDouble(tmp_path / ".pk3s" / "edge" / "tofu"), Hosts())


def silent(_machine: str, _what: str) -> None: ...


async def refusal(awaitable: Any) -> Pk3sError:
    with pytest.raises(Pk3sError) as caught:
        await awaitable
    return caught.value


async def test_a_survey_of_nothing_shows_everything(bed: Bed) -> None:
    survey = await bed.provider().survey()
    assert [(one.name, one.state) for one in survey.machines] == [("server-1", "missing"), ("agent-1", "missing")]
    assert [str(one) for one in survey.resources if not one.machine] == [
        "create aws_security_group.nodes",
        "create aws_key_pair.operator[0]",
    ]
    assert {one.machine for one in survey.resources} == {"", "server-1", "agent-1"}
    assert bed.tofu.account == {}
    assert bed.seeds() == []


async def test_machines_are_made_met_and_get_keys_of_their_own(bed: Bed) -> None:
    provider = bed.provider()
    await provider.survey()
    said: list[tuple[str, str]] = []
    survey = await provider.create(("server-1", "agent-1"), lambda name, what: said.append((name, what)))
    assert bed.tofu.said.count("apply") == 1
    assert ("", "creating aws_security_group.nodes") in said
    assert ("server-1", "creating aws_instance.node") in said
    found = survey.machine("server-1")
    assert found is not None
    assert found.state == "running"
    assert found.location is not None
    assert found.location.endpoint.user == "ubuntu"
    assert found.location.endpoint.host_keys == (OWN,)
    assert found.location.public_address == found.location.endpoint.address != found.location.address
    assert bed.known_hosts.count(OWN) == 2
    assert "i-server-1,203.0.113." in bed.known_hosts
    assert bed.seeds() == []
    assert [words for verb, words in bed.hosts.asked if verb == "host-key"].count(("--rotate",)) == 2
    again = await bed.provider().survey()
    assert again.resources == ()
    assert {one.state for one in again.machines} == {"running"}


async def test_no_seeded_key_stays_in_a_file(bed: Bed) -> None:
    provider = bed.provider()
    await provider.survey()
    private = json.loads(provider._ground.work.plan.read_text())["values"]["host_keys"]["server-1"]
    assert "PRIVATE KEY" in private
    assert json.loads((bed.work / "terraform.tfvars.json").read_text())["host_keys"] == {}
    await provider.create(("server-1", "agent-1"), silent)
    for path in (one for one in bed.work.rglob("*") if one.is_file()):
        assert private.splitlines()[1] not in path.read_text(), path
    assert [oct(one.stat().st_mode & 0o777) for one in (bed.work, bed.work / "main.tf.json")] == ["0o700", "0o600"]


async def test_what_a_killed_run_left_of_its_secrets_is_swept(bed: Bed) -> None:
    await bed.provider().survey()
    # Numbers of processes end at 4194304.
    left = [bed.work / f"run-9999999.{kind}" for kind in ("tfplan", "tfvars.json")]
    for path in left:
        path.write_text("secret")
    await bed.provider().survey()
    assert [path for path in left if path.exists()] == []


@pytest.mark.parametrize("argument", ["--prepare", "--rotate"])
async def test_a_first_contact_that_was_cut_off_is_finished(bed: Bed, argument: str) -> None:
    provider = bed.provider(SERVER)
    await provider.survey()
    bed.hosts.cut = argument
    await refusal(provider.create(("server-1",), silent))
    assert bed.seeds() == ["server-1"]
    bed.hosts.cut = "nothing"
    provider = bed.provider(SERVER)
    survey = await provider.survey()
    machine = survey.machine("server-1")
    assert machine is not None
    assert (machine.state, survey.resources) == ("broken", ())
    assert "still has its first host key" in machine.evidence
    done = await provider.create(("server-1",), silent)
    assert [one.state for one in done.machines] == ["running"]
    assert bed.seeds() == []
    assert bed.tofu.said.count("apply") == 1


async def test_a_host_that_keeps_the_key_given_to_it_is_named(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact, "_RELOAD_SECONDS", 0.0)
    provider = bed.provider(SERVER)
    await provider.survey()
    bed.hosts.stubborn = True
    error = await refusal(provider.create(("server-1",), silent))
    assert (error.code, error.where) == ("aws.host-key", "server-1")
    assert bed.seeds() == ["server-1"]


async def test_what_a_killed_run_left_is_taken_over(bed: Bed) -> None:
    provider = bed.provider(SERVER)
    await provider.survey()
    bed.tofu.cut_at = "aws_instance"
    await refusal(provider.create(("server-1",), silent))
    bed.tofu.cut_at, bed.tofu.recorded, bed.tofu.cluster = "", {}, None  # a kill before anything was written down
    provider = bed.provider(SERVER)
    survey = await provider.survey()
    assert [one.state for one in survey.machines] == ["broken"]
    assert {one.name: one.what.partition(",")[0] for one in survey.resources} == {
        'aws_instance.node["server-1"]': "take over i-server-1",
        "aws_security_group.nodes": "take over nodes",
        "aws_key_pair.operator[0]": f"take over edge-{json.loads((bed.work / 'identity.json').read_text())['id'][:8]}",
    }
    done = await provider.create(("server-1",), silent)
    assert [one.state for one in done.machines] == ["running"]
    assert set(bed.tofu.recorded) == set(bed.tofu.account)


async def test_a_run_that_was_cut_before_it_made_anything_is_begun_again(bed: Bed) -> None:
    provider = bed.provider(SERVER)
    await provider.survey()
    bed.tofu.cut_at = "aws_security_group"
    await refusal(provider.create(("server-1",), silent))
    bed.tofu.account, bed.tofu.recorded, bed.tofu.cluster, bed.tofu.cut_at = {}, {}, None, ""
    provider = bed.provider(SERVER)
    assert [one.action for one in (await provider.survey()).resources] == ["create", "create", "create"]
    assert [one.state for one in (await provider.create(("server-1",), silent)).machines] == ["running"]


async def test_destroying_takes_over_what_was_left_first(bed: Bed) -> None:
    provider = bed.provider(SERVER)
    await provider.survey()
    bed.tofu.cut_at = "aws_instance"
    await refusal(provider.create(("server-1",), silent))
    bed.tofu.cut_at, bed.tofu.recorded, bed.tofu.cluster = "", {}, None
    await bed.provider(SERVER).destroy_all(silent)
    assert bed.tofu.account == {}
    assert bed.seeds() == []


async def test_several_instances_of_one_node_are_nobodys_to_choose_from(bed: Bed) -> None:
    bed.tofu.left = {"data.aws_instances.node-server-1": ["i-1", "i-2"]}
    error = await refusal(bed.provider(SERVER).survey())
    assert (error.code, error.evidence) == ("aws.several-objects", "i-1, i-2")


async def test_a_node_that_is_not_in_the_file_stays_until_it_is_destroyed(bed: Bed) -> None:
    bed.tofu.made("server-1")
    bed.tofu.made("agent-1")
    provider = bed.provider(SERVER)
    survey = await provider.survey()
    assert survey.extra == ("agent-1",)
    assert survey.resources == ()
    bed.hosts.used["agent-1"] = OWN
    (bed.folder / "known_hosts").write_text(f"# ours\ni-agent-1,10.0.0.9 {OWN}\ni-server-1 {OWN}\n")
    await provider.destroy(("agent-1",), silent)
    assert [address for address in bed.tofu.account if "agent-1" in address] == []
    assert 'module.nodes.aws_instance.node["server-1"]' in bed.tofu.account
    assert bed.known_hosts == f"# ours\ni-server-1 {OWN}\n"


async def test_more_than_was_asked_for_is_never_destroyed(bed: Bed) -> None:
    bed.tofu.made("server-1")
    bed.tofu.made("agent-1")
    bed.tofu.strange = [_deleted('module.nodes.aws_eip.node["server-1"]', "aws_eip", "server-1")]
    error = await refusal(bed.provider(SERVER).destroy(("agent-1",), silent))
    assert (error.code, error.exit_code) == ("aws.plan-destroys", 4)
    assert "aws_eip.node" in error.evidence
    assert "apply" not in bed.tofu.said


async def test_a_plan_that_destroys_is_shown_and_not_applied(bed: Bed) -> None:
    bed.tofu.made("server-1")
    bed.tofu.strange = [_deleted(GROUP, "aws_security_group", None, "delete", "create")]
    provider = bed.provider()
    survey = await provider.survey()
    assert [str(one) for one in survey.resources if one.action == "replace"] == ["replace aws_security_group.nodes"]
    assert (await refusal(provider.create(("agent-1",), silent))).code == "aws.plan-destroys"
    assert "apply" not in bed.tofu.said


async def test_a_plan_that_somebody_changed_is_not_applied(bed: Bed) -> None:
    provider = bed.provider(SERVER)
    await provider.survey()
    look = provider._look
    assert look is not None
    provider._ground.work.plan.write_text("{}")
    with pytest.raises(Pk3sError) as caught:
        provider._ground.apply(look, silent)
    assert caught.value.code == "aws.plan-changed"


async def test_more_than_was_agreed_to_is_not_made(bed: Bed) -> None:
    bed.tofu.made("server-1")
    provider = bed.provider()
    await provider.survey()
    bed.tofu.account.pop(KEY)
    bed.tofu.recorded.pop(KEY)
    provider._ground.work.drop_plan()
    error = await refusal(provider.create(("agent-1",), silent))
    assert (error.code, error.evidence) == ("aws.plan-changed", "create aws_key_pair.operator[0]")


async def test_a_machine_that_is_missing_again_is_made_as_the_file_says_now(bed: Bed) -> None:
    bed.tofu.made("server-1", instance_type="t3a.small")
    bed.tofu.account.pop('module.nodes.aws_instance.node["server-1"]')
    provider = bed.provider(SERVER)
    assert [one.state for one in (await provider.survey()).machines] == ["missing"]
    await provider.create(("server-1",), silent)
    assert bed.tofu.account['module.nodes.aws_instance.node["server-1"]']["instance_type"] == "t3a.xlarge"


async def test_a_size_that_differs_is_said_and_nothing_is_planned(bed: Bed) -> None:
    bed.tofu.made("server-1", instance_type="t3a.small")
    survey = await bed.provider(SERVER, more=", machine: {disk: 100G}").survey()
    assert survey.resources == ()
    assert survey.machines[0].differences == (
        "the instance type is t3a.small, the file says t3a.xlarge",
        "the root disk is 80G, the file says 100G",
    )


async def test_a_stopped_machine_is_started_and_nothing_else(bed: Bed) -> None:
    bed.tofu.made("server-1", instance_state="stopped")
    bed.hosts.used["server-1"] = OWN
    (bed.folder / "known_hosts").write_text(f"i-server-1 {OWN}\n")
    provider = bed.provider(SERVER)
    survey = await provider.survey()
    assert [one.state for one in survey.machines] == ["stopped"]
    assert [one.what for one in survey.resources] == ["start it"]
    done = await provider.create(("server-1",), silent)
    assert [one.state for one in done.machines] == ["running"]


async def test_people_on_a_vpn_never_see_the_public_address(bed: Bed) -> None:
    bed.tofu.made("server-1")
    survey = await bed.provider(SERVER, ssh="via: private, user: ops").survey()
    location = survey.machines[0].location
    assert location is not None
    assert (location.public_address, location.endpoint.address) == ("", location.address)
    assert location.endpoint.user == "ops"
    assert survey.notes == ()


async def test_what_the_file_opens_to_the_world_is_said(bed: Bed) -> None:
    provider = bed.provider(SERVER)
    provider._spec = provider._spec.model_copy(
        update={
            "provider": provider._wanted.model_copy(
                update={"allowed_cidrs": provider._wanted.allowed_cidrs.model_copy(update={"api": ("0.0.0.0/0",)})}
            )
        }
    )
    assert "allowedCidrs.api allows all addresses, as set in the file" in (await provider.survey()).notes


async def test_the_state_of_another_cluster_is_refused(bed: Bed) -> None:
    bed.tofu.made("server-1")
    bed.tofu.cluster = {"name": "other", "id": "x"}
    for error in (await refusal(bed.provider().survey()), await refusal(bed.provider().destroy_all(silent))):
        assert (error.code, error.exit_code, error.evidence) == ("aws.other-state", 4, "it belongs to other")
    assert "apply" not in bed.tofu.said


async def test_a_state_that_pk3s_did_not_make_is_refused(bed: Bed) -> None:
    bed.tofu.made("server-1")
    bed.tofu.cluster = None
    assert (await refusal(bed.provider().survey())).code == "aws.other-state"


async def test_the_output_of_another_module_is_refused(bed: Bed) -> None:
    bed.tofu.made("server-1")
    bed.tofu.output_schema = 2
    error = await refusal(bed.provider().survey())
    assert (error.code, error.evidence) == ("aws.module-version", "its schema is 2, this pk3s knows 1")


async def test_what_is_left_after_destroying_is_named(bed: Bed) -> None:
    bed.tofu.made("server-1")
    bed.tofu.left = {"data.aws_security_groups.all": ["sg-left"]}
    error = await refusal(bed.provider().destroy_all(silent))
    assert (error.code, error.evidence) == ("aws.leftovers", "sg-left")
    bed.tofu.left = {}
    bed.tofu.made("server-1")
    await bed.provider().destroy_all(silent)
    assert bed.tofu.account == {}


async def test_what_is_shared_is_named_before_it_dies(bed: Bed) -> None:
    bed.tofu.made("server-1")
    assert (await bed.provider(SERVER).survey()).shared == ("the security group nodes", "the key pair operator[0]")


async def test_a_key_without_its_public_half_is_bad_input(bed: Bed) -> None:
    key = bed.folder / "key"
    key.write_text("a key")
    key.chmod(0o600)
    error = await refusal(bed.provider(SERVER, ssh=f"key: {key}").survey())
    assert (error.code, error.exit_code, error.where) == ("aws.public-key", 2, f"{key}.pub")


async def test_stopping_asks_opentofu_to_stop(bed: Bed) -> None:
    import asyncio
    import threading

    provider = bed.provider(SERVER)
    began, go_on = threading.Event(), threading.Event()

    def version() -> str:
        began.set()
        go_on.wait(10)
        return "tofu 1.10.6"

    bed.tofu.version = version  # type: ignore[method-assign]
    bed.tofu.interrupt = go_on.set  # type: ignore[method-assign]
    task = asyncio.ensure_future(provider.survey())
    await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert go_on.is_set()


def _deleted(address: str, kind: str, index: str | None, *actions: str) -> dict[str, Any]:
    change = {"actions": list(actions or ("delete",)), "before": {"public_ip": "203.0.113.1"}, "after": None}
    named = {"mode": "managed", "type": kind, "name": "x", "index": index}
    return {"address": address, **named, "change": change}
