"""PURE: where programs may not be run, from the kernel's table of mounts."""

from __future__ import annotations

import posixpath
import re
from typing import Dict


def is_no_exec(path: str, mountinfo: str) -> bool:
    """Return whether the mount that holds a path says `noexec` (proc_pid_mountinfo(5), field 6)."""
    options: Dict[str, str] = {}
    for line in mountinfo.splitlines():
        words = line.partition(" - ")[0].split()
        if len(words) > 5:
            point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), words[4])
            options[point] = words[5]
    while path not in options and path != "/":
        path = posixpath.dirname(path)
    return "noexec" in options.get(path, "").split(",")
