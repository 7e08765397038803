"""The first words with a machine that is being made: until SSH lets us in, then until cloud-init has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from productive_k3s.contract.facts import HostFacts
from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.errors import (
    AuthenticationRefused,
    HostKeyMismatch,
    HostProgramFailed,
    HostUnreachable,
    Pk3sError,
    ProviderFailed,
    SudoRefused,
)
from productive_k3s_infra.hosts.fleet.gathering import require_facts
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.hosts.ssh.fleet import SshFleet
from productive_k3s_infra.hosts.ssh.hops import JUMP_HOST
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory

Say = Callable[[str], None]
Identity = Literal["proven", "other", "silent"]
OpenFleet = Callable[[Mapping[str, Endpoint]], Fleet]

_FACTS_SECONDS = 60.0
_CONNECT_SECONDS = 5.0
# A machine that boots closes the port, then sshd, then the user's keys, then sudo: all of it is the ordinary way there.
# Refused credentials are no mistake yet: cloud-init writes the keys after sshd may already answer.
_NOT_YET = (HostUnreachable, AuthenticationRefused, SudoRefused, HostProgramFailed)
_FOR_EVER = frozenset(
    {"host.old-python", "host.no-python", "ssh.agent", "ssh.key-encrypted", "ssh.key-hardware", "ssh.too-many-keys"}
)


# Refusals of a host that has proven itself before.
_AFTER_THE_KEY = frozenset({"ssh.authentication", "ssh.login-cut-off", "ssh.no-signature", "ssh.too-many-keys"})


@dataclass(frozen=True)
class Patience:
    """How long a machine may take: for SSH to let us in, then for cloud-init to end; `pause` between two looks."""

    ssh_seconds: float = 300.0
    cloud_init_seconds: float = 900.0
    pause: float = 1.0


def fleet_of_endpoints(endpoints: Mapping[str, Endpoint]) -> Fleet:
    """Return sessions to machines whose host keys are known; nobody is asked, and nothing is remembered."""
    hosts = tuple(Host(name, "agent", endpoint.address, endpoint) for name, endpoint in endpoints.items())
    return SshFleet(
        Inventory("machines", hosts),
        program=build_program(),
        known_hosts=None,
        trust=lambda _where, _keys: False,
        ask_sudo=lambda _host: None,
        connect_seconds=_CONNECT_SECONDS,
    )


async def wait_for_machine(
    name: str,
    endpoint: Endpoint,
    *,
    say: Say,
    patience: Patience | None = None,
    open_fleet: OpenFleet = fleet_of_endpoints,
) -> HostFacts:
    """Wait until a machine lets us in over SSH and its cloud-init has ended; return what is true of it then.

    Raises HostKeyMismatch at once when another key is shown than the one it was given, else ProviderFailed with code
    machine.no-ssh, machine.cloud-init (it ended with an error) or machine.cloud-init-timeout.
    """
    patience = patience or Patience()
    fleet = open_fleet({name: endpoint})
    try:
        say("waiting for SSH")
        facts = await _until_it_lets_us_in(name, endpoint, fleet, patience)
        if facts.cloud_init == "running":
            say("waiting for cloud-init")
            facts = await _until_cloud_init_ended(name, facts, fleet, patience)
    finally:
        await fleet.close()
    if facts.cloud_init == "error":
        raise ProviderFailed(
            "the machine's cloud-init failed",
            where=name,
            evidence=facts.cloud_init_error,
            remedy=(
                "check /var/log/cloud-init.log there; when the cause is fixed, or does "
                "not matter, destroy the machine and apply again"
            ),
            code="machine.cloud-init",
        )
    return facts


async def identify(
    endpoints: Mapping[str, Endpoint], open_fleet: OpenFleet = fleet_of_endpoints
) -> dict[str, Identity]:
    """Say of each machine whether it shows the host key that it was given: proven, another one's, or no answer.

    One connection each, all at once. Whether it accepts our credentials does not matter: keys are verified before.
    """
    if not endpoints:
        return {}
    fleet = open_fleet(endpoints)
    try:
        found = await asyncio.gather(*(_identity(name, fleet) for name in endpoints))
    finally:
        await fleet.close()
    return dict(zip(endpoints, found, strict=True))


async def _identity(name: str, fleet: Fleet) -> Identity:
    try:
        await fleet.session(name)
    except HostUnreachable:
        return "silent"
    except (HostKeyMismatch, AuthenticationRefused) as error:
        # What a jump host shows or refuses says nothing of the machine behind it.
        if error.where.startswith(JUMP_HOST):
            return "silent"
        if isinstance(error, HostKeyMismatch):
            return "other"
        if error.code not in _AFTER_THE_KEY:
            raise  # our own key cannot be used: nobody was asked yet
    return "proven"


async def _until_it_lets_us_in(name: str, endpoint: Endpoint, fleet: Fleet, patience: Patience) -> HostFacts:
    last: Pk3sError | None = None

    async def look() -> HostFacts | None:
        nonlocal last
        try:
            return await _facts(name, fleet)
        except _NOT_YET as error:
            is_of_jump_host = isinstance(error, AuthenticationRefused) and error.where.startswith(JUMP_HOST)
            if error.code in _FOR_EVER or is_of_jump_host:
                raise
            last = error
            return None

    facts = await _poll(look, patience.ssh_seconds, patience.pause)
    if facts is not None:
        return facts
    seen = f"{last.what} [{last.code}]: {last.evidence}" if last is not None else "no check of it finished"
    raise ProviderFailed(
        f"the machine did not accept an SSH login within {patience.ssh_seconds:g} s",
        where=name,
        evidence=seen,
        remedy=(last.remedy if last is not None and last.remedy else f"try: ssh {endpoint.user}@{endpoint.address}")
        + "; pk3s apply continues waiting",
        code="machine.no-ssh",
    ) from last


async def _until_cloud_init_ended(name: str, first: HostFacts, fleet: Fleet, patience: Patience) -> HostFacts:
    seen = f"cloud-init: {first.cloud_init}"

    async def look() -> HostFacts | None:
        nonlocal seen
        try:
            facts = await _facts(name, fleet)
        except HostUnreachable as error:  # cloud-init may restart the network, or the machine
            seen = f"{error.what}: {error.evidence}"
            return None
        seen = f"cloud-init: {facts.cloud_init}"
        return None if facts.cloud_init == "running" else facts

    facts = await _poll(look, patience.cloud_init_seconds, patience.pause)
    if facts is not None:
        return facts
    raise ProviderFailed(
        f"the machine's cloud-init did not end within {patience.cloud_init_seconds:g} s",
        where=name,
        evidence=seen,
        remedy=(
            "check /var/log/cloud-init-output.log there (a package mirror that hangs "
            "is the usual cause); pk3s apply continues waiting"
        ),
        code="machine.cloud-init-timeout",
    )


async def _poll(look: Callable[[], Awaitable[HostFacts | None]], seconds: float, pause: float) -> HostFacts | None:
    """Look until there is an answer, or until the time is over."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = await look()
                if found is not None:
                    return found
                await asyncio.sleep(pause)
    except TimeoutError:
        return None


async def _facts(name: str, fleet: Fleet) -> HostFacts:
    session = await fleet.session(name)
    result = await session.call("facts", deadline_seconds=_FACTS_SECONDS)
    return require_facts(name, result).host
