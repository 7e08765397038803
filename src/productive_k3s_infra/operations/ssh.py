"""`pk3s ssh NODE`: how the person's own ssh reaches a node's host. Nothing is connected to here."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence

from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.hosts.ssh.own_client import own_client
from productive_k3s_infra.operations.one_host import host_called
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.workspace.directory import AREA, open_workspace

KNOWN_HOSTS = "ssh_known_hosts"


async def ssh_words(session: Session, node: str, command: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the argument vector for a shell on the node's host, or for a command there.

    One word is the host's shell's to read (`'a | b'`); several are one command, as they are. Raises BadInput where
    there is no ssh on this computer, and as `host_called` does.
    """
    if shutil.which("ssh") is None:
        raise BadInput(
            "there is no ssh on this computer",
            where="PATH",
            remedy="install the OpenSSH client (openssh-client)",
            code="ssh.no-client",
        )
    host, _ = await host_called(session, node)
    workspace = session.workspace
    file = workspace.path / KNOWN_HOSTS
    made = await own_client(
        host.endpoint,
        node,
        openssh=session.openssh,
        team=workspace.known_hosts,
        known_file=file,
        alias=f"{session.spec.name}-{node}",
    )
    if made.known_hosts:
        open_workspace(workspace.cluster_file, workspace.cluster)
        with explained(file, AREA):
            replace_file(file, made.known_hosts.encode(), 0o600)
    said = (command[0] if len(command) == 1 else shlex.join(command),) if command else ()
    return (*made.words, *(("--", *said) if said else ()))
