"""How a host is reached: the cluster file first, then this computer's OpenSSH configuration, then the defaults."""

from __future__ import annotations

import pytest

from productive_k3s_infra.cluster_file.model import ClusterSsh, Jump, Node, NodeSsh
from productive_k3s_infra.inventory.build import Login, declared_endpoint
from static.plan import clusters

CONFIGURED = {"web": Login("deploy", 2222), "gate": Login("jumper", 2200), "odd": Login(None, 99)}


def login_of(address: str, user: str | None) -> Login:
    found = CONFIGURED.get(address, Login())
    return Login(user or found.user, found.port)


@pytest.mark.parametrize(
    ("address", "ssh", "reached"),
    [
        ("web", NodeSsh(), "deploy@web:2222"),
        ("db", NodeSsh(), "root@db:22"),
        ("odd", NodeSsh(), "root@odd:99"),
        ("web", NodeSsh(user="ops"), "ops@web:2222"),
        ("web", NodeSsh(user="ops", port=22), "ops@web:22"),
        ("10.0.0.1", NodeSsh(address="web"), "deploy@web:2222"),
    ],
)
def test_who_logs_in_where(address: str, ssh: NodeSsh, reached: str) -> None:
    node = Node(name="server-1", role="server", address=address, ssh=ssh)
    assert str(declared_endpoint(clusters.spec(), node, login_of)) == reached


@pytest.mark.parametrize(
    ("jump", "reached"),
    [
        (Jump(address="gate"), "jumper@gate:2200"),
        (Jump(address="gate", user="me", port=22), "me@gate:22"),
        (Jump(address="other"), "ops@other:22"),
    ],
)
def test_a_jump_host_is_asked_for_too(jump: Jump, reached: str) -> None:
    node = Node(name="server-1", role="server", address="10.0.0.1", ssh=NodeSsh(user="ops", jump=jump))
    assert str(declared_endpoint(clusters.spec(), node, login_of).jump) == reached


@pytest.mark.parametrize(
    ("own", "of_jump", "keys"),
    [
        (None, None, ("/keys/all", "/keys/all")),
        ("/keys/node", None, ("/keys/node", "/keys/node")),
        ("/keys/node", "/keys/jump", ("/keys/node", "/keys/jump")),
    ],
)
def test_whose_key_is_used_where(own: str | None, of_jump: str | None, keys: tuple[str, str]) -> None:
    jump = Jump(address="gate", key=of_jump)
    node = Node(name="server-1", role="server", address="10.0.0.1", ssh=NodeSsh(key=own, jump=jump))
    spec = clusters.spec().model_copy(update={"ssh": ClusterSsh(key="/keys/all")})
    endpoint = declared_endpoint(spec, node)
    assert endpoint.jump is not None
    assert (endpoint.key, endpoint.jump.key) == keys
