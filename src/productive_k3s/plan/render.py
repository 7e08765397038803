"""PURE: a request and the facts of its host, written as the files that K3s reads."""

from __future__ import annotations

import hashlib
import ipaddress
import pkgutil
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from productive_k3s.contract.facts import Facts, Interface
from productive_k3s.contract.request import Request
from productive_k3s.facts import masking
from productive_k3s.k3s import config_file, paths
from productive_k3s.k3s.header import HEADER_LINE


def as_is(text: str) -> Optional[str]:
    """Show the whole text."""
    return text


@dataclass(frozen=True)
class RenderedFile:
    """A file as it shall be. `shown` takes the secrets out of its text, as facts do it with what lies there."""

    path: str
    text: str
    mode: int
    shown: Callable[[str], Optional[str]] = as_is

    @property
    def sha256(self) -> str:
        """The digest of its bytes."""
        return digest(self.text)


def digest(text: str) -> str:
    """Return the digest of a file with this text."""
    return hashlib.sha256(text.encode()).hexdigest()


def config(request: Request, facts: Facts) -> Dict[str, Any]:
    """Return config.yaml as flags. Flags of the request come last; what is always written comes from the facts."""
    values: Dict[str, Any] = {"node-name": node_name(request, facts)}
    address = node_address(request, facts)
    if address:
        values["node-ip"] = address
        interface = request.flannel_iface or interface_of(address, facts)
        if interface:
            values["flannel-iface"] = interface
    values.update(_server(request, facts) if request.role == "server" else _agent(request))
    if request.labels:
        values["node-label"] = [f"{key}={value}" for key, value in sorted(request.labels.items())]
    if request.taints:
        values["node-taint"] = list(request.taints)
    for key in sorted(request.config):
        values[key] = request.config[key]
    return values


def _server(request: Request, facts: Facts) -> Dict[str, Any]:
    values: Dict[str, Any] = {}
    if request.join is not None:
        values["server"] = request.join.server
    elif request.datastore == "etcd" and facts.k3s.datastore in (None, "etcd"):
        # With a SQLite datastore there K3s would convert it (docs.k3s.io, datastore/ha-embedded).
        values["cluster-init"] = True
    values["token-file"] = paths.SERVER_TOKEN
    values["agent-token-file"] = paths.AGENT_TOKEN
    if request.tls_san:
        values["tls-san"] = list(request.tls_san)
    return values


def _agent(request: Request) -> Dict[str, Any]:
    server = request.join.server if request.join is not None else ""
    return {"server": server, "token-file": paths.AGENT_TOKEN}


def node_name(request: Request, facts: Facts) -> str:
    """Return the node's name. A node that has one keeps it; K3s lowers the hostname in the same way."""
    return facts.k3s.node_name or request.node_name or facts.host.hostname.lower()


def node_address(request: Request, facts: Facts) -> Optional[str]:
    """Return what `node-ip` shall be: as asked, else as it is, else the address beside the default route."""
    if request.node_ip:
        return request.node_ip
    written = facts.k3s.config.get("node-ip")
    if written:
        return ",".join(written) if isinstance(written, (list, tuple)) else str(written)
    by_name = {interface.name: interface for interface in facts.host.interfaces}
    chosen = by_name.get(facts.host.default_interface or "")
    return _first_address(chosen) if chosen else None


def _first_address(interface: Interface) -> Optional[str]:
    found = [ipaddress.ip_interface(address) for address in interface.addresses]
    # K3s is IPv4 unless told otherwise; an IPv6-only host has nothing else to offer.
    first = next((item for item in found if item.version == 4), next(iter(found), None))
    return str(first.ip) if first else None


def interface_of(address: str, facts: Facts) -> Optional[str]:
    """Return the interface that holds the (first) node address."""
    wanted = address.split(",", maxsplit=1)[0].strip()
    for interface in facts.host.interfaces:
        if any(item.split("/")[0] == wanted for item in interface.addresses):
            return interface.name
    return None


def files(request: Request, facts: Facts) -> Tuple[RenderedFile, ...]:
    """Return every file of K3s on this host, in the order in which they are written. Tokens are not among them."""
    scripts = (
        RenderedFile(paths.KILLALL, script("k3s-killall.sh", request.unit), 0o755),
        RenderedFile(paths.uninstall_script(request.unit), script("k3s-uninstall.sh", request.unit), 0o755),
    )
    asked = registries(request)
    mirrors = (registries_file(asked),) if asked is not None else ()
    return (
        *scripts,
        *mirrors,
        RenderedFile(paths.CONFIG, config_file.render(config(request, facts), HEADER_LINE), 0o600),
        RenderedFile(
            paths.environment_file(request.unit), environment(variables(request)), 0o600, masking.environment_text
        ),
        RenderedFile(paths.unit_file(request.unit), unit(request.role, request.unit), 0o644),
    )


def registries_file(registries: Mapping[str, Any]) -> RenderedFile:
    """Return registries.yaml; it may hold passwords."""
    import yaml

    body = yaml.dump(dict(registries), Dumper=yaml.SafeDumper, sort_keys=True, default_flow_style=False, width=120)
    return RenderedFile(paths.REGISTRIES, f"# {HEADER_LINE}\n{body}", 0o600, masking.registries_text)


def variables(request: Request) -> Dict[str, str]:
    """Return the unit's environment, secrets as they are: for its 0600 file, and for downloads of this program."""
    return {**request.environment, **{key: value.unmask() for key, value in request.secrets.environment.items()}}


def registries(request: Request) -> Optional[Dict[str, Any]]:
    """Return what registries.yaml shall say, secrets as they are; None without a wish for it."""
    if request.registries is None:
        return None
    found = dict(request.registries)
    if request.secrets.registries:
        found["configs"] = {name: dict(value) for name, value in dict(found.get("configs") or {}).items()}
    for name, added in request.secrets.registries.items():
        config = found["configs"].setdefault(name, {})
        config["auth"] = {**(config.get("auth") or {}), **{key: value.unmask() for key, value in added.items()}}
    return found


def environment(values: Mapping[str, str]) -> str:
    """Return the unit's environment file (systemd.exec, EnvironmentFile=): quoted where it needs to be."""
    return "".join(f"{key}={_quoted(value)}\n" for key, value in sorted(values.items()))


def _quoted(value: str) -> str:
    if value and all(letter.isalnum() or letter in "-_./:,@%+=*[]" for letter in value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def unit(role: str, name: str) -> str:
    """Return the systemd unit. Its directives are those of the install script (k3s-io/k3s, install.sh)."""
    environment_files = ("/etc/default/%N", "/etc/sysconfig/%N", paths.environment_file(name))
    lines = [
        f"# {HEADER_LINE}",
        "[Unit]",
        "Description=Lightweight Kubernetes",
        "Documentation=https://k3s.io",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
        "[Service]",
        "Type=notify",
        *(f"EnvironmentFile=-{path}" for path in environment_files),
        "KillMode=process",
        "Delegate=yes",
        "User=root",
        "LimitNOFILE=1048576",
        "LimitNPROC=infinity",
        "LimitCORE=infinity",
        "TasksMax=infinity",
        "TimeoutStartSec=0",
        "Restart=always",
        "RestartSec=5s",
        "ExecStartPre=-/sbin/modprobe br_netfilter",
        "ExecStartPre=-/sbin/modprobe overlay",
        f"ExecStart={paths.BINARY} {role}",
    ]
    return "\n".join(lines) + "\n"


def script(name: str, unit_name: str) -> str:
    """Return the text of one of our scripts (k3s-killall.sh, k3s-uninstall.sh)."""
    text = (pkgutil.get_data("productive_k3s.k3s", f"scripts/{name}") or b"").decode()
    return text.replace("@UNIT@", unit_name)
