"""User data as the provider renders it, with keys of no machine."""

from __future__ import annotations

from productive_k3s.contract.secret import Secret
from productive_k3s_infra.providers.multipass.cloud_init import render_user_data

HOST_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
HOST_PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFu2zSGcHcGvZXyrAbSZXHjUVJYyR0XzhGTSjx3zDZrK pk3s-edge"
RULE = "ALL=(root) NOPASSWD: /usr/bin/python3 -I -c exec(eval(input()))"
USER_DATA = render_user_data(
    hostname="edge-agent-1",
    user="pk3s",
    sudo_rule=RULE,
    public_key=PUBLIC_KEY,
    host_key=Secret(HOST_KEY),
    host_public_key=HOST_PUBLIC_KEY,
    mark={"made by": "pk3s", "cluster": "edge", "node": "agent-1", "id": "0123456789abcdef"},
)
