"""`pk3s init`: write a first cluster file, with an exact version in it."""

from __future__ import annotations

import http.client
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from productive_k3s_infra._files import explain
from productive_k3s_infra.errors import BadInput, StepFailed
from productive_k3s_infra.workspace.directory import AREA

CHANNELS = "https://update.k3s.io/v1-release/channels"
# Providers that make machines, and how many agents a first file has.
DEFAULT_AGENTS = {"local": 2, "multipass": 2, "aws": 0}
_REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(frozen=True)
class Wanted:
    """What the new file should say. `servers` and `agents` are addresses (onprem); others have `agent_count`.

    `region` and `allowed` (networks from which SSH and the API may be reached) are for aws.
    """

    name: str
    provider: str
    version: str
    servers: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    agent_count: int | None = None
    user: str = "root"
    region: str = ""
    allowed: tuple[str, ...] = ()


def resolve_channel(channel: str, *, base: str = CHANNELS, timeout_seconds: float = 15.0) -> str:
    """Return the version a K3s channel points at now (k3s.io channel server: the redirect's last path element).

    Raises StepFailed when the channel server cannot be asked, with the way around it.
    """
    url = urllib.parse.urlsplit(f"{base}/{urllib.parse.quote(channel)}")
    https = url.scheme == "https"
    connect = http.client.HTTPSConnection if https else http.client.HTTPConnection
    connection = connect(url.hostname or "", url.port, timeout=timeout_seconds)
    try:
        connection.request("GET", url.path)
        answer = connection.getresponse()
        target = answer.getheader("Location", "")
    except (OSError, http.client.HTTPException) as error:
        raise StepFailed(
            f"the channel {channel} could not be resolved",
            where=url.netloc,
            evidence=str(error),
            remedy="name the version yourself: --version v1.34.4+k3s1",
            code="channel.unreachable",
        ) from error
    finally:
        connection.close()
    version = urllib.parse.unquote(target.rstrip("/").rpartition("/")[2])
    if answer.status not in _REDIRECTS or not version.startswith("v"):
        raise BadInput(
            f"there is no channel {channel}",
            where=url.netloc,
            evidence=f"HTTP {answer.status}",
            remedy="use stable, latest, or a minor version such as v1.34",
            code="channel.unknown",
        )
    return version


def render_cluster_file(wanted: Wanted) -> str:
    """Return the text of a cluster file (PURE). It is written to be edited: short, with comments where people ask."""
    nodes = _onprem_nodes(wanted) if wanted.provider == "onprem" else _made_nodes(wanted)
    ssh = ["  ssh:", f"    user: {wanted.user}", "    # key: ~/.ssh/id_ed25519"] if wanted.provider == "onprem" else []
    lines = [
        "apiVersion: productive-k3s/v1alpha1",
        "kind: Cluster",
        "metadata:",
        f"  name: {wanted.name}",
        "spec:",
        "  provider:",
        f"    kind: {wanted.provider}",
        *_provider_lines(wanted),
        *ssh,
        "  k3s:",
        f"    version: {wanted.version}",
        "    # tlsSan: [k3s.example]      # further names of the API",
        "    # server: {disable: [traefik]}   # any K3s flag for servers; `agent:` for agents",
        "  nodes:",
        *nodes,
    ]
    return "\n".join(lines) + "\n"


def _provider_lines(wanted: Wanted) -> list[str]:
    if wanted.provider == "multipass":
        return ["    machine: {cpus: 2, memory: 4G, disk: 20G}   # of each; a node may say its own"]
    if wanted.provider == "aws":
        allowed = ", ".join(wanted.allowed)
        return [
            f"    region: {wanted.region}",
            f"    allowedCidrs: {{ssh: [{allowed}], api: [{allowed}]}}   # nothing else is open",
            "    machine: {type: t3a.xlarge, disk: 80G}",
        ]
    return []


def _made_nodes(wanted: Wanted) -> list[str]:
    count = DEFAULT_AGENTS.get(wanted.provider, 0) if wanted.agent_count is None else wanted.agent_count
    agents = ["    - name: agent", "      role: agent", f"      count: {count}"] if count else []
    return ["    - name: server-1", "      role: server", *agents]


def _onprem_nodes(wanted: Wanted) -> list[str]:
    declared = [("server", index, address) for index, address in enumerate(wanted.servers, 1)]
    declared += [("agent", index, address) for index, address in enumerate(wanted.agents, 1)]
    return [f"    - {{name: {role}-{index}, role: {role}, address: {address}}}" for role, index, address in declared]


def write_cluster_file(path: Path, text: str) -> None:
    """Write the new file; an existing one is never replaced. Raises BadInput or StepFailed where it cannot be."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise BadInput(
            "the file exists already", where=str(path), remedy="choose another name with -f", code="init.exists"
        ) from error
    except OSError as error:
        raise explain(error, path, AREA) from error


def require_wanted(wanted: Wanted) -> None:
    """Raise BadInput for a wish that no cluster file can say (PURE)."""
    provider = wanted.provider
    if provider not in (*DEFAULT_AGENTS, "onprem"):
        known = ", ".join((*DEFAULT_AGENTS, "onprem"))
        raise BadInput(f"there is no provider {provider}", remedy=f"--provider {known}", code="init.provider")
    if provider == "onprem" and len(wanted.servers) != 1:
        raise BadInput(
            f"{len(wanted.servers)} servers were named",
            remedy="name one: --server 10.0.0.11 (several servers are not supported yet)",
            code="init.servers",
        )
    if provider != "onprem" and (wanted.servers or wanted.agents):
        raise BadInput(
            f"the provider {provider} chooses addresses itself",
            remedy="leave --server and --agent out; --agents says how many",
            code="init.address",
        )
    if provider == "aws" and not (wanted.region and wanted.allowed):
        raise BadInput(
            "aws wants a region, and networks from which its machines may be reached",
            remedy="--region eu-central-1 --allow 203.0.113.0/24; nothing is detected, nothing is open by default",
            code="init.aws",
        )
    if provider != "aws" and (wanted.region or wanted.allowed):
        raise BadInput(
            "--region and --allow are for aws", remedy="leave them out, or say --provider aws", code="init.aws"
        )


def require_only_hosts(servers: tuple[str, ...], agents: tuple[str, ...], version: str | None) -> None:
    """Raise BadInput for a wish beside hosts that already are what they are (PURE)."""
    if servers or agents or version:
        raise BadInput(
            "the hosts say themselves what they are",
            evidence="--from-host together with --server, --agent or --version",
            remedy="leave the others out, and name every host with --from-host",
            code="init.from-host",
        )
