"""`pk3s init`: write a first cluster file, with an exact version in it; what it writes, `pk3s plan` accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from productive_k3s.k3s.release import DEFAULT_MINOR, DEFAULT_VERSION
from productive_k3s_infra.artifacts.channel import resolve_channel
from productive_k3s_infra.cluster_file.first_file import NewCluster, host_parts, render_cluster_file, require_wanted
from productive_k3s_infra.cluster_file.load import load_cluster_text
from productive_k3s_infra.cluster_file.mistake import Mistake
from productive_k3s_infra.errors import BadInput, ClusterFileInvalid
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.inventory.build import Login, LoginOf
from productive_k3s_infra.workspace.cluster_file import require_free, write_cluster_file

DEFAULT_CHANNEL = "stable"


@dataclass(frozen=True)
class FirstFile:
    """A cluster file that is not written yet, the version of K3s in it, and whether it names hosts that exist."""

    text: str
    version: str
    names_hosts: bool


def init(file: Path, wanted: NewCluster, environment: Mapping[str, str], login_of: LoginOf | None = None) -> str:
    """Write the file and return its version of K3s. Everything that was said is in it, or BadInput is raised.

    Nobody is asked for a version before it is certain that the file can be written. Raises StepFailed too, where the
    channel server or the disk does not answer.
    """
    first = first_file(file, wanted, environment, login_of)
    write_cluster_file(file, first.text)
    return first.version


def first_file(
    file: Path, wanted: NewCluster, environment: Mapping[str, str], login_of: LoginOf | None = None
) -> FirstFile:
    """Return what `init` would write.

    A user that nobody says is the one that `login_of` says, by default this computer's OpenSSH configuration: the file
    is a colleague's too.
    """
    require_wanted(wanted)
    require_free(file)
    require_acceptable(file, replace(wanted, version=wanted.version or DEFAULT_VERSION), environment)
    exact = replace(wanted, version=wanted.version or resolve_channel(wanted.channel or DEFAULT_CHANNEL))
    require_acceptable(file, exact, environment)
    return FirstFile(
        render_cluster_file(_with_user(exact, login_of or OpenSsh().login), file), exact.version, bool(exact.servers)
    )


def _with_user(wanted: NewCluster, login_of: LoginOf) -> NewCluster:
    if wanted.user or not wanted.servers:
        return wanted
    parts = host_parts(wanted.servers[0])
    login = Login() if "user" in parts else login_of(str(parts["address"]), None)
    return replace(wanted, user=login.user or "")


def require_acceptable(file: Path, wanted: NewCluster, environment: Mapping[str, str]) -> None:
    """Raise BadInput with everything that `pk3s plan` would say against the file to be."""
    try:
        load_cluster_text(render_cluster_file(wanted, file), file, environment)
    except ClusterFileInvalid as error:
        raise BadInput(
            "a cluster file cannot have these values",
            evidence="; ".join(dict.fromkeys(_said(item) for item in error.mistakes if isinstance(item, Mistake))),
            remedy="correct the options; nothing was written",
            code="init.not-valid",
        ) from error


def _said(mistake: Mistake) -> str:
    expected = f"expected {mistake.expected}" if mistake.expected else ""
    remedy = mistake.remedy
    if mistake.code == "request.version":
        # The loader sends people here.
        remedy = f"--version {DEFAULT_VERSION}, or --channel {DEFAULT_MINOR} for the newest of a minor version"
    return ", ".join(part for part in (mistake.what, expected, remedy) if part)
