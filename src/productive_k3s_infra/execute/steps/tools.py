"""What carrying out steps takes: the hosts, the provider, and what is filled in just before sending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from productive_k3s.contract.request import Secrets
from productive_k3s_infra.execute.steps.machines import ProviderCalls
from productive_k3s_infra.execute.steps.tokens import TokenSource
from productive_k3s_infra.hosts.fleet.session import Fleet

NO_SECRETS = Secrets()


@dataclass(frozen=True)
class Tools:
    """`local_files` maps a digest to the file on this computer that is pushed; `secrets` are those of every request."""

    fleet: Fleet
    provider: ProviderCalls
    tokens: TokenSource
    local_files: Mapping[str, Path] = field(default_factory=dict)
    secrets: Secrets = NO_SECRETS
