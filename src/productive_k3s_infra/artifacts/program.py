"""The host program as one file, built from the installed package, so that both programs are always the same version.

Byte for byte reproducible: sorted names, one timestamp, one mode, one way of packing. PyYAML is in it as its plain
Python modules, so a host needs nothing but Python 3.9.
"""

from __future__ import annotations

import functools
import hashlib
import io
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from productive_k3s_infra._files import replace_file

NAME = "productive-k3s.pyz"
_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = b"import sys\n\nfrom productive_k3s.__main__ import main\n\nsys.exit(main())\n"
# The earliest time that a zip file can hold.
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_DATA_SUFFIXES = (".sh", ".json", ".yaml")
# cyaml wants the C library; without it the package says that there is none.
_LEFT_OUT = frozenset({"yaml/cyaml.py"})


@dataclass(frozen=True)
class Program:
    """The file's content, and what it is called by on a host."""

    data: bytes
    sha256: str


@functools.cache
def build_program() -> Program:
    """Build the host program from the packages that this process runs with."""
    entries = {"__main__.py": _MAIN}
    for package in ("productive_k3s", "yaml"):
        entries.update(_sources(resources.files(package), package))
    data = _SHEBANG + _pack(entries)
    return Program(data, hashlib.sha256(data).hexdigest())


def _sources(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for item in folder.iterdir():
        name = f"{path}/{item.name}"
        if item.is_dir():
            if item.name != "__pycache__":
                yield from _sources(item, name)
        elif item.name.endswith((".py", *_DATA_SUFFIXES)) and name not in _LEFT_OUT:
            yield name, item.read_bytes()


def _pack(entries: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name, _TIMESTAMP)
            entry.external_attr = _MODE
            entry.create_system = 3  # Unix, wherever it is built
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, entries[name], compresslevel=zlib.Z_BEST_COMPRESSION)
    return packed.getvalue()


def main(arguments: list[str]) -> int:
    """Write the program to a file: `python -m productive_k3s_infra.artifacts.program OUT`."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m productive_k3s_infra.artifacts.program OUT\n")
        return 2
    program, out = build_program(), Path(arguments[0])
    try:
        replace_file(out, program.data, 0o755)
    except OSError as error:
        sys.stderr.write(f"{out}: {error.strerror}\n")
        return 2
    sys.stdout.write(f"{program.sha256}  {out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
