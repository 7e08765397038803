"""Which keys a host is offered, in OpenSSH's order: the agent's that are named, its others, then files.

A key that is named in the cluster file is the only one. What is named in the OpenSSH configuration and is not there is
passed over, as OpenSSH does, and told only where the login is refused.
"""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from productive_k3s_infra._files import at_home
from productive_k3s_infra.errors import AuthenticationRefused, BadInput, Pk3sError
from productive_k3s_infra.hosts.ssh.hops import Hop
from productive_k3s_infra.hosts.ssh.keys import KeyFile, read_certificate, read_key, rsa_bits
from productive_k3s_infra.hosts.ssh.tokens import UnknownToken

# It is on this computer, and asked for a list only: a touch or a PIN may take longer, but comes with a signature.
_AGENT_SECONDS = 5.0
_RSA = ("rsa-sha2-256", "rsa-sha2-512", "ssh-rsa")


@dataclass(frozen=True)
class Identities:
    """What is offered, in words too, and what was passed over and why."""

    pairs: tuple[asyncssh.SSHKeyPair, ...]
    offered: str
    passed_over: tuple[str, ...] = ()


@asynccontextmanager
async def identities_of(hop: Hop, where: str) -> AsyncIterator[Identities]:
    """Give the keys for a host; an SSH agent that is needed stays open for the block.

    Raises BadInput for a named key that is none, AuthenticationRefused for one that only an agent could use and none
    holds, and for an agent that does not answer.
    """
    if hop.key is None:
        async with _agent(hop, where) as agent:
            yield _usual(hop, agent)
        return
    file = read_key(at_home(hop.key))
    if file.kind in {"unreadable", "unusable"}:
        raise _no_key(file, where)
    if file.pairs:
        yield Identities(_certified(file.pairs, _certificates(hop)), f"the key {file.path}")
        return
    async with _agent(hop, where) as agent:
        held = [pair for pair in agent.pairs if pair.public_data == file.public]
        if not held:
            raise _out_of_reach(file, where, agent)
        yield Identities(_certified(held, _certificates(hop)), f"the key {file.path} of the SSH agent")


@dataclass(frozen=True)
class _Agent:
    """The keys that an SSH agent holds; `problem` says why there is none."""

    pairs: tuple[asyncssh.SSHKeyPair, ...] = ()
    problem: str = ""


def _usual(hop: Hop, agent: _Agent) -> Identities:
    """Return what OpenSSH would offer where no key is named on its command line."""
    files = [read_key(_path(hop, text)) for text in hop.config.identity_files]
    held = {pair.public_data: pair for pair in agent.pairs}
    named = [held[file.public] for file in files if file.public in held]
    others = [] if hop.config.identities_only else [pair for pair in agent.pairs if pair not in named]
    in_agent = {pair.public_data for pair in agent.pairs}
    from_files = [pair for file in files if file.public not in in_agent for pair in file.pairs]
    certificates = [*_certificates(hop), *(_beside(file) for file in files if file.public in in_agent)]
    found = _certified([*named, *others, *from_files], [one for one in certificates if one is not None])
    pairs = tuple(pair for pair in found if _is_accepted(hop, pair))
    passed_over = [f"{file.path}: {file.problem}" for file in files if _is_worth_telling(file, in_agent)]
    passed_over += [f"the SSH agent: {agent.problem}"] if agent.problem else []
    passed_over += [f"{len(found) - len(pairs)} keys of kinds that ~/.ssh/config forbids"] if pairs != found else []
    passed_over += [f"not tried by pk3s: {way}" for way in hop.config.not_tried]
    count = len(named) + len(others)
    offered = ", ".join(
        (
            *((f"{count} of the SSH agent",) if count else ()),
            *dict.fromkeys(str(file.path) for file in files if file.pairs and file.public not in in_agent),
        )
    )
    return Identities(pairs, f"keys: {offered}" if offered else "no key at all", tuple(passed_over))


def _is_worth_telling(file: KeyFile, in_agent: set[bytes]) -> bool:
    # Of the usual names most are never there.
    is_missing = file.kind == "unreadable" and not file.path.exists() and file.path.name.startswith("id_")
    return bool(file.problem) and file.public not in in_agent and not is_missing


def _certificates(hop: Hop) -> list[asyncssh.SSHCertificate]:
    found = (read_certificate(_path(hop, text)) for text in hop.config.certificate_files)
    return [one for one in found if one is not None]


def _beside(file: KeyFile) -> asyncssh.SSHCertificate | None:
    return read_certificate(Path(f"{file.path}-cert.pub"))


def _certified(
    pairs: Sequence[asyncssh.SSHKeyPair], certificates: Iterable[asyncssh.SSHCertificate]
) -> tuple[asyncssh.SSHKeyPair, ...]:
    """Return the pairs, before each the same one with its certificate, where there is one."""
    of_keys = {certificate.key.public_data: certificate for certificate in certificates}
    with_certificate = {pair.key_public_data for pair in pairs if pair.has_cert}
    found: list[asyncssh.SSHKeyPair] = []
    for pair in pairs:
        certificate = of_keys.get(pair.public_data)
        if certificate is not None and pair.public_data not in with_certificate:
            certified = copy.copy(pair)
            certified.set_certificate(certificate)
            found.append(certified)
        found.append(pair)
    return tuple(found)


def _is_accepted(hop: Hop, pair: asyncssh.SSHKeyPair) -> bool:
    """Say whether the configuration lets this kind of key be used (PubkeyAcceptedAlgorithms, RequiredRSASize)."""
    algorithm = pair.algorithm.decode()
    names = _RSA if algorithm == "ssh-rsa" else (algorithm,)
    if 0 < rsa_bits(pair.key_public_data) < hop.config.required_rsa_bits:
        return False
    listed = hop.config.listed("pubkeyacceptedalgorithms")
    return not listed or any(name in listed for name in names)


@asynccontextmanager
async def _agent(hop: Hop, where: str) -> AsyncIterator[_Agent]:
    try:
        address = _agent_address(hop)
    except UnknownToken as error:
        yield _Agent(problem=f"IdentityAgent names {error}, which has no value here")
        return
    if not address:
        yield _Agent()
        return
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(_AGENT_SECONDS):
                agent = await stack.enter_async_context(await asyncssh.connect_agent(address))
                found = _Agent(tuple(await agent.get_keys()))
        except TimeoutError as error:
            raise _silent(address, where) from error
        except (OSError, ValueError, asyncssh.Error) as error:
            found = _Agent(problem=f"{address}: {getattr(error, 'strerror', None) or error}")
        yield found


def _silent(address: str, where: str) -> AuthenticationRefused:
    return AuthenticationRefused(
        "the SSH agent of this computer does not answer",
        where=where,
        evidence=f"{address} did not answer within {_AGENT_SECONDS:g} s",
        remedy="try `ssh-add -l`, which should hang too; restart the agent, or name a key file: `ssh.key`",
        code="ssh.agent",
    )


def _agent_address(hop: Hop) -> str:
    """Return where the agent listens, '' for none (ssh_config(5), IdentityAgent)."""
    said = hop.config.identity_agent
    if said.lower() == "none":
        return ""
    if said == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK", "")
    if said.startswith("$") and not said.startswith("${"):
        return os.environ.get(said[1:], "")
    return hop.tokens.path(said)


def _path(hop: Hop, text: str) -> Path:
    try:
        return Path(hop.tokens.path(text))
    except UnknownToken:
        return Path(text)  # it is not there, and told so by this name


def _no_key(file: KeyFile, where: str) -> BadInput:
    if file.kind == "unreadable":
        return BadInput(
            "the private key cannot be read",
            where=where,
            evidence=f"{file.path}: {file.problem}",
            remedy="correct `key`, or make the file readable only for you: chmod 600",
            code="ssh.key-unreadable",
        )
    return BadInput(
        "the private key file is not a key",
        where=where,
        evidence=f"{file.path}: {file.problem}",
        remedy="name the private key, not its .pub file",
        code="ssh.key-unusable",
    )


def _out_of_reach(file: KeyFile, where: str, agent: _Agent) -> Pk3sError:
    because = agent.problem or ("the SSH agent does not have it" if agent.pairs else "no SSH agent has it")
    if file.kind == "public":
        return _no_key(KeyFile(file.path, problem=f"{file.problem}, and {because}"), where)
    if file.kind == "hardware":
        return AuthenticationRefused(
            "the private key is on a hardware key that pk3s cannot use",
            where=where,
            evidence=f"{file.path}: {file.problem}; {because}",
            remedy=f"add it to the SSH agent: ssh-add {file.path}; or install Python's fido2 next to pk3s",
            code="ssh.key-hardware",
        )
    return AuthenticationRefused(
        "the private key is encrypted, and the SSH agent cannot help",
        where=where,
        evidence=f"{file.path}: {because}",
        remedy=f"ssh-add {file.path}",
        code="ssh.key-encrypted",
    )
