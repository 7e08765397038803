"""The key for machines that pk3s makes, and the inventory for whoever comes after it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory
from productive_k3s_infra.providers.local.model import require_public_key
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.inventory_file import fingerprint, render_inventory, write_inventory
from productive_k3s_infra.workspace.operator_key import ensure_operator_key

# Made for this test with ssh-keygen; its fingerprint is what `ssh-keygen -lf` says.
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOIIQRIolFGjsuAovHm5rxbhZNYmSTEcUoQahu7YGaV4"
FINGERPRINT = "SHA256:k2mHQzPqnYk9L9JUE5R4XB5Sp+slNzRZWLwHYl2p3Q0"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "cluster.yaml", "edge")


def test_the_key_is_made_once(workspace: Workspace) -> None:
    key = ensure_operator_key(workspace)
    assert key.path == workspace.operator_key
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    assert key.path.read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    private = load_ssh_private_key(key.path.read_bytes(), password=None)
    public = load_ssh_public_key(key.public_text.encode())
    assert private.public_key() == public
    require_public_key(key.public_text)
    key.path.chmod(0o644)
    assert ensure_operator_key(workspace) == key
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600


def test_the_public_half_is_made_anew_from_the_private_one(workspace: Workspace) -> None:
    key = ensure_operator_key(workspace)
    beside = key.path.with_name("operator_key.pub")
    assert beside.read_text() == key.public_text + "\n"
    beside.unlink()
    assert ensure_operator_key(workspace) == key
    assert beside.read_text() == key.public_text + "\n"


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_a_broken_key_is_told_and_never_replaced(workspace: Workspace, content: bytes) -> None:
    path = ensure_operator_key(workspace).path
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        ensure_operator_key(workspace)
    assert caught.value.code == "workspace.key"
    assert path.read_bytes() == content


def _inventory() -> Inventory:
    jump = Endpoint("bastion.example", "ops", 2222, "/home/ops/.ssh/private-jump", (HOST_KEY,))
    endpoint = Endpoint("10.0.0.11", "ops", 22, "/home/ops/.ssh/private", (HOST_KEY,), jump)
    server = Host("server-1", "server", "10.0.0.11", endpoint, {"disk": "ssd"}, ("a=b:NoSchedule",))
    return Inventory("edge", (server, Host("agent-1", "agent", "10.0.0.21", Endpoint("10.0.0.21"))))


def test_the_inventory_says_who_and_where(workspace: Workspace) -> None:
    assert write_inventory(workspace, _inventory())
    assert not write_inventory(workspace, _inventory())
    document = json.loads(workspace.inventory.read_text())
    assert document["schema"] == 1
    assert document["cluster"] == "edge"
    server, agent = document["hosts"]
    assert server == {
        "name": "server-1",
        "role": "server",
        "address": "10.0.0.11",
        "ssh": {
            "address": "10.0.0.11",
            "port": 22,
            "user": "ops",
            "hostKeys": [FINGERPRINT],
            "jump": {"address": "bastion.example", "port": 2222, "user": "ops", "hostKeys": [FINGERPRINT]},
        },
        "labels": {"disk": "ssd"},
        "taints": ["a=b:NoSchedule"],
    }
    assert agent["ssh"] == {"address": "10.0.0.21", "port": 22, "user": "root", "hostKeys": []}
    assert "private" not in render_inventory(_inventory())


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 not/base64!"])
def test_what_is_no_host_key_is_told(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        fingerprint(text)
    assert caught.value.code == "input.host-key"
