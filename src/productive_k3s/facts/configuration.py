"""K3s' configuration as it holds: config.yaml, its drop-ins, the unit's arguments and environment file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Mapping, Sequence, Tuple

from productive_k3s.doors.system import Reading
from productive_k3s.facts import masking
from productive_k3s.facts.files import TextFile, read_text
from productive_k3s.k3s import config_file, paths

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Configuration:
    """The files and what they mean together, and what config.yaml says alone (`own`).

    `values` and `own` hold secrets as they are.
    """

    files: Tuple[TextFile, ...]
    values: Mapping[str, List[str]]
    own: Mapping[str, List[str]]
    sources: Mapping[str, str]
    error: str
    changed: float

    @property
    def digest(self) -> str:
        """The digest of the meaning; of the texts where they have none."""
        if self.error:
            return config_file.digest({file.fact.path: [file.text] for file in self.files})
        return config_file.digest(self.values)

    @property
    def written_by(self) -> str:
        """The first line of config.yaml if this program wrote it."""
        file = next((file for file in self.files if file.fact.path == paths.CONFIG), None)
        return file.text.partition("\n")[0] if file is not None and file.fact.schema else ""

    def first(self, key: str) -> str:
        """Return a flag's first value, '' if it is not set."""
        return next(iter(self.values.get(key, ())), "")


async def read_configuration(system: Reading, arguments: Sequence[str], variables: Mapping[str, str]) -> Configuration:
    """Read and merge what K3s would read if it were started now."""
    moved = config_file.merge((), arguments).values.get("config", [])
    # The variable wins over the command line.
    base = variables.get("K3S_CONFIG_FILE") or (moved[0] if moved else paths.CONFIG)
    files: List[TextFile] = []
    error = ""
    names = await system.list_directory(f"{base}.d")
    for path in (base, *(f"{base}.d/{name}" for name in names if name.lower().endswith(_SUFFIXES))):
        try:
            found = await read_text(system, path, masking.config_text)
        except IsADirectoryError:
            found = None
        if found is not None:
            files.append(found)
        elif path == base and await _is_directory(system, base):
            error = f"{base}: is a directory"
    folder = await system.stat(f"{base}.d")
    changed = folder.changed if folder is not None else 0.0
    texts = [(file.fact.path, file.text) for file in files]
    try:
        effective = config_file.merge(texts, arguments, variables)
        own = config_file.merge([(path, text) for path, text in texts if path == paths.CONFIG])
    except config_file.ConfigUnreadable as unreadable:
        return Configuration(tuple(files), {}, {}, {}, str(unreadable), changed)
    return Configuration(tuple(files), effective.values, own.values, effective.sources, error, changed)


async def _is_directory(system: Reading, path: str) -> bool:
    found = await system.stat(path)
    return found is not None and found.kind == "directory"
