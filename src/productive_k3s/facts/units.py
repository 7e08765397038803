"""Units as systemd knows them (one call for all), and as they lie on disk."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from productive_k3s.contract.facts import Directive, UnitFact
from productive_k3s.doors.system import Reading
from productive_k3s.facts import masking
from productive_k3s.facts.files import TextFile, read_text
from productive_k3s.k3s import paths, unit_file
from productive_k3s.k3s.unit_file import command_words, directives

K3S_UNITS = ("k3s", "k3s-agent")
# Other distributions' services that run a kubelet.
_OTHER_KUBERNETES = {
    "kubelet": "kubelet",
    "rke2-server": "rke2",
    "rke2-agent": "rke2",
    "k0scontroller": "k0s",
    "k0sworker": "k0s",
    "snap.microk8s.daemon-kubelite": "microk8s",
}
_ENVIRONMENT_FILES = ("-/etc/default/%N", "-/etc/sysconfig/%N")


@dataclass(frozen=True)
class UnitTable:
    """What systemd says of the units that matter here; `answered` False: there was no systemd to ask."""

    properties: Mapping[str, Mapping[str, str]]
    answered: bool

    @property
    def others(self) -> Tuple[str, ...]:
        """Other distributions whose services are on this host."""
        names = {
            name
            for unit, name in _OTHER_KUBERNETES.items()
            if self.properties.get(unit, {}).get("LoadState") == "loaded"
        }
        return tuple(sorted(names))

    def is_active(self, unit: str) -> bool:
        """Whether the unit runs, or is about to."""
        return self.properties.get(unit, {}).get("ActiveState") in ("active", "activating", "reloading")

    def is_wanted(self, distribution: str) -> bool:
        """Whether a service of the distribution runs or starts at boot; a package that lies idle harms nobody."""
        units = [unit for unit, name in _OTHER_KUBERNETES.items() if name == distribution]
        return any(
            self.is_active(unit) or self.properties.get(unit, {}).get("UnitFileState", "").startswith("enabled")
            for unit in units
        )


@dataclass(frozen=True)
class Unit:
    """A unit's fact, with the texts that its digests are taken of; those may hold secrets."""

    fact: UnitFact
    texts: Tuple[str, ...]
    arguments: Tuple[str, ...]
    environment: Tuple[TextFile, ...]

    @property
    def role(self) -> str:
        """The sub-command of K3s, or what the unit's name says."""
        found = next((word for word in self.arguments if word in ("server", "agent")), "")
        return found or ("agent" if self.fact.name == "k3s-agent" else "server")

    @property
    def flags(self) -> Tuple[str, ...]:
        """The arguments after the sub-command."""
        if self.role in self.arguments:
            return self.arguments[self.arguments.index(self.role) + 1 :]
        return self.arguments


async def ask_systemd(system: Reading) -> UnitTable:
    """Ask for all units at once. Times come in UTC with microseconds where systemctl can (247 and newer)."""
    names = [f"{name}.service" for name in (*K3S_UNITS, *_OTHER_KUBERNETES, "firewalld")]
    done = await system.ask("units", *names)
    if done.returncode != 0 and "timestamp" in done.stderr:
        done = await system.ask("units-before-247", *names)
    if done.returncode != 0:
        return UnitTable({}, answered=False)
    return UnitTable(parse_show(done.stdout), answered=True)


def parse_show(text: str) -> Dict[str, Dict[str, str]]:
    """PURE: read the blocks of `systemctl show`, by unit name without its suffix."""
    found: Dict[str, Dict[str, str]] = {}
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        if values.get("Id"):
            found[values["Id"].rpartition(".")[0]] = values
    return found


def parse_time(text: str) -> float:
    """PURE: return Unix seconds of systemd's `Thu 2026-11-22 22:04:43.123456 UTC`, 0.0 for none."""
    words = text.split()
    if len(words) < 3:
        return 0.0
    stamp = f"{words[1]} {words[2]}"
    form = "%Y-%m-%d %H:%M:%S.%f" if "." in stamp else "%Y-%m-%d %H:%M:%S"
    try:
        return dt.datetime.strptime(stamp, form).replace(tzinfo=dt.timezone.utc).timestamp()
    except ValueError:
        return 0.0


async def read_units(system: Reading, table: UnitTable) -> Tuple[Unit, ...]:
    """Return K3s' units that exist here in any form, the one that counts first."""
    found = [await _read_unit(system, name, table) for name in K3S_UNITS]
    there = [unit for unit in found if unit is not None]
    return tuple(sorted(there, key=lambda unit: not (unit.fact.main_pid or unit.fact.enabled)))


async def _read_unit(system: Reading, name: str, table: UnitTable) -> Optional[Unit]:
    said = table.properties.get(name, {})
    fragment = await read_text(system, said.get("FragmentPath") or paths.unit_file(name), masking.unit_text)
    environment_there = await system.stat(paths.environment_file(name)) is not None
    if fragment is None and not environment_there and said.get("ActiveState", "inactive") == "inactive":
        return None
    drop_ins = [await read_text(system, path, masking.unit_text) for path in await _drop_in_paths(system, name, said)]
    files = [item for item in (fragment, *drop_ins) if item is not None]
    texts = tuple(item.text for item in files)
    arguments = exec_arguments(texts)
    environment = [await read_text(system, path, masking.environment_text) for path in environment_paths(texts, name)]
    kept = tuple(item for item in environment if item is not None)
    fact = UnitFact(
        name=name,
        load_state=said.get("LoadState") or ("loaded" if fragment is not None else "not-found"),
        active_state=said.get("ActiveState", "unknown"),
        sub_state=said.get("SubState", ""),
        enabled=await _is_enabled(system, name, said),
        main_pid=_number(said.get("MainPID", "")),
        restarts=_number(said.get("NRestarts", "")),
        invocation_id=said.get("InvocationID", ""),
        started=parse_time(said.get("ExecMainStartTimestamp", "")),
        active_since=parse_time(said.get("ActiveEnterTimestamp", "")),
        fragment=fragment.fact if fragment is not None else None,
        drop_ins=tuple(item.fact for item in drop_ins if item is not None),
        arguments=masking.arguments(arguments)[0],
        environment_files=tuple(item.fact for item in kept),
        need_daemon_reload=said.get("NeedDaemonReload") == "yes",
        directives=directives_of([(item.fact.path, item.text) for item in files]),
        variables={item.fact.path: masking.variables(unit_file.environment(item.text)) for item in kept},
    )
    return Unit(fact, texts, arguments, kept)


def directives_of(files: Sequence[Tuple[str, str]]) -> Tuple[Directive, ...]:
    """PURE: return the lines of a unit and its drop-ins, each (path, text), secrets as digests."""
    return tuple(
        Directive(path, section, key, masking.directive(key, value))
        for path, text in files
        for section, key, value in directives(text)
    )


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


async def _drop_in_paths(system: Reading, name: str, said: Mapping[str, str]) -> Tuple[str, ...]:
    if "DropInPaths" in said:
        return tuple(said["DropInPaths"].split())
    folder = f"{paths.SYSTEMD_DIRECTORY}/{name}.service.d"
    return tuple(f"{folder}/{item}" for item in await system.list_directory(folder) if item.endswith(".conf"))


async def _is_enabled(system: Reading, name: str, said: Mapping[str, str]) -> bool:
    if "UnitFileState" in said:
        return said["UnitFileState"].startswith("enabled")
    return await system.stat(f"{paths.SYSTEMD_DIRECTORY}/multi-user.target.wants/{name}.service") is not None


def exec_arguments(texts: Sequence[str]) -> Tuple[str, ...]:
    """PURE: return what the last ExecStart gives to its program; an empty one takes back those before it."""
    commands: List[str] = []
    for text in texts:
        for _, key, value in directives(text):
            if key == "ExecStart":
                commands = [*commands, value] if value else []
    return command_words(commands[-1])[1:] if commands else ()


def environment_paths(texts: Sequence[str], name: str) -> Tuple[str, ...]:
    """PURE: return the files that EnvironmentFile= names, in order; without a unit those that ours will name."""
    named: List[str] = []
    for text in texts:
        for _, key, value in directives(text):
            if key == "EnvironmentFile":
                named = [*named, value] if value else []
    if not texts:
        named = [*_ENVIRONMENT_FILES, paths.environment_file(name)]
    found = [path.lstrip("-").replace("%N", name).replace("%n", f"{name}.service") for path in named]
    return tuple(dict.fromkeys(path for path in found if path.startswith("/") and "*" not in path))
