"""What `asyncssh.connect` is told for a host. It reads no configuration by itself: ssh has said what there is."""

from __future__ import annotations

import functools
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import asyncssh

from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.hosts.ssh.hops import Hop
from productive_k3s_infra.hosts.ssh.host_keys import Known

# A dead way is noticed after a minute, and firewalls that forget silent connections are kept awake.
_KEEPALIVE_SECONDS = 15
_KEEPALIVES_MISSED = 4
# Fast first: asyncssh leaves GCM to OpenSSL in one call per packet; the others cost two.
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
# OpenSSH's defaults for plain keys, newest first: a host without a key of a known kind shows the one it has.
_HOST_KEYS = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("rsa-sha2-512", "rsa-sha2-256"),
)
_RSA = ("rsa-sha2-512", "rsa-sha2-256")
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
# As ssh_config(5) calls them, and as asyncssh does.
_LISTS = {"ciphers": "encryption_algs", "macs": "mac_algs", "kexalgorithms": "kex_algs"}


def connect_options(hop: Hop, known: Known, where: str) -> Mapping[str, Any]:
    """Return the options; raises BadInput for lists of algorithms of which asyncssh has none."""
    options: dict[str, Any] = {
        "config": None,
        "username": hop.user,
        "known_hosts": known.lists,
        "host_key_alias": hop.config.host_key_alias,
        "server_host_key_algs": _host_key_algorithms(hop, known, where),
        "encryption_algs": list(_CIPHERS),
        "compression_algs": "none",
        # Keys are handed out one by one, see the client.
        "client_keys": None,
        "agent_path": None,
        "password_auth": False,
        "kbdint_auth": False,
        "gss_auth": False,
        "gss_kex": False,
        "host_based_auth": False,
        "agent_forwarding": False,
        "x11_forwarding": False,
        "keepalive_interval": _KEEPALIVE_SECONDS,
        "keepalive_count_max": _KEEPALIVES_MISSED,
    }
    for keyword, option in _LISTS.items():
        if hop.config.listed(keyword):
            options[option] = _supported(keyword, option, hop, where)
    if hop.config.address_family in _FAMILIES:
        options["family"] = _FAMILIES[hop.config.address_family]
    if hop.config.bind_address:
        options["local_addr"] = (hop.config.bind_address, 0)
    return options


def _host_key_algorithms(hop: Hop, known: Known, where: str) -> Sequence[str]:
    """Return kinds of keys: those of the known keys first, so that a host shows the one that is known."""
    listed = _supported("hostkeyalgorithms", "server_host_key_algs", hop, where)
    if known.authorities:
        if hop.config.listed("casignaturealgorithms"):
            raise _not_honoured("casignaturealgorithms", hop, where, "together with @cert-authority in known_hosts")
        return listed or ()
    wanted = [
        name for key in known.keys for name in (_RSA if key.algorithm == b"ssh-rsa" else (key.algorithm.decode(),))
    ]
    if not listed:
        return list(dict.fromkeys((*wanted, *_HOST_KEYS)))
    plain = [name for name in listed if "-cert-" not in name]
    if not plain:
        raise _not_honoured("hostkeyalgorithms", hop, where, "lists only certificates, and no authority is known")
    return sorted(plain, key=lambda name: name not in wanted)


def _supported(keyword: str, option: str, hop: Hop, where: str) -> list[str]:
    """Return what asyncssh has of a list that somebody set, in its order."""
    listed = hop.config.listed(keyword)
    found = [name for name in listed if _is_known(option, name)]
    if listed and not found:
        raise _not_honoured(keyword, hop, where, f"{','.join(listed)}: pk3s supports none of them")
    return found


def _not_honoured(keyword: str, hop: Hop, where: str, why: str) -> BadInput:
    return BadInput(
        "pk3s cannot follow the OpenSSH configuration",
        where=where,
        evidence=f"ssh -G {hop.address} says: {keyword} {why}",
        remedy="remove it for this host",
        code="ssh.config",
    )


@functools.cache
def _is_known(option: str, name: str) -> bool:
    given: dict[str, Any] = {option: [name]}
    try:
        asyncssh.SSHClientConnectionOptions(config=None, client_keys=None, **given)
    except ValueError:
        return False
    return True
