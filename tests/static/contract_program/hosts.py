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
from productive_k3s.contract.secret import Secret
from productive_k3s.k3s import config_file, hosts_file, paths, unit_file
from productive_k3s.plan import render

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


def file(path: str, text: str, mode: int = 0o644) -> FileFact:
    return FileFact(path, hashlib.sha256(text.encode()).hexdigest(), mode, 0, 1000.0, text)


def with_config(facts: Facts, text: str, *drop_ins: FileFact) -> Facts:
    """The host with this config.yaml (and drop-ins), merged as K3s does."""
    files = (file(paths.CONFIG, text, 0o600), *drop_ins)
    return on_k3s(merged(on_k3s(facts, config_files=files)), written_by=text.partition("\n")[0] if "#" in text else "")


def merged(facts: Facts) -> Facts:
    unit = facts.k3s.units[0] if facts.k3s.units else None
    own = [item for item in (unit.environment_files if unit else ()) if item.path.endswith(".service.env")]
    variables = unit_file.environment(own[0].text or "") if own else {}
    pairs = [(item.path, item.text or "") for item in facts.k3s.config_files]
    effective = config_file.merge(pairs, unit.arguments[1:] if unit else (), variables)
    return digested(on_k3s(facts, config=effective.values, config_sources=effective.sources))


def digested(facts: Facts) -> Facts:
    """The digests of what lies on disk, as the facts module takes them."""
    k3s = facts.k3s
    unit = k3s.units[0] if k3s.units else None
    texts = [item.text or "" for item in ((unit.fragment, *unit.drop_ins) if unit and unit.fragment else ()) if item]
    digests = Digests(
        binary=k3s.binary.sha256 if k3s.binary else "",
        config=config_file.digest(k3s.config),
        environment=unit_file.environment_meaning([item.text or "" for item in unit.environment_files] if unit else []),
        unit=unit_file.meaning(texts) if texts else "",
        registries=config_file.document_digest(k3s.registries.text or "") if k3s.registries else "",
    )
    return on_k3s(facts, on_disk=digests)


def unit_fact(name: str, text: str, **values: object) -> UnitFact:
    return UnitFact(
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
            **values,
        }
    )


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
    wanted = next(item for item in render.files(request, facts) if item.path == change.target)
    written = file(wanted.path, wanted.text, wanted.mode)
    if wanted.path.endswith(".sh"):
        return on_k3s(facts, scripts=(*[item for item in facts.k3s.scripts if item.path != wanted.path], written))
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
    digest = hashlib.sha256(f"{text}\n".encode()).hexdigest()
    kept = tuple(item for item in facts.k3s.tokens if item.path != change.target)
    return on_k3s(facts, tokens=(*kept, TokenFact(change.target, digest, 0o600, "", "")))


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
        node_name=render.node_name(request, facts),
    )


def _ready(request: Request, facts: Facts, _: Change) -> Facts:
    active = _unit(facts, active_state="active", sub_state="running")
    if request.role == "agent":
        return active
    name = render.node_name(request, facts)
    node = NodeFact(name, "uid", True, True, (), request.version, "10.0.0.11", 1001.0, labels=dict(request.labels))
    return replace(active, cluster=ClusterFacts(True, "", request.version, (node,)))


def _label(request: Request, facts: Facts, _: Change) -> Facts:
    assert facts.cluster
    nodes = tuple(replace(node, labels=dict(request.labels)) for node in facts.cluster.nodes)
    return replace(facts, cluster=replace(facts.cluster, nodes=nodes))


_EFFECTS = {
    "install-binary": _binary,
    "install-images": _images,
    "make-links": _links,
    "write-file": _write,
    "write-secret": _secret,
    "write-hosts": _hosts,
    "remove-hosts": _hosts,
    "remove-file": lambda _request, facts, _change: on_k3s(facts, registries=None),
    "enable-unit": lambda _request, facts, _change: _unit(facts, enabled=True),
    "start-unit": _start,
    "restart-unit": _start,
    "wait-ready": _ready,
    "label-node": _label,
}
