"""PURE: files that K3s reads, as text. Each is written out only when somebody asks for its text."""

from __future__ import annotations

import functools
import hashlib
import pkgutil
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Tuple

from productive_k3s.contract.redaction import redact
from productive_k3s.facts import masking
from productive_k3s.k3s import config_file, paths, unit_file, yaml_text
from productive_k3s.k3s.header import HEADER_LINE


def as_is(text: str) -> Optional[str]:
    """Show the whole text."""
    return text


@dataclass(frozen=True)
class RenderedFile:
    """A file as it shall be. `shown` takes the secrets out of its text, as facts do it with what lies there."""

    path: str
    mode: int
    write: Callable[[], str]
    shown: Callable[[str], Optional[str]] = as_is

    @functools.cached_property
    def text(self) -> str:
        """What stands in it, secrets as they are."""
        return self.write()

    @functools.cached_property
    def sha256(self) -> str:
        """The digest of its bytes."""
        return digest(self.text)


def digest(text: str) -> str:
    """Return the digest of a file with this text."""
    return hashlib.sha256(text.encode()).hexdigest()


def config(values: Mapping[str, Any]) -> RenderedFile:
    """Return config.yaml."""
    return RenderedFile(paths.CONFIG, 0o600, lambda: config_file.render(values, HEADER_LINE))


def registries(values: Mapping[str, Any]) -> RenderedFile:
    """Return registries.yaml; it may hold passwords."""

    def write() -> str:
        return f"# {HEADER_LINE}\n{yaml_text.dump(values, sort_keys=True)}"

    return RenderedFile(paths.REGISTRIES, 0o600, write, masking.registries_text)


def environment_file(unit_name: str, values: Mapping[str, str]) -> RenderedFile:
    """Return the unit's environment file."""
    path = paths.environment_file(unit_name)
    return RenderedFile(path, 0o600, lambda: environment(values), masking.environment_text)


def flag_file(name: str, content: str) -> RenderedFile:
    """Return a file that a flag points to; a template of containerd's gets our first line, to be known again."""
    is_template = name in paths.CONTAINERD_TEMPLATES
    text = f"# {HEADER_LINE}\n{content}" if is_template else content
    return RenderedFile(paths.file_for_flags(name), 0o600, lambda: text, redact)


@functools.lru_cache(maxsize=None)
def unit_of(role: str, name: str) -> RenderedFile:
    """Return the unit as a file."""
    return RenderedFile(paths.unit_file(name), 0o644, lambda: unit(role, name))


@functools.lru_cache(maxsize=None)
def directives_of(role: str, name: str) -> Tuple[unit_file.Directive, ...]:
    """Return what the unit says."""
    return unit_file.directives(unit(role, name))


@functools.lru_cache(maxsize=None)
def scripts(unit_name: str) -> Tuple[RenderedFile, ...]:
    """Return k3s-killall.sh and the uninstall script."""
    names = {paths.KILLALL: "k3s-killall.sh", paths.uninstall_script(unit_name): "k3s-uninstall.sh"}
    return tuple(RenderedFile(path, 0o755, functools.partial(script, name, unit_name)) for path, name in names.items())


def script(name: str, unit_name: str) -> str:
    """Return the text of one of our scripts (k3s-killall.sh, k3s-uninstall.sh)."""
    text = (pkgutil.get_data("productive_k3s.k3s", f"scripts/{name}") or b"").decode()
    return text.replace("@UNIT@", unit_name)


def environment(values: Mapping[str, str]) -> str:
    """Return the text of the unit's environment file (systemd.exec, EnvironmentFile=): quoted where it needs to be."""
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
