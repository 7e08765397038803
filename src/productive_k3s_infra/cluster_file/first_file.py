"""A first cluster file: what may be said of it, and its text. It is written to be edited."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from productive_k3s_infra._files import at_home
from productive_k3s_infra.cluster_file import text_checks
from productive_k3s_infra.cluster_file.mistake import Objection
from productive_k3s_infra.cluster_file.provider import DOCUMENTS, Capabilities, capabilities_of, kind_of, kinds_with
from productive_k3s_infra.errors import BadInput

# What YAML reads as these very letters, and as a string.
_BARE = re.compile(r"[A-Za-z./~][A-Za-z0-9._+/@~-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"}


@dataclass(frozen=True)
class NewCluster:
    """What the new file should say. `servers` and `agents` are addresses (onprem); others have `agent_count`.

    An address may be `user@host:port`. Empty texts and None are not said: the file leaves them to the defaults.
    `region` and `allowed` (networks from which SSH and the API may be reached) are for aws.
    """

    name: str
    provider: str
    version: str = ""
    servers: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    agent_count: int | None = None
    user: str = ""
    port: int | None = None
    key: str = ""
    jump: str = ""
    artifacts: str = ""
    region: str = ""
    allowed: tuple[str, ...] = ()
    channel: str = ""


def require_wanted(wanted: NewCluster) -> None:
    """Raise BadInput for options that no cluster file can say together (PURE)."""
    kinds = [kind_of(document) for document in DOCUMENTS]
    can = capabilities_of(wanted.provider)
    if can is None:
        raise BadInput(
            f"there is no provider {wanted.provider}", remedy=f"--provider {', '.join(kinds)}", code="init.provider"
        )
    if can.address == "required":
        _require_named_hosts(wanted)
    elif wanted.servers or wanted.agents:
        raise BadInput(
            f"the provider {wanted.provider} chooses addresses itself",
            remedy="leave --server and --agent out; --agents sets the number",
            code="init.address",
        )
    _require_region(wanted)
    ssh = {"--user": wanted.user, "--port": wanted.port, "--key": wanted.key, "--jump": wanted.jump}
    said = [option for option, value in ssh.items() if value]
    if can.own_key and said:
        raise BadInput(
            f"{', '.join(said)}: pk3s creates the machines of {wanted.provider} with its own user and key",
            remedy="leave them out, or use --provider onprem for existing hosts",
            code="init.ssh",
        )
    if wanted.version and wanted.channel:
        raise BadInput(
            "--version and --channel cannot be combined", remedy="leave one of them out", code="init.version"
        )


def _require_named_hosts(wanted: NewCluster) -> None:
    if len(wanted.servers) != 1:
        raise BadInput(
            f"{len(wanted.servers)} servers were named",
            remedy="name one: --server 10.0.0.11 (several servers are not supported yet)",
            code="init.servers",
        )
    if wanted.agent_count is not None:
        raise BadInput(
            f"hosts of {wanted.provider} are named, not counted",
            remedy="name each: --agent 10.0.0.21 --agent 10.0.0.22",
            code="init.agents",
        )
    for given in (*wanted.servers, *wanted.agents):
        host_parts(given)


def _require_region(wanted: NewCluster) -> None:
    kinds = kinds_with("region")
    if wanted.provider in kinds and not (wanted.region and wanted.allowed):
        raise BadInput(
            f"{wanted.provider} needs a region, and networks from which its machines may be reached",
            remedy="--region eu-central-1 --allow 203.0.113.0/24; pk3s does not detect or open anything by default",
            code="init.aws",
        )
    if wanted.provider not in kinds and (wanted.region or wanted.allowed):
        names = " or ".join(kinds)
        raise BadInput(
            f"--region and --allow are for {names}",
            remedy=f"leave them out, or use --provider {names}",
            code="init.aws",
        )


def host_parts(given: str) -> dict[str, str | int]:
    """Return the parts of a host as the command line names it, `user@host:port`; raises BadInput (PURE)."""
    if ":" in given and text_checks.address(given) is None:
        return {"address": given}  # IPv6, with nothing around it
    parts = text_checks.jump_parts(given)
    if isinstance(parts, Objection):
        raise BadInput(
            f"{given} is not the address of a host",
            evidence="expected is an address or a name, or user@host:port",
            remedy="an IPv6 address with a port needs brackets: ops@[fd00::11]:2222",
            code="init.address",
        )
    return parts


def render_cluster_file(wanted: NewCluster, file: Path = Path("cluster.yaml")) -> str:
    """Return the text of a cluster file (PURE). It is written to be edited: short, with comments where people ask."""
    can = capabilities_of(wanted.provider) or Capabilities(makes_machines=False, address="required")
    lines = [
        "apiVersion: productive-k3s/v1alpha1",
        "kind: Cluster",
        "metadata:",
        f"  name: {_text(wanted.name)}",
        "spec:",
        "  provider:",
        f"    kind: {wanted.provider}",
        *_provider_lines(wanted, can),
        *_ssh_lines(wanted, can, file),
        "  k3s:",
        f"    version: {_text(wanted.version)}",
        *_artifact_lines(wanted),
        "    # tlsSan: [k3s.example]      # further names of the API",
        "    # server: {disable: [traefik]}   # any K3s flag for servers; `agent:` for agents",
        "  nodes:",
        *(_named_nodes(wanted) if can.address == "required" else _made_nodes(wanted, can)),
    ]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """Return a string as YAML reads it back, in quotes where its letters alone would mean something else."""
    return value if _BARE.fullmatch(value) and value.lower() not in _WORDS else json.dumps(value, ensure_ascii=False)


def _provider_lines(wanted: NewCluster, can: Capabilities) -> Iterator[str]:
    if wanted.region or wanted.allowed:
        allowed = ", ".join(map(_text, wanted.allowed))
        yield f"    region: {_text(wanted.region)}"
        yield f"    allowedCidrs: {{ssh: [{allowed}], api: [{allowed}]}}   # nothing else is open"
    if can.sizes:
        sizes = {"cpus": "2", "memory": "4G", "type": "t3a.xlarge", "disk": "80G" if can.whole_gigabytes else "20G"}
        size = ", ".join(f"{key}: {value}" for key, value in sizes.items() if key in can.sizes)
        yield f"    machine: {{{size}}}   # of each; a node may say its own"


def _ssh_lines(wanted: NewCluster, can: Capabilities, file: Path) -> Iterator[str]:
    key = f"    key: {_text(shown_key(wanted.key, file))}" if wanted.key else "    # key: ~/.ssh/id_ed25519"
    user = wanted.user or ("" if can.makes_machines else can.default_user)
    said = [
        *([f"    user: {_text(user)}"] if user else []),
        *([f"    port: {wanted.port}"] if wanted.port is not None else []),
        *([key] if wanted.key or not can.makes_machines else []),
        *([f"    jump: {_text(wanted.jump)}"] if wanted.jump else []),
    ]
    yield from ("  ssh:", *said) if said else ()


def _artifact_lines(wanted: NewCluster) -> Iterator[str]:
    if wanted.artifacts:
        yield f"    artifacts: {{source: {_text(release_source(wanted.artifacts))}}}"
    else:
        yield "    # artifacts: {source: https://mirror.example/k3s}   # or a directory; default: K3s' releases"


def _made_nodes(wanted: NewCluster, can: Capabilities) -> Iterator[str]:
    count = can.first_agents if wanted.agent_count is None else wanted.agent_count
    yield from ("    - name: server-1", "      role: server")
    if count:
        yield from ("    - name: agent", "      role: agent", f"      count: {count}")


def _named_nodes(wanted: NewCluster) -> Iterator[str]:
    declared = [("server", index, given) for index, given in enumerate(wanted.servers, 1)]
    declared += [("agent", index, given) for index, given in enumerate(wanted.agents, 1)]
    for role, index, given in declared:
        parts = host_parts(given)
        said = [f"user: {_text(str(parts['user']))}"] if "user" in parts else []
        said += [f"port: {parts['port']}"] if "port" in parts else []
        ssh = f", ssh: {{{', '.join(said)}}}" if said else ""
        yield f"    - {{name: {role}-{index}, role: {role}, address: {_text(str(parts['address']))}{ssh}}}"


def shown_key(key: str, file: Path) -> str:
    """Return a key's path as it also means something on a colleague's computer: from home, or from the file."""
    path = at_home(key)
    if not path.is_absolute():
        return os.path.relpath(path, file.parent)
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


def release_source(artifacts: str) -> str:
    """Return where a release is found as a cluster file says it: a directory by its absolute name."""
    is_folder = artifacts not in ("", "release") and "://" not in artifacts
    return str(at_home(artifacts).absolute()) if is_folder else artifacts


def require_only_hosts(said: Mapping[str, object]) -> None:
    """Raise BadInput for options, by name, that say what hosts that are there say themselves (PURE)."""
    given = [option for option, value in said.items() if value not in (None, "", ())]
    if given:
        raise BadInput(
            "the hosts themselves provide these values",
            evidence=f"--from-host together with {', '.join(given)}",
            remedy="leave the others out, and name each host with --from-host",
            code="init.from-host",
        )
