"""`pk3s init`: write a first cluster file, with an exact version in it."""

from __future__ import annotations

import http.client
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from productive_k3s_infra.errors import BadInput, StepFailed

CHANNELS = "https://update.k3s.io/v1-release/channels"
_REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(frozen=True)
class Wanted:
    """What the new file should say. `servers` and `agents` are addresses (onprem); `agent_count` is for local."""

    name: str
    provider: str
    version: str
    servers: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    agent_count: int = 2
    user: str = "root"


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
    nodes = _local_nodes(wanted) if wanted.provider == "local" else _onprem_nodes(wanted)
    ssh = [] if wanted.provider == "local" else ["  ssh:", f"    user: {wanted.user}", "    # key: ~/.ssh/id_ed25519"]
    lines = [
        "apiVersion: productive-k3s/v1alpha1",
        "kind: Cluster",
        "metadata:",
        f"  name: {wanted.name}",
        "spec:",
        "  provider:",
        f"    kind: {wanted.provider}",
        *ssh,
        "  k3s:",
        f"    version: {wanted.version}",
        "    # tlsSan: [k3s.example]      # further names of the API",
        "    # server: {disable: [traefik]}   # any K3s flag for servers; `agent:` for agents",
        "  nodes:",
        *nodes,
    ]
    return "\n".join(lines) + "\n"


def _local_nodes(wanted: Wanted) -> list[str]:
    agents = (
        ["    - name: agent", "      role: agent", f"      count: {wanted.agent_count}"] if wanted.agent_count else []
    )
    return ["    - name: server-1", "      role: server", *agents]


def _onprem_nodes(wanted: Wanted) -> list[str]:
    declared = [("server", index, address) for index, address in enumerate(wanted.servers, 1)]
    declared += [("agent", index, address) for index, address in enumerate(wanted.agents, 1)]
    return [f"    - {{name: {role}-{index}, role: {role}, address: {address}}}" for role, index, address in declared]


def write_cluster_file(path: Path, text: str) -> None:
    """Write the new file; an existing one is never replaced."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise BadInput(
            "the file exists already", where=str(path), remedy="choose another name with -f", code="init.exists"
        ) from error


def require_wanted(provider: str, servers: tuple[str, ...], agents: tuple[str, ...]) -> None:
    """Raise BadInput for a wish that no cluster file can say (PURE)."""
    if provider not in {"local", "onprem"}:
        raise BadInput(f"there is no provider {provider}", remedy="--provider local or onprem", code="init.provider")
    if provider == "onprem" and len(servers) != 1:
        raise BadInput(
            f"{len(servers)} servers were named",
            remedy="name one: --server 10.0.0.11 (several servers are not supported yet)",
            code="init.servers",
        )
    if provider == "local" and (servers or agents):
        raise BadInput(
            "the provider local chooses addresses itself", remedy="leave --server and --agent out", code="init.address"
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
