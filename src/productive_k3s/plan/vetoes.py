"""PURE: why nothing may be changed on this host. Each veto stands alone; all that hold are reported at once."""

from __future__ import annotations

import re
from typing import Callable, Iterator, Mapping, Optional, Tuple

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure
from productive_k3s.contract.request import SCHEMA, Request
from productive_k3s.facts import masking
from productive_k3s.k3s import paths
from productive_k3s.k3s.header import schema_of
from productive_k3s.k3s.token import parse_token
from productive_k3s.k3s.unit_file import directives, environment
from productive_k3s.plan.compare import (
    FIXED,
    TOKENS,
    compare,
    is_managed,
    is_member,
    meaningful,
    own_file,
    wished,
    writes_config,
)
from productive_k3s.plan.render import interface_of, node_address

# K3s reads these in place of flags (docs.k3s.io, cli/server and cli/agent), so they decide over config.yaml.
_OVERRIDING = ("K3S_CONFIG_FILE", "K3S_DATA_DIR", "K3S_NODE_NAME", "K3S_TOKEN", "K3S_TOKEN_FILE", "K3S_URL")


def vetoes(request: Request, facts: Facts, planning: bool) -> Tuple[Failure, ...]:
    """Return every reason against the request on this host.

    While `planning`, a token that is missing is one that will be filled in before sending.
    """
    found = [failure for rule in _RULES for failure in rule(request, facts)]
    return (*found, *_token(request, facts, planning))


def _refuse(code: str, what: str, evidence: str = "", remedy: str = "") -> Failure:
    return Failure(code=code, what=what, evidence=evidence, remedy=remedy, exit_code=4)


def _platform(request: Request, facts: Facts) -> Iterator[Failure]:
    host = facts.host
    if host.init != "systemd":
        yield _refuse(
            "host.no-systemd",
            "this host does not run systemd",
            f"PID 1 is {host.init}",
            "use K3s' install script on this system",
        )
    minor = _minor(request.version)
    allowed = "fail-cgroupv1=false" in wished(request, facts).get("kubelet-arg", [])
    if host.cgroup_version == 1 and minor is not None and minor >= 35 and not allowed:
        yield _refuse(
            "host.cgroup-v1",
            f"the kubelet of {request.version} refuses cgroup v1",
            "/sys/fs/cgroup is no cgroup2fs",
            "boot with systemd.unified_cgroup_hierarchy=1, or set kubelet-arg: [fail-cgroupv1=false]",
        )
    for system in host.file_systems:
        if system.read_only:
            yield _refuse("host.read-only", f"{system.path} is read-only", system.type, "mount it read-write")


def _minor(version: str) -> Optional[int]:
    match = re.match(r"v\d+\.(\d+)\.", version)
    return int(match.group(1)) if match else None


def _others(request: Request, facts: Facts) -> Iterator[Failure]:
    if facts.k3s.role is not None:
        return
    for other in facts.host.other_kubernetes:
        yield _refuse(
            "host.other-kubernetes", f"{other} is on this host", other, "remove it first; two kubelets harm each other"
        )
    ports = (6443, 10250) if request.role == "server" else (10250,)
    for listener in facts.host.listeners:
        if listener.protocol == "tcp" and listener.port in ports:
            yield _refuse(
                "k3s.port-in-use",
                f"port {listener.port} is taken",
                f"{listener.process or 'a process'} listens on {listener.address}:{listener.port}",
                "stop what listens there",
            )


def _files(request: Request, facts: Facts) -> Iterator[Failure]:
    if facts.k3s.config_error:
        yield _refuse(
            "config.unreadable", "K3s' configuration cannot be read", facts.k3s.config_error, "correct or remove it"
        )
    if schema_of(facts.k3s.written_by) > SCHEMA:
        yield _refuse(
            "host.newer-program",
            "a newer version of this program wrote this host's files",
            facts.k3s.written_by,
            "use that version or a newer one",
        )
    for key, path in sorted(compare(request, facts).overridden.items()):
        yield _refuse(
            "config.overridden",
            f"{path} sets {key} differently",
            f"{key}: {', '.join(facts.k3s.config.get(key, ()))}",
            f"take {key} out of {path}, or ask for the same value",
        )


def _secrets(request: Request, facts: Facts) -> Iterator[Failure]:
    found = compare(request, facts)
    for key in sorted({*found.on_unit, *found.in_environment}) if found.moves else ():
        if masking.is_secret(key) and key not in TOKENS:
            place = "the unit" if key in found.on_unit else "its environment file"
            yield _refuse(
                "config.secret-elsewhere",
                f"{key} is a secret that stands on {place} only, and would be lost",
                f"these move to config.yaml: {', '.join(sorted({*found.on_unit, *found.in_environment}))}",
                f"move {key} into {paths.CONFIG}.d/secret.yaml, mode 0600",
            )
    for key in found.kept if found.file else ():
        yield _refuse(
            "config.secret-elsewhere",
            f"{key} is a secret in somebody else's {paths.CONFIG}, and would be lost",
            f"it is rewritten for {', '.join(found.file)}",
            f"move {key} into {paths.CONFIG}.d/secret.yaml, mode 0600",
        )


def _units(request: Request, facts: Facts) -> Iterator[Failure]:
    for unit in facts.k3s.units:
        if unit.name.split(".")[0] != request.unit:
            continue
        for drop_in in unit.drop_ins:
            if any(key == "ExecStart" for _, key, _ in directives(drop_in.text or "")):
                yield _refuse(
                    "unit.overridden",
                    f"{drop_in.path} replaces the unit's command",
                    "it sets ExecStart",
                    f"remove {drop_in.path}",
                )
        for file in unit.environment_files:
            own = file.path == paths.environment_file(request.unit)
            # In our own file flags are counted as flags; that another file is read they cannot say.
            against = ("K3S_CONFIG_FILE",) if own else _OVERRIDING
            keys = [key for key in environment(file.text or "") if key in against]
            if keys:
                yield _refuse(
                    "environment.overridden",
                    f"{file.path} decides over config.yaml",
                    f"it sets {', '.join(sorted(keys))}",
                    f"take {'it' if len(keys) == 1 else 'them'} out of {file.path}",
                )


def _installed(request: Request, facts: Facts) -> Iterator[Failure]:
    k3s = facts.k3s
    if k3s.role is not None and k3s.role != request.role:
        yield _refuse(
            "k3s.other-role",
            f"this host is a K3s {k3s.role}, not {'an agent' if request.role == 'agent' else 'a server'}",
            f"unit {', '.join(unit.name for unit in k3s.units)}",
            "remove K3s from it first, or correct its role",
        )
    if k3s.role is not None and k3s.binary_version and k3s.binary_version != request.version:
        yield _refuse(
            "k3s.version-differs",
            f"K3s {k3s.binary_version} is installed, {request.version} is asked for",
            paths.BINARY,
            f"ask for {k3s.binary_version}: upgrades do not exist yet",
        )


def _identity(request: Request, facts: Facts) -> Iterator[Failure]:
    k3s = facts.k3s
    if is_member(facts) and request.node_name and k3s.node_name and request.node_name != k3s.node_name:
        yield _refuse(
            "k3s.node-name-changes",
            f"this node is {k3s.node_name}, not {request.node_name}",
            remedy="a node keeps its name: declare it so, or remove the node and join it anew",
        )
    address = node_address(request, facts)
    if not address:
        yield _refuse(
            "host.no-default-route",
            "this host has no address beside a default route",
            remedy="add a default route (K3s needs one), or say node-ip",
        )
    elif interface_of(address, facts) is None:
        yield _refuse(
            "host.address-missing",
            f"no interface of this host has the address {address}",
            ", ".join(f"{item.name} {' '.join(item.addresses)}" for item in facts.host.interfaces),
            "correct the declared address, or give the host that address",
        )
    own, effective = own_file(facts), meaningful(facts.k3s.config)
    for key in FIXED:
        wish = wished(request, facts).get(key)
        if is_member(facts) and wish != own.get(key, effective.get(key)):
            yield _refuse(
                "k3s.fixed-at-first-start",
                f"{key} cannot be changed on a cluster that exists",
                f"is {own.get(key, effective.get(key, 'the default'))}, asked {wish or 'the default'}",
                f"put {key} back",
            )


def _cluster(request: Request, facts: Facts) -> Iterator[Failure]:
    k3s = facts.k3s
    if request.role == "server" and k3s.datastore is None and request.join is None and not request.new_cluster:
        if request.expected_ca:
            yield _refuse(
                "cluster.second",
                "this would found a second cluster: one with another CA is recorded",
                f"recorded CA {request.expected_ca[:12]}..., and no datastore on this host",
                "restore this server from a snapshot, or agree to a new cluster with --new-cluster",
            )
        if request.others_are_members:
            yield _refuse(
                "cluster.second",
                "this would found a second cluster: other hosts are members of one already",
                "no datastore on this host",
                "restore this server, or remove K3s from the other hosts first",
            )
    expected = request.expected_ca
    if expected and k3s.ca_hash and is_member(facts) and k3s.ca_hash != expected and not request.new_cluster:
        yield _refuse(
            "k3s.ca-mismatch",
            "this host belongs to another cluster",
            f"its CA is {k3s.ca_hash[:12]}..., recorded is {expected[:12]}...",
            "remove K3s from this host first, or correct cluster.lock",
        )


def _token(request: Request, facts: Facts, planning: bool) -> Iterator[Failure]:
    join = request.join
    if join is None:
        if request.role == "agent":
            yield _refuse("request.no-server", "an agent needs a server to join", remedy="say --server URL")
        return
    if join.token is None:
        if needs_token(request, facts) and not planning:
            yield _refuse(
                "k3s.no-token",
                "a join without a token would found a second cluster or never end",
                join.server,
                "give the cluster's agent token (productive-k3s token, on a server)",
            )
        return
    found = parse_token(join.token.unmask()).ca_hash
    if not found:
        yield _refuse(
            "k3s.token-not-secure",
            "the token is not in its secure form, so the cluster cannot be checked",
            "it does not look like K10<64 hex digits>::<user>:<password>",
            "use what productive-k3s token prints on a server",
        )
        return
    known: Mapping[str, str] = {
        "recorded for this cluster": request.expected_ca or "",
        "trusted by this host": facts.k3s.ca_hash if is_member(facts) else "",
    }
    for owner, ca in known.items():
        if ca and ca != found:
            yield _refuse(
                "k3s.ca-mismatch",
                "the token belongs to another cluster",
                f"its CA is {found[:12]}..., {owner} is {ca[:12]}...",
                "use the token of this cluster's server",
            )


def needs_token(request: Request, facts: Facts) -> bool:
    """Whether a token must be given: to join, or because ours is to replace one that lies elsewhere."""
    if not is_member(facts):
        return True
    if request.role == "server" or is_managed(facts):
        return False
    found = compare(request, facts)
    here = any(token.path == paths.AGENT_TOKEN for token in facts.k3s.tokens)
    return not here and writes_config(found, facts)


_RULES: Tuple[Callable[[Request, Facts], Iterator[Failure]], ...] = (
    _platform,
    _others,
    _files,
    _secrets,
    _units,
    _installed,
    _identity,
    _cluster,
)
