"""What K3s' flags are: names, roles, which are secret, critical or repeatable.

K3s skips a server's unknown key with a warning and an agent dies of one (k3s-io docs, installation/configuration; seen
on v1.34.3), so a typo must be caught before anything is written.
"""

from __future__ import annotations

import difflib
import functools
import json
import pkgutil
import re
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Optional, Tuple

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.failure import Failure
from productive_k3s.k3s.paths import ADMIN_KUBECONFIG

# This program writes these itself; a wish for them has its own field in the request.
RESERVED = {
    "agent-token": "tokens are generated on the first server",
    "agent-token-file": "tokens are generated on the first server",
    "cluster-init": "use datastore: etcd instead",
    "config": "the file is always /etc/rancher/k3s/config.yaml",
    "data-dir": "only the default /var/lib/rancher/k3s is supported",
    "node-label": "labels are declared with the node",
    "node-name": "the node's name is declared with the node",
    "node-taint": "taints are declared with the node",
    "server": "the registration address is derived from the first server",
    "tls-san": "use tlsSan instead",
    "token": "tokens are generated on the first server",
    "token-file": "tokens are generated on the first server",
}
# Flags that K3s reads from the environment where neither config.yaml nor the command line sets them (docs.k3s.io,
# cli/server and cli/agent). K3S_CONFIG_FILE is none of them: it says where the file is.
VARIABLES: Mapping[str, str] = {
    "K3S_AGENT_TOKEN": "agent-token",
    "K3S_AGENT_TOKEN_FILE": "agent-token-file",
    "K3S_APISERVER_BIND_ADDRESS": "apiserver-bind-address",
    "K3S_APISERVER_PORT": "apiserver-port",
    "K3S_CLUSTER_INIT": "cluster-init",
    "K3S_DATA_DIR": "data-dir",
    "K3S_DATASTORE_CAFILE": "datastore-cafile",
    "K3S_DATASTORE_CERTFILE": "datastore-certfile",
    "K3S_DATASTORE_ENDPOINT": "datastore-endpoint",
    "K3S_DATASTORE_KEYFILE": "datastore-keyfile",
    "K3S_DEBUG": "debug",
    "K3S_KUBECONFIG_GROUP": "write-kubeconfig-group",
    "K3S_KUBECONFIG_NAME": "write-kubeconfig-name",
    "K3S_KUBECONFIG_MODE": "write-kubeconfig-mode",
    "K3S_KUBECONFIG_OUTPUT": "write-kubeconfig",
    "K3S_LB_SERVER_PORT": "lb-server-port",
    "K3S_NODE_NAME": "node-name",
    "K3S_RESOLV_CONF": "resolv-conf",
    "K3S_SELINUX": "selinux",
    "K3S_SUPERVISOR_PORT": "supervisor-port",
    "K3S_SYSTEM_DEFAULT_REGISTRY": "system-default-registry",
    "K3S_TOKEN": "token",
    "K3S_TOKEN_FILE": "token-file",
    "K3S_URL": "server",
    "K3S_VPN_AUTH": "vpn-auth",
    "K3S_VPN_AUTH_FILE": "vpn-auth-file",
}
# Read once, when the node joins: never a difference on a member (docs.k3s.io, cli/server; held by tests/contract/k3s).
JOIN_TIME = ("cluster-init", "server", "node-name")
# Of the Node in the API: no start of K3s depends on them, so another value restarts nothing.
OF_THE_NODE = ("node-label", "node-taint")
# K3s itself splits these (k3s-io/k3s, pkg/cli/server and pkg/cli/agent); its arguments of components it leaves whole.
SPLIT_AT_COMMAS = (
    "cluster-cidr",
    "cluster-dns",
    "disable",
    "node-external-dns",
    "node-external-ip",
    "node-internal-dns",
    "node-ip",
    "service-cidr",
    "tls-san",
)
# Flags of K3s that this program cannot keep its promises with, and why.
UNSUPPORTED: Mapping[str, Tuple[str, str]] = {
    "disable-agent": (
        "a server without an agent has no Node, and this program waits for the Node of each server",
        "leave it out: a taint keeps pods away from a server (node-role.kubernetes.io/control-plane:NoSchedule)",
    ),
    "with-node-id": (
        "the node's name would get a suffix that is not known in advance",
        "leave it out, and give each host a name of its own",
    ),
    "write-kubeconfig": (
        f"kubectl, k3s and this program look for it at {ADMIN_KUBECONFIG}",
        "leave it out; write-kubeconfig-mode and write-kubeconfig-group control who may read it",
    ),
}


@dataclass(frozen=True)
class Flag:
    """One flag of `k3s server` or `k3s agent`, by its long name without dashes.

    `since` is the first Kubernetes minor of those known here whose releases have it, `until` the last one, None while
    it has not gone.
    """

    name: str
    roles: Tuple[str, ...]
    type: str
    since: int
    until: Optional[int] = None
    secret: bool = False
    critical: bool = False
    repeatable: bool = False
    not_in_file: bool = False
    aliases: Tuple[str, ...] = ()
    allowed: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """All known flags; `newest` is the newest version they were read from.

    `supported` are the Kubernetes minors that upstream still mends, `oldest` the first one whose flags are known.
    """

    newest: str
    oldest: int
    supported: Tuple[int, ...]
    flags: Mapping[str, Flag]
    removed: Mapping[str, str]

    def find(self, name: str) -> Optional[Flag]:
        """Return the flag of that name or alias."""
        return self.flags.get(name) or self.aliases.get(name)

    @functools.cached_property
    def aliases(self) -> Mapping[str, Flag]:
        """The flags by their other names."""
        return {alias: flag for flag in self.flags.values() for alias in flag.aliases}

    def nearest(self, name: str, role: str) -> str:
        """Return the known name that looks most like `name`, or ''."""
        names = [flag.name for flag in self.flags.values() if role in flag.roles]
        return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.6)), "")


@functools.lru_cache(maxsize=1)
def table() -> Table:
    """Return the flag table that ships with this program."""
    document = json.loads(pkgutil.get_data("productive_k3s.k3s", "k3s-flags.json") or b"{}")
    flags = {name: _flag(name, row) for name, row in document["flags"].items()}
    supported = tuple(minor_of(f"v{minor}.0") or 0 for minor in document["supported"])
    removed = {name: row["use"] for name, row in document["removed"].items()}
    return Table(document["newest"], minor_of(f"v{document['oldest']}.0") or 0, supported, flags, removed)


def _flag(name: str, row: Mapping[str, Any]) -> Flag:
    return Flag(
        name=name,
        roles=tuple(row["roles"]),
        type=row["type"],
        since=minor_of(f"v{row['from']}.0") or 0,
        until=minor_of(f"v{row['to']}.0") if "to" in row else None,
        secret=row.get("secret", False),
        critical=row.get("critical", False),
        repeatable=row.get("repeatable", False),
        not_in_file=row.get("not_in_file", False),
        aliases=tuple(row.get("aliases", ())),
        allowed=tuple(row.get("allowed", ())),
    )


def minor_of(version: str) -> Optional[int]:
    """PURE: return the Kubernetes minor of a version (36 of v1.36.4+k3s1), None for what is no version."""
    match = re.match(r"v1\.(\d+)\.", version)
    return int(match.group(1)) if match else None


def check(role: str, keys: Iterable[str], version: str = "") -> Tuple[Failure, ...]:
    """PURE: say what is wrong with these flag names for a role; each failure names one key.

    With a version, a flag that its releases do not have (yet, or any more) is a failure too.
    """
    found = (_check_one(role, key) or _check_minor(key, version) for key in keys)
    return tuple(failure for failure in found if failure is not None)


def _check_minor(key: str, version: str) -> Optional[Failure]:
    flag, minor = table().find(key), minor_of(version)
    if flag is None or minor is None or minor < table().oldest:
        return None
    if minor < flag.since:
        return _wrong("flag-not-in-version", f"{key} exists from 1.{flag.since} on, not in {version}", "leave it out")
    if flag.until is not None and minor > flag.until:
        return _wrong(
            "flag-not-in-version", f"{key} does not exist after 1.{flag.until}, so not in {version}", "leave it out"
        )
    return None


def _check_one(role: str, key: str) -> Optional[Failure]:
    known = table()
    flag = known.find(key)
    if flag is None:
        if key in known.removed:
            return _wrong("removed-flag", f"{key} no longer exists", f"use {known.removed[key]}")
        nearest = known.nearest(key, role)
        remedy = f"did you mean {nearest}?" if nearest else "see the K3s documentation for its flags"
        return _wrong("unknown-flag", f"{key} is not a flag of k3s {role}", remedy)
    if role not in flag.roles:
        effect = "an agent does not start with it" if role == "agent" else "a server ignores it"
        return _wrong("flag-in-wrong-role", f"{key} is a flag of {flag.roles[0]}s only", f"{effect}: move it")
    if flag.name in RESERVED:
        return _wrong("reserved-flag", f"{key} is written by this program", RESERVED[flag.name])
    if flag.name in UNSUPPORTED:
        why, remedy = UNSUPPORTED[flag.name]
        return _wrong("unsupported-flag", f"{key} is not supported: {why}", remedy)
    if flag.not_in_file:
        return _wrong("flag-not-in-file", f"{key} has no effect in config.yaml", "leave it out")
    if flag.secret:
        return _wrong("secret-in-file", f"{key} is a secret", "put it into a drop-in with mode 0600 on the host")
    return None


def _wrong(code: str, what: str, remedy: str) -> Failure:
    return Failure(code=f"request.{code}", what=what, remedy=remedy, exit_code=ExitCode.BAD_INPUT)
