"""The providers: one row each. Another is a row here, its keys in `cluster_file.provider`, and a folder beside this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from productive_k3s_infra.cluster_file import provider as written
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.cluster_file.provider import Capabilities
from productive_k3s_infra.inventory.build import LoginOf
from productive_k3s_infra.providers.aws.provider import AwsProvider
from productive_k3s_infra.providers.local.provider import LocalProvider
from productive_k3s_infra.providers.multipass.provider import MultipassProvider
from productive_k3s_infra.providers.onprem import OnpremProvider
from productive_k3s_infra.providers.protocol import Provider
from productive_k3s_infra.workspace.directory import Workspace


@dataclass(frozen=True)
class Row:
    """One provider: what a cluster file says of it (`document`, with its capabilities), and what finds its machines.

    `make` is also given what this computer's OpenSSH configuration says of a login, for hosts that are there already.
    """

    document: type[written.Document]
    make: Callable[[ClusterSpec, Workspace, LoginOf], Provider]

    @property
    def kind(self) -> str:
        """The word by which a cluster file names it."""
        return written.kind_of(self.document)

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self.document.capabilities


ROWS: tuple[Row, ...] = (
    Row(written.LocalProvider, lambda spec, workspace, _: LocalProvider.of(spec, workspace)),
    Row(written.MultipassProvider, lambda spec, workspace, _: MultipassProvider(spec, workspace)),
    Row(written.OnpremProvider, lambda spec, _, login_of: OnpremProvider(spec, login_of)),
    Row(written.AwsProvider, lambda spec, workspace, _: AwsProvider(spec, workspace)),
)


def provider_of(spec: ClusterSpec, workspace: Workspace, login_of: LoginOf) -> Provider:
    """Return the provider that the cluster file names; nothing is looked at or made yet."""
    row = next(row for row in ROWS if isinstance(spec.provider, row.document))
    return row.make(spec, workspace, login_of)
