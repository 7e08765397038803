"""PURE: which of the files beside config.yaml a start of K3s reads."""

from __future__ import annotations

import re
from typing import List, Mapping, Sequence, Tuple

from productive_k3s.k3s import paths

_PATH = re.compile(re.escape(paths.FILES) + r"/[\w.-]+")


def named_in(text: str) -> Tuple[str, ...]:
    """Return the paths below /etc/rancher/k3s/files that a flag's value or a file's text names."""
    return tuple(dict.fromkeys(found.rstrip(".") for found in _PATH.findall(text)))


def read_at_start(texts: Mapping[str, str], values: Mapping[str, Sequence[str]]) -> Tuple[str, ...]:
    """Return the paths among `texts` that a start reads: named by flags, or by a file that is read; and templates."""
    read: List[str] = []
    open_ends = [path for path in texts if not path.startswith(f"{paths.FILES}/")]
    open_ends.extend(path for items in values.values() for item in items for path in named_in(item))
    while open_ends:
        path = open_ends.pop()
        if path in texts and path not in read:
            read.append(path)
            open_ends.extend(named_in(texts[path]))
    return tuple(path for path in texts if path in read)
