"""Each provider is one row, and nothing else asks which kind a cluster has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import productive_k3s_infra
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.cluster_file.provider import DOCUMENTS, kind_of
from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.inventory.build import nothing_configured
from productive_k3s_infra.providers.registry import ROWS, provider_of
from productive_k3s_infra.workspace.directory import Workspace

FILE = """
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {name: edge}
spec:
  provider: {kind: KIND}
  k3s: {version: v1.34.4+k3s1}
  nodes:
    - {name: server-1, role: server}
"""
KEYS = {"aws": ", region: eu-central-1, allowedCidrs: {ssh: [203.0.113.0/24], api: [203.0.113.0/24]}"}
SOURCES = Path(productive_k3s_infra.__file__).parent


def test_every_document_of_the_file_has_its_row() -> None:
    assert tuple(row.document for row in ROWS) == DOCUMENTS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_a_row_makes_the_provider_of_its_kind(row: object, tmp_path: Path) -> None:
    assert row in ROWS
    kind = kind_of(row.document)  # type: ignore[attr-defined]
    text = FILE.replace("KIND", kind + KEYS.get(kind, ""))
    if row.capabilities.address == "required":  # type: ignore[attr-defined]
        text = text.replace("role: server", "role: server, address: 10.0.0.11")
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    spec = load_cluster_file(file, {})
    found = provider_of(spec, Workspace(file, spec.name), nothing_configured)
    assert type(found).__module__.startswith(f"productive_k3s_infra.providers.{kind}")


def test_no_module_asks_for_the_kind_of_a_provider() -> None:
    asking = re.compile(r"kind (?:==|!=|in|not in) |provider (?:==|!=) [\"']")
    words = [kind_of(document) for document in DOCUMENTS]
    found = [
        f"{path.relative_to(SOURCES)}: {line.strip()}"
        for path in SOURCES.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if asking.search(line) and any(f'"{word}"' in line for word in words)
    ]
    assert found == []


async def test_hosts_that_exist_are_made_by_nobody_and_never_destroyed(tmp_path: Path) -> None:
    text = FILE.replace("KIND", "onprem").replace("role: server", "role: server, address: 10.0.0.11")
    (tmp_path / "cluster.yaml").write_text(text)
    spec = load_cluster_file(tmp_path / "cluster.yaml", {})
    provider = provider_of(spec, Workspace(tmp_path / "cluster.yaml", "edge"), nothing_configured)
    with pytest.raises(ProviderFailed) as caught:
        await provider.create(("server-1",), lambda *_: None)
    assert (caught.value.code, caught.value.where) == ("onprem.no-machines", "server-1")
    await provider.destroy_all(lambda *_: None)
    assert (await provider.survey()).machine("server-1") is not None
