"""Hosts as facts, and a tiny pure model of what each change does to them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from productive_k3s.contract.change import Change
from productive_k3s.contract.facts import (
    ClusterFacts,
    Digests,
    Facts,
    FileFact,
    FileSystem,
    HostFacts,
    HostsFile,
    Interface,
    NodeFact,
    OperatingSystem,
    Running,
    TokenFact,
    UnitFact,
    no_k3s,
)
from productive_k3s.contract.request import Artifact, Join, Request
from productive_k3s.contract.secret import Secret, secret_digest
from productive_k3s.facts import masking
from productive_k3s.facts.units import directives_of
from productive_k3s.k3s import config_file, flag_files, hosts_file, paths, unit_file
from productive_k3s.k3s.header import schema_of
from productive_k3s.k3s.token import password_digest
from productive_k3s.plan.desired import desired_state
from productive_k3s.plan.effective import effective_state, node_name
from productive_k3s.plan.render import RenderedFile

CA = "a" * 64
OTHER_CA = "b" * 64
TOKEN = f"K10{CA}::node:secret"
BINARY = Artifact("k3s", "1" * 64, "https://releases.example/k3s")
VERSION = "v1.34.4+k3s1"


def server(**wishes: object) -> Request:
    return Request(**{"mode": "server", "version": VERSION, "binary": BINARY, **wishes})  # type: ignore[arg-type]


def agent(**wishes: object) -> Request:
    join = Join("https://10.0.0.11:6443", Secret(TOKEN))
    return Request(**{"mode": "agent", "version": VERSION, "binary": BINARY, "join": join, **wishes})  # type: ignore[arg-type]


def fresh(**host: object) -> Facts:
    """A machine on which there never was a K3s."""
    return Facts(
        host=HostFacts(
            **{  # type: ignore[arg-type]
                "time": 1000.0,
                "hostname": "Node-1",
                "machine_id": "0" * 32,
                "os": OperatingSystem("debian", "12", "Debian 12", "6.1", "amd64"),
                "python": "3.11.2",
                "init": "systemd",
                "cpus": 2,
                "memory_bytes": 4 << 30,
                "swap_bytes": 0,
                "cgroup_version": 2,
                "cgroup_controllers": ("cpu", "memory", "pids"),
                "interfaces": (
                    Interface("lo", True, "", ("127.0.0.1/8",)),
                    Interface("eth0", True, "52:54:00:00:00:01", ("10.0.0.11/24", "fd00::11/64")),
                    Interface("eth1", True, "52:54:00:00:00:02", ("192.168.9.5/24",)),
                ),
                "default_interface": "eth0",
                "routes": (),
                "listeners": (),
                "file_systems": (FileSystem("/var/lib/rancher", "ext4", 1 << 40, 1 << 40, False),),
                "active_firewalls": (),
                "other_kubernetes": (),
                **host,
            }
        ),
        k3s=no_k3s(),
    )


def on_k3s(facts: Facts, **changes: object) -> Facts:
    return replace(facts, k3s=replace(facts.k3s, **changes))  # type: ignore[arg-type]


# What the files of these facts really say, by digest: their facts show it without secrets.
_RAW: dict[str, str] = {}


def raw(item: FileFact) -> str:
    return _RAW.get(item.sha256, item.text or "")


def _shown(path: str, text: str) -> str | None:
    if path.endswith(".service.env") or path.startswith("/etc/default/"):
        return masking.environment_text(text)
    if path.startswith(paths.SYSTEMD_DIRECTORY):
        return masking.unit_text(text)
    if path == paths.REGISTRIES:
        return masking.registries_text(text)
    return masking.config_text(text) if path.endswith((".yaml", ".yml")) else text


def file(path: str, text: str, mode: int = 0o644) -> FileFact:
    """A file as the facts module shows it."""
    schema = schema_of("\n".join(text.splitlines()[:2]))
    digest = hashlib.sha256(text.encode()).hexdigest()
    _RAW[digest] = text
    return FileFact(path, digest, mode, 0, 1000.0, _shown(path, text), schema)


def with_config(facts: Facts, text: str, *drop_ins: FileFact) -> Facts:
    """The host with this config.yaml (and drop-ins), merged as K3s does."""
    files = (file(paths.CONFIG, text, 0o600), *drop_ins)
    return on_k3s(merged(on_k3s(facts, config_files=files)), written_by=text.partition("\n")[0] if "#" in text else "")


def merged(facts: Facts) -> Facts:
    facts = on_k3s(facts, units=tuple(map(read, facts.k3s.units)))
    unit = facts.k3s.units[0] if facts.k3s.units else None
    own = [item for item in (unit.environment_files if unit else ()) if item.path.endswith(".service.env")]
    variables = unit_file.environment(raw(own[0])) if own else {}
    pairs = [(item.path, raw(item)) for item in facts.k3s.config_files]
    effective = config_file.merge(pairs, unit.arguments[1:] if unit else (), variables)
    alone = config_file.merge([(path, text) for path, text in pairs if path == paths.CONFIG])
    return digested(
        on_k3s(
            facts,
            config=masking.config_values(effective.values),
            own_config=masking.config_values(alone.values),
            config_sources=effective.sources,
        )
    )


def read(unit: UnitFact) -> UnitFact:
    """The unit with what its files say, as the facts module reads them."""
    files = [(item.path, raw(item)) for item in (unit.fragment, *unit.drop_ins) if item is not None]
    variables = {item.path: masking.variables(unit_file.environment(raw(item))) for item in unit.environment_files}
    return replace(unit, directives=directives_of(files), variables=variables)


def digested(facts: Facts) -> Facts:
    """The digests of what lies on disk, as the facts module takes them."""
    k3s = facts.k3s
    unit = k3s.units[0] if k3s.units else None
    texts = [raw(item) for item in ((unit.fragment, *unit.drop_ins) if unit and unit.fragment else ()) if item]
    digests = Digests(
        binary=k3s.binary.sha256 if k3s.binary else "",
        config=config_file.digest(k3s.config),
        environment=unit_file.environment_meaning([raw(item) for item in unit.environment_files] if unit else []),
        unit=unit_file.meaning(texts) if texts else "",
        registries=config_file.text_digest(raw(k3s.registries)) if k3s.registries else "",
        tokens=_tokens_digest(facts),
        files=_files_digest(facts),
    )
    return on_k3s(facts, on_disk=digests)


def _tokens_digest(facts: Facts) -> str:
    named = [value for key in ("token-file", "agent-token-file") for value in facts.k3s.config.get(key, ())]
    return repr([(token.path, token.password) for token in facts.k3s.tokens if token.path in named])


def _files_digest(facts: Facts) -> str:
    texts = {item.path: raw(item) for item in facts.k3s.files}
    return repr(sorted(flag_files.read_at_start(texts, facts.k3s.config)))


def token_fact(path: str, text: str) -> TokenFact:
    secure = text.startswith("K10")
    return TokenFact(
        path, secret_digest(text), 0o600, text[3:67] if secure else "", "node" if secure else "", password_digest(text)
    )


def unit_fact(name: str, text: str, **values: object) -> UnitFact:
    found = UnitFact(
        **{  # type: ignore[arg-type]
            "name": name,
            "load_state": "loaded",
            "active_state": "inactive",
            "sub_state": "dead",
            "enabled": False,
            "main_pid": 0,
            "restarts": 0,
            "invocation_id": "",
            "started": 0.0,
            "active_since": 0.0,
            "fragment": file(paths.unit_file(name), text),
            "drop_ins": (),
            "arguments": (name,),
            "environment_files": (),
            "need_daemon_reload": False,
            "directives": (),
            "variables": {},
            **values,
        }
    )
    return read(found)


def after(request: Request, facts: Facts, change: Change) -> Facts:
    """The host after one change; nothing else happens to it."""
    return digested(_EFFECTS[change.action](request, facts, change))


def _binary(request: Request, facts: Facts, change: Change) -> Facts:
    assert request.binary
    return on_k3s(
        facts, binary=FileFact(change.target, request.binary.sha256, 0o755, 0, 1.0), binary_version=request.version
    )


def _images(request: Request, facts: Facts, change: Change) -> Facts:
    image = next(item for item in request.images if change.target.endswith(item.name))
    kept = tuple(item for item in facts.k3s.images if item.path != change.target)
    return on_k3s(facts, images=(*kept, FileFact(change.target, image.sha256, 0o644, 0, 1.0)))


def _links(_: Request, facts: Facts, change: Change) -> Facts:
    return on_k3s(facts, links={**facts.k3s.links, **dict.fromkeys(change.target.split(), "k3s")})


def _write(request: Request, facts: Facts, change: Change) -> Facts:
    wanted = next(item for item in desired_files(request, facts) if item.path == change.target)
    written = file(wanted.path, wanted.text, wanted.mode)
    if wanted.path.endswith(".sh"):
        return on_k3s(facts, scripts=(*[item for item in facts.k3s.scripts if item.path != wanted.path], written))
    if wanted.path in map(paths.file_for_flags, request.files):
        kept = [item for item in facts.k3s.files if item.path != wanted.path]
        return on_k3s(facts, files=(*kept, written))
    if wanted.path == paths.REGISTRIES:
        return on_k3s(facts, registries=written)
    if wanted.path == paths.CONFIG:
        others = [item for item in facts.k3s.config_files if item.path != paths.CONFIG]
        header = wanted.text.partition("\n")[0]
        return merged(on_k3s(facts, config_files=(written, *others), written_by=header))
    name = request.unit
    old = next((item for item in facts.k3s.units if item.name == name), None)
    if wanted.path == paths.environment_file(name):
        base = old or unit_fact(name, "", fragment=None, load_state="not-found")
        return merged(on_k3s(facts, units=(replace(base, environment_files=(written,)),)))
    base = old or unit_fact(name, "")
    rewritten = replace(base, fragment=written, load_state="loaded", arguments=(request.role,))
    return merged(on_k3s(facts, units=(rewritten,), role=request.role))


def _secret(request: Request, facts: Facts, change: Change) -> Facts:
    text = request.join.token.unmask() if request.join and request.join.token else "made"
    kept = tuple(item for item in facts.k3s.tokens if item.path != change.target)
    return on_k3s(facts, tokens=(*kept, token_fact(change.target, text)))


def _hosts(request: Request, facts: Facts, change: Change) -> Facts:
    block = hosts_file.lines(request.hosts_file) or None
    kept = tuple(item for item in facts.host.hosts_files if item.path != change.target)
    return replace(facts, host=replace(facts.host, hosts_files=(*kept, HostsFile(change.target, block))))


def _unit(facts: Facts, **values: object) -> Facts:
    return on_k3s(facts, units=tuple(replace(item, **values) for item in facts.k3s.units))  # type: ignore[arg-type]


def _start(request: Request, facts: Facts, _: Change) -> Facts:
    facts = digested(facts)
    started = _unit(facts, active_state="activating", sub_state="start", started=1000.0, invocation_id="i")
    datastore = request.datastore if request.role == "server" else None
    return on_k3s(
        started,
        running=Running("recorded", facts.k3s.on_disk),
        datastore=facts.k3s.datastore or datastore,
        ca_hash=facts.k3s.ca_hash or CA,
        has_node_password=True,
        node_name=node_name(request, facts),
    )


def _ready(request: Request, facts: Facts, _: Change) -> Facts:
    active = _unit(facts, active_state="active", sub_state="running")
    if request.role == "agent":
        return active
    name = node_name(request, facts)
    node = NodeFact(
        name,
        "uid",
        True,
        True,
        (),
        request.version,
        "10.0.0.11",
        1001.0,
        labels=dict(request.labels),
        taints=request.taints,
    )
    return replace(active, cluster=ClusterFacts(True, "", request.version, (node,)))


def _label(request: Request, facts: Facts, _: Change) -> Facts:
    assert facts.cluster
    nodes = tuple(replace(node, labels=dict(request.labels)) for node in facts.cluster.nodes)
    return replace(facts, cluster=replace(facts.cluster, nodes=nodes))


def _taint(request: Request, facts: Facts, _: Change) -> Facts:
    assert facts.cluster
    nodes = tuple(replace(node, taints=request.taints) for node in facts.cluster.nodes)
    return replace(facts, cluster=replace(facts.cluster, nodes=nodes))


_EFFECTS = {
    "install-binary": _binary,
    "install-images": _images,
    "make-links": _links,
    "write-file": _write,
    "write-secret": _secret,
    "write-hosts": _hosts,
    "remove-hosts": _hosts,
    "remove-file": lambda _request, facts, change: on_k3s(
        facts,
        registries=None if change.target == paths.REGISTRIES else facts.k3s.registries,
        files=tuple(item for item in facts.k3s.files if item.path != change.target),
    ),
    "enable-unit": lambda _request, facts, _change: _unit(facts, enabled=True),
    "start-unit": _start,
    "restart-unit": _start,
    "wait-ready": _ready,
    "watch-node": lambda _request, facts, _change: facts,
    "label-node": _label,
    "taint-node": _taint,
}


def desired_files(request: Request, facts: Facts) -> tuple[RenderedFile, ...]:
    """Every file of K3s that is written on a host, in order, but tokens."""
    return desired_state(request, effective_state(request, facts)).files
