"""The first words with a machine that is being made: what is waited for, what ends it at once, what is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import Facts, no_k3s
from productive_k3s_infra.errors import (
    AuthenticationRefused,
    HostKeyMismatch,
    HostProgramFailed,
    HostUnreachable,
    Pk3sError,
    ProviderFailed,
    SudoRefused,
)
from productive_k3s_infra.hosts.ssh.first_contact import Patience, fleet_of_endpoints, identify, wait_for_machine
from productive_k3s_infra.inventory.model import Endpoint
from static.contract_program.simulated import Machine
from static.fleet_doubles import Answer, Call, FakeFleet

QUICK = Patience(ssh_seconds=5, cloud_init_seconds=5, pause=0)
SHORT = Patience(ssh_seconds=0.05, cloud_init_seconds=0.05, pause=0.001)
HERE = Endpoint("192.0.2.7", "pk3s", host_keys=("ssh-ed25519 AAAA",))
REFUSED = HostUnreachable("nothing accepts SSH connections there", evidence="Errno 111", code="ssh.refused")
DENIED = AuthenticationRefused("the host accepts none of our keys", evidence="pk3s@192.0.2.7", remedy="see the user")
NO_SUDO = SudoRefused("sudo does not let pk3s", evidence="sorry")
OTHER = HostKeyMismatch("the host shows another key", evidence="SHA256:x")


def facts(cloud_init: str, error: str = "") -> Result:
    machine = replace(Machine().facts().host, cloud_init=cloud_init, cloud_init_error=error)
    return Result("done", facts=Facts(host=machine, k3s=no_k3s()))


@dataclass
class Booting:
    """A machine that answers so, one answer a look; the last one for ever."""

    answers: list[Result | Pk3sError]
    said: list[str] = field(default_factory=list)
    looks: int = 0
    closed: bool = False

    def open_fleet(self, endpoints: Mapping[str, Endpoint]) -> FakeFleet:
        booting = self

        class Fleet(FakeFleet):
            async def close(self) -> None:
                booting.closed = True

        answer: Answer = self._answer
        return Fleet(dict.fromkeys(endpoints, answer))

    def _answer(self, _call: Call) -> Result:
        found = self.answers[min(self.looks, len(self.answers) - 1)]
        self.looks += 1
        if isinstance(found, Pk3sError):
            raise found
        return found

    async def wait(self, patience: Patience = QUICK) -> str:
        found = await wait_for_machine(
            "edge-1", HERE, say=self.said.append, patience=patience, open_fleet=self.open_fleet
        )
        return found.cloud_init


@pytest.mark.parametrize(
    ("answers", "ended", "said"),
    [
        ([facts("done")], "done", ["waiting for SSH"]),
        ([facts("")], "", ["waiting for SSH"]),
        ([REFUSED, DENIED, NO_SUDO, facts("done")], "done", ["waiting for SSH"]),
        ([REFUSED, facts("running"), facts("running"), facts("done")], "done",
         ["waiting for SSH", "waiting for cloud-init"]),
        ([facts("running"), REFUSED, facts("done")], "done", ["waiting for SSH", "waiting for cloud-init"]),
    ],
)  # fmt: skip
async def test_it_is_waited_for_ssh_then_for_cloud_init(
    answers: list[Result | Pk3sError], ended: str, said: list[str]
) -> None:
    machine = Booting(answers)
    assert await machine.wait() == ended
    assert machine.looks == len(answers)
    assert machine.said == said
    assert machine.closed


@pytest.mark.parametrize("fatal", [OTHER, HostProgramFailed("too old", code="host.old-python")])
async def test_what_no_waiting_mends_ends_it_at_once(fatal: Pk3sError) -> None:
    machine = Booting([REFUSED, fatal, facts("done")])
    with pytest.raises(type(fatal)) as caught:
        await machine.wait()
    assert caught.value is fatal
    assert machine.looks == 2
    assert machine.closed


@pytest.mark.parametrize(
    ("answers", "code", "evidence", "remedy"),
    [
        ([REFUSED], "machine.no-ssh", "Errno 111", "apply continues waiting"),
        ([DENIED], "machine.no-ssh", "accepts none of our keys", "see the user"),
        ([facts("running")], "machine.cloud-init-timeout", "cloud-init: running", "cloud-init-output.log"),
        ([facts("running"), REFUSED], "machine.cloud-init-timeout", "Errno 111", "apply continues waiting"),
        ([facts("error", "('ssh', KeyError())")], "machine.cloud-init", "KeyError", "cloud-init.log"),
    ],
)
async def test_what_did_not_come_is_told_with_the_last_thing_seen(
    answers: list[Result | Pk3sError], code: str, evidence: str, remedy: str
) -> None:
    machine = Booting(answers)
    with pytest.raises(ProviderFailed) as caught:
        await machine.wait(SHORT)
    assert (caught.value.code, caught.value.where) == (code, "edge-1")
    assert evidence in caught.value.evidence
    assert remedy in caught.value.remedy
    assert machine.closed


async def test_who_shows_its_key_is_told_apart_from_who_does_not() -> None:
    refuses = {"other": OTHER, "silent": REFUSED, "locked": DENIED}
    answers: dict[str, Answer] = {"ours": facts("done")}
    names = ("ours", "other", "silent", "locked")
    found = await identify(dict.fromkeys(names, HERE), lambda _endpoints: FakeFleet(answers, refuses))
    assert found == {"ours": "proven", "other": "other", "silent": "silent", "locked": "proven"}


@pytest.mark.parametrize("kind", [HostKeyMismatch, AuthenticationRefused])
async def test_a_jump_host_proves_nothing_of_a_machine_behind_it(kind: type[Pk3sError]) -> None:
    error = kind("refused", where="jump host ops@gate:22 of edge-1", evidence="x", code="ssh.authentication")
    found = await identify({"edge-1": HERE}, lambda _endpoints: FakeFleet({}, {"edge-1": error}))
    assert found == {"edge-1": "silent"}


async def test_a_key_of_ours_that_cannot_be_used_proves_nothing() -> None:
    error = AuthenticationRefused("the private key is encrypted", where="edge-1", code="ssh.key-encrypted")
    with pytest.raises(AuthenticationRefused):
        await identify({"edge-1": HERE}, lambda _endpoints: FakeFleet({}, {"edge-1": error}))


async def test_a_jump_host_that_refuses_us_is_not_waited_for() -> None:
    error = AuthenticationRefused("refused", where="jump host ops@gate:22 of edge-1", code="ssh.authentication")
    booting = Booting([error])
    with pytest.raises(AuthenticationRefused):
        await wait_for_machine("edge-1", HERE, say=print, patience=QUICK, open_fleet=booting.open_fleet)
    assert booting.looks == 1


async def test_nobody_is_asked_where_there_is_nobody() -> None:
    def never(_endpoints: Mapping[str, Endpoint]) -> FakeFleet:
        raise AssertionError("no fleet is needed")

    assert await identify({}, never) == {}


async def test_a_machine_that_is_not_there_is_silent() -> None:
    """The real sessions: nothing listens on this port of the own computer."""
    endpoint = Endpoint("127.0.0.1", "pk3s", 1, host_keys=HERE_KEY)
    assert await identify({"edge-1": endpoint}, fleet_of_endpoints) == {"edge-1": "silent"}


HERE_KEY = ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",)
