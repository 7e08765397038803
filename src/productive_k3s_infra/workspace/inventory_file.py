"""`inventory.json`: who and where the hosts are, for people and programs that come after pk3s. It holds no secret."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any

from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory
from productive_k3s_infra.workspace.directory import AREA, Workspace, open_workspace

SCHEMA = 1


def write_inventory(workspace: Workspace, inventory: Inventory) -> bool:
    """Write the inventory into the cluster directory; say whether the file changed."""
    open_workspace(workspace.cluster_file, workspace.cluster)
    with explained(workspace.inventory, AREA):
        return replace_file(workspace.inventory, render_inventory(inventory).encode(), 0o600)


def render_inventory(inventory: Inventory) -> str:
    """PURE: return the document, hosts in file order; keys of people are left out, even their paths."""
    document = {
        "schema": SCHEMA,
        "cluster": inventory.cluster,
        "hosts": [_host(host) for host in inventory.hosts],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def fingerprint(host_key: str) -> str:
    """PURE: return a public key's fingerprint as ssh-keygen -l shows it, `SHA256:...`."""
    words = host_key.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error) as error:
        raise BadInput(
            "this is not an SSH public key",
            evidence=host_key[:80],
            remedy='write it as "ssh-ed25519 AAAA..."',
            code="input.host-key",
        ) from error
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _host(host: Host) -> dict[str, Any]:
    return {
        "name": host.name,
        "role": host.role,
        "address": host.address,
        **({"publicAddress": host.public_address} if host.public_address else {}),
        "ssh": _endpoint(host.endpoint),
        "labels": dict(host.labels),
        "taints": list(host.taints),
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {
        "address": endpoint.address,
        "port": endpoint.port,
        "user": endpoint.user,
        "hostKeys": [fingerprint(key) for key in endpoint.host_keys],
    }
    if endpoint.jump is not None:
        found["jump"] = _endpoint(endpoint.jump)
    return found
