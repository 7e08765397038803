"""What is right on one host: judged from its facts and its certificates, which two functions here read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from productive_k3s.checks.certificates import Certificate, read_certificate
from productive_k3s.checks.judgement import failed, judged, passed, warned
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.facts import Digests, Facts, FileSystem, UnitFact
from productive_k3s.k3s import paths

if TYPE_CHECKING:
    from productive_k3s.doors.system import Reading

_TLS = paths.DATA + "/server/tls"
# Where K3s keeps certificates (k3s-io/k3s, pkg/daemons/control/deps): the sub-directories are those of a server.
_SERVER_DIRECTORIES = (_TLS, f"{_TLS}/etcd", f"{_TLS}/kube-controller-manager", f"{_TLS}/kube-scheduler")
_AGENT_DIRECTORY = paths.DATA + "/agent"
_API_CERTIFICATE = f"{_TLS}/serving-kube-apiserver.crt"
# docs.k3s.io, cli/certificate: K3s renews at a start what ends in less than 120 days, and warns from then on.
_WARN_DAYS = 120.0
_DAY_SECONDS = 86400.0
# As long as this without an end, and what made it end before is over.
_STEADY_SECONDS = 1800.0
_WARN_FREE, _ERROR_FREE = 0.10, 0.05


async def read_certificates(system: Reading, facts: Facts) -> Tuple[Certificate, ...]:
    """Read every certificate that K3s keeps on this host."""
    found: List[Certificate] = []
    for directory in (*(_SERVER_DIRECTORIES if facts.k3s.role == "server" else ()), _AGENT_DIRECTORY):
        for name in sorted(await system.list_directory(directory)):
            path = f"{directory}/{name}"
            if name.endswith(".crt"):
                data = await system.read(path)
                if data is not None:
                    found.append(read_certificate(path, data))
    return tuple(found)


def host_name(facts: Facts) -> str:
    """PURE: return the name under which this host is spoken of: that of its node, where it has one."""
    return facts.k3s.node_name or facts.host.hostname


def config_words(config: Mapping[str, Any], flag: str) -> Tuple[str, ...]:
    """PURE: return a flag's values, those that are written with commas too."""
    value = config.get(flag, ())
    items = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(word.strip() for item in items for word in str(item).split(",") if word.strip())


def judge_host(facts: Facts, certificates: Sequence[Certificate], version: str) -> Tuple[CheckResult, ...]:
    """PURE: return what is right and wrong on this host. `version` is the one that is expected."""
    name = host_name(facts)
    unit = _unit(facts)
    if facts.k3s.role is None or unit is None:
        remedy = "install it: productive-k3s single-node, server or agent"
        return (failed("k3s.installed", name, "K3s is not installed on this host", "no K3s unit", remedy),)
    return (
        *_service(name, unit, facts.host.time),
        _running(name, facts),
        _version(name, facts.k3s.binary_version, version),
        *_certificates(name, facts, certificates),
        *(_disk(name, item) for item in _distinct(facts.host.file_systems)),
    )


def _unit(facts: Facts) -> Optional[UnitFact]:
    """Return the unit that holds K3s here: the active one, where an old one is left beside it."""
    units = sorted(facts.k3s.units, key=lambda unit: unit.active_state != "active")
    return units[0] if units else None


def _service(name: str, unit: UnitFact, now: float) -> Tuple[CheckResult, ...]:
    log = f"see journalctl -u {unit.name} on the host"
    state = f"{unit.name} is {unit.active_state} ({unit.sub_state})"
    active = judged(
        "service.active",
        name,
        good=unit.active_state == "active",
        messages=(state, state),
        evidence="",
        remedy=log,
    )
    enabled = judged(
        "service.enabled",
        name,
        good=unit.enabled,
        messages=(f"{unit.name} starts at boot", f"{unit.name} does not start at boot"),
        evidence="",
        remedy=f"systemctl enable {unit.name}",
    )
    return active, _restarts(name, unit, now, log), enabled


def _restarts(name: str, unit: UnitFact, now: float, log: str) -> CheckResult:
    """systemd keeps its count until somebody resets it, so what counts is how long the unit has run since."""
    check = "service.restarts"
    if unit.restarts == 0:
        return passed(check, name, "systemd has not restarted it", severity="warning")
    times = f"{unit.restarts} time{'s' if unit.restarts > 1 else ''}"
    runs = now - unit.active_since if unit.active_state == "active" and unit.active_since else 0.0
    if runs >= _STEADY_SECONDS:
        what = f"systemd restarted it {times}; it has been running for {runs / 60:.0f} minutes since"
        return passed(check, name, what, f"NRestarts={unit.restarts}", "warning")
    return warned(
        check,
        name,
        f"systemd restarted {unit.name} {times}",
        f"NRestarts={unit.restarts}, active for {runs:.0f} s",
        f"{log}; once it has run for {_STEADY_SECONDS / 60:.0f} minutes, this warning goes away",
    )


def _running(name: str, facts: Facts) -> CheckResult:
    check, on_disk, running = "k3s.running", facts.k3s.on_disk, facts.k3s.running
    restart = "run the same apply (or server, agent) again: it restarts K3s if necessary"
    if running is None:
        return warned(check, name, "K3s is not running, so nothing can be compared with the files on disk", "", restart)
    if running.source == "unknown" or running.digests is None or on_disk is None:
        evidence = "a file is newer than the last start, and there is no record of that start"
        return warned(check, name, "the running K3s may not match the files on disk", evidence, restart)
    differing = _differing(running.digests, on_disk)
    if differing:
        what = f"K3s was started with a different {', '.join(differing)} than the one on disk"
        return warned(check, name, what, f"compared by digest ({running.source})", restart)
    return passed(check, name, "the running K3s matches the files on disk", running.source, "warning")


def _differing(running: Digests, on_disk: Digests) -> List[str]:
    parts = ("binary", "config", "environment", "unit", "registries", "tokens", "files")
    return [part for part in parts if getattr(running, part) != getattr(on_disk, part)]


def _version(name: str, found: str, wanted: str) -> CheckResult:
    return judged(
        "k3s.version",
        name,
        good=not wanted or found == wanted,
        messages=(f"the binary is {found}", f"the binary is {found or 'of an unknown version'}, expected {wanted}"),
        evidence="",
        remedy="install the expected version, or correct the expected version",
    )


def _certificates(name: str, facts: Facts, certificates: Sequence[Certificate]) -> Tuple[CheckResult, ...]:
    days = _days(name, facts.host.time, certificates)
    wanted = config_words(facts.k3s.config, "tls-san")
    api = next((item for item in certificates if item.path == _API_CERTIFICATE and not item.error), None)
    if api is None:
        return (days,)
    lacking = [word for word in wanted if word not in api.names]
    evidence = ", ".join(api.names)
    if not lacking:
        return days, passed(
            "certificate.names", name, f"the API's certificate has {len(api.names)} names", evidence, "warning"
        )
    what = f"the API's certificate lacks {', '.join(lacking)} of tls-san"
    return days, warned("certificate.names", name, what, evidence, "restart K3s: it creates a new certificate")


def _days(name: str, now: float, certificates: Sequence[Certificate]) -> CheckResult:
    check, restart = (
        "certificate.days",
        "restart K3s: when it starts, it renews certificates that expire within 120 days",
    )
    unreadable = [item for item in certificates if item.error]
    if unreadable:
        first = unreadable[0]
        what = f"{len(unreadable)} of {len(certificates)} certificates cannot be read"
        return failed(check, name, what, f"{first.path}: {first.error}", "run k3s certificate check for details")
    if not certificates:
        what = f"no certificates under {paths.DATA}"
        return warned(check, name, what, "", "has K3s been started, and is its data directory somewhere else?")
    first = min(certificates, key=lambda item: item.not_after)
    left = (first.not_after - now) / _DAY_SECONDS
    which = first.path[len(paths.DATA) + 1 :]
    if left <= 0:
        return failed(check, name, f"{which} expired {-left:.0f} days ago", first.path, restart)
    if left < _WARN_DAYS:
        return warned(check, name, f"{which} expires in {left:.0f} days", first.path, restart)
    return passed(check, name, f"{len(certificates)} files, the first expires in {left:.0f} days", which, "warning")


def _distinct(systems: Sequence[FileSystem]) -> Tuple[FileSystem, ...]:
    """Return each file system once: several paths may lie on one, and it is full or not for all of them."""
    first: Dict[Tuple[str, int], FileSystem] = {}
    for item in systems:
        if item.total_bytes > 0:
            first.setdefault((item.type, item.total_bytes), item)
    return tuple(first.values())


def _disk(name: str, system: FileSystem) -> CheckResult:
    check, subject = "disk.free", f"{name} {system.path}"
    share = system.free_bytes / system.total_bytes
    text = f"{share:.0%} free ({system.free_bytes / (1 << 30):.1f} GiB of {system.total_bytes / (1 << 30):.1f})"
    if share >= _WARN_FREE:
        return passed(check, subject, text, severity="warning")
    answer = failed if share < _ERROR_FREE else warned
    # Kubernetes' default eviction threshold: below this the kubelet takes pods away (node-pressure-eviction).
    remedy = "free some space: the kubelet evicts pods when the disk is nearly full"
    return answer(check, subject, text, f"{system.type} on {system.path}", remedy)
