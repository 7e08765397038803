"""PURE: why nothing may be changed on this host. Each veto stands alone; all that hold are reported at once."""

from __future__ import annotations

from typing import Callable, Iterable, Iterator, Tuple

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure, refused
from productive_k3s.contract.request import SCHEMA
from productive_k3s.facts import masking
from productive_k3s.k3s import flags, paths
from productive_k3s.k3s.header import schema_of
from productive_k3s.plan import cluster_vetoes
from productive_k3s.plan.compare import TOKENS, Comparison
from productive_k3s.plan.desired import Desired
from productive_k3s.plan.effective import Effective

# K3s reads these in place of flags (docs.k3s.io, cli/server and cli/agent), so they decide over config.yaml.
_OVERRIDING = ("K3S_CONFIG_FILE", "K3S_DATA_DIR", "K3S_NODE_NAME", "K3S_TOKEN", "K3S_TOKEN_FILE", "K3S_URL")
_CGROUP_V1_ENDS = 35

Rule = Callable[[Desired, Effective, Comparison], Iterator[Failure]]


def vetoes(desired: Desired, effective: Effective, comparison: Comparison, *, wants_token: bool) -> Tuple[Failure, ...]:
    """Return every reason against the request on this host; `wants_token` where a missing token is one."""
    found = [failure for rule in _RULES for failure in rule(desired, effective, comparison)]
    return (*found, *cluster_vetoes.token(desired, effective, wants_token=wants_token))


def _platform(desired: Desired, effective: Effective, _: Comparison) -> Iterator[Failure]:
    host, version = effective.facts.host, desired.request.version
    if host.init != "systemd":
        yield refused(
            "host.no-systemd",
            "this host does not run systemd",
            f"PID 1 is {host.init}",
            "use K3s' install script on this system",
        )
    minor = flags.minor_of(version)
    if (
        host.cgroup_version == 1
        and minor is not None
        and minor >= _CGROUP_V1_ENDS
        # A drop-in of K3s' flags counts too.
        and not allows_cgroup_v1(
            (*desired.flags.get("kubelet-arg", ()), *effective.flags.get("kubelet-arg", ())), effective.facts
        )
    ):
        yield refused(
            "host.cgroup-v1",
            f"the kubelet of {version} refuses cgroup v1",
            "/sys/fs/cgroup is not cgroup2fs",
            "boot with systemd.unified_cgroup_hierarchy=1, or set kubelet-arg: [fail-cgroupv1=false] for servers and "
            f"for agents, or failCgroupV1: false in {paths.KUBELET_DROP_INS}",
        )
    for system in host.file_systems:
        if system.read_only:
            yield refused("host.read-only", f"{system.path} is read-only", system.type, "mount it read-write")


def allows_cgroup_v1(arguments: Iterable[str], facts: Facts) -> bool:
    """Return whether the kubelet is told to run there: by its command line, which counts more, or its configuration.

    `arguments` are its own (kubelet-arg), the first one counts. Source: KEP-5573, failCgroupV1.
    """
    said = [item.partition("=")[2] or "true" for item in arguments if item.startswith("fail-cgroupv1")]
    return said[0] == "false" if said else facts.k3s.fail_cgroup_v1 is False


def _others(desired: Desired, effective: Effective, _: Comparison) -> Iterator[Failure]:
    facts = effective.facts
    if facts.k3s.role is not None:
        return
    for other in facts.host.other_kubernetes:
        yield refused(
            "host.other-kubernetes",
            f"{other} is installed on this host",
            other,
            "remove it first; two kubelets on one host interfere with each other",
        )
    ports = (6443, 10250) if desired.request.role == "server" else (10250,)
    for listener in facts.host.listeners:
        if listener.protocol == "tcp" and listener.port in ports:
            yield refused(
                "k3s.port-in-use",
                f"port {listener.port} is taken",
                f"{listener.process or 'a process'} listens on {listener.address}:{listener.port}",
                "stop what listens there",
            )


def _files(_: Desired, effective: Effective, comparison: Comparison) -> Iterator[Failure]:
    k3s = effective.facts.k3s
    # Our own config.yaml says at its top that it is replaced: whatever became of it, it is.
    ours = effective.is_ours and k3s.config_error.startswith(f"{paths.CONFIG}:")
    if k3s.config_error and not ours:
        yield refused(
            "config.unreadable", "K3s' configuration cannot be read", k3s.config_error, "correct or remove it"
        )
    if schema_of(k3s.written_by) > SCHEMA:
        yield refused(
            "host.newer-program",
            "a newer version of this program wrote this host's files",
            k3s.written_by,
            "use that version or a newer one",
        )
    for key, path in sorted(comparison.overridden.items()):
        yield refused(
            "config.overridden",
            f"{path} sets {key} differently",
            f"{key}: {', '.join(k3s.config.get(key, ()))}",
            f"remove {key} from {path}, or request the same value",
        )


def _secrets(_: Desired, __: Effective, comparison: Comparison) -> Iterator[Failure]:
    outside = sorted({*comparison.on_unit, *comparison.in_environment})
    for key in outside if comparison.moves else ():
        if masking.is_secret(key) and key not in TOKENS:
            place = "the unit" if key in comparison.on_unit else "its environment file"
            yield refused(
                "config.secret-elsewhere",
                f"{key} is a secret that is set only on {place}, and would be lost",
                f"these move to config.yaml: {', '.join(outside)}",
                f"move {key} into {paths.CONFIG}.d/secret.yaml, mode 0600",
            )
    for key in comparison.kept if comparison.file else ():
        yield refused(
            "config.secret-elsewhere",
            f"{key} is a secret in a {paths.CONFIG} that productive-k3s did not write, and would be lost",
            f"it is rewritten for {', '.join(comparison.file)}",
            f"move {key} into {paths.CONFIG}.d/secret.yaml, mode 0600",
        )


def _units(desired: Desired, effective: Effective, _: Comparison) -> Iterator[Failure]:
    unit = effective.unit
    if unit is None:
        return
    for path, lines in effective.in_drop_ins.items():
        if any(key == "ExecStart" for _, key, _ in lines):
            yield refused(
                "unit.overridden", f"{path} replaces the unit's command", "it sets ExecStart", f"remove {path}"
            )
    for path, variables in unit.variables.items():
        own = path == paths.environment_file(desired.request.unit)
        # In our own file flags are counted as flags; that another file is read they cannot say.
        keys = [key for key in variables if key in (("K3S_CONFIG_FILE",) if own else _OVERRIDING)]
        if keys:
            yield refused(
                "environment.overridden",
                f"{path} overrides config.yaml",
                f"it sets {', '.join(sorted(keys))}",
                f"remove {'it' if len(keys) == 1 else 'them'} from {path}",
            )


def _installed(desired: Desired, effective: Effective, _: Comparison) -> Iterator[Failure]:
    k3s, request = effective.facts.k3s, desired.request
    if k3s.role is not None and k3s.role != request.role:
        yield refused(
            "k3s.other-role",
            f"this host is a K3s {k3s.role}, not {'an agent' if request.role == 'agent' else 'a server'}",
            f"unit {', '.join(unit.name for unit in k3s.units)}",
            "uninstall K3s from it first, or correct its role",
        )
    if k3s.role is not None and k3s.binary_version and k3s.binary_version != request.version:
        yield refused(
            "k3s.version-differs",
            f"K3s {k3s.binary_version} is installed, but {request.version} is requested",
            paths.BINARY,
            f"request {k3s.binary_version}: upgrades are not supported yet",
        )


_RULES: Tuple[Rule, ...] = (
    _platform,
    _others,
    _files,
    _secrets,
    _units,
    _installed,
    cluster_vetoes.identity,
    cluster_vetoes.fixed,
    cluster_vetoes.encryption,
    cluster_vetoes.cluster,
    cluster_vetoes.own_token,
)
