"""K3s on a machine as its install script leaves it, laid down by hand: the script itself is not here.

Flags go onto the unit's command line, each in quotes on a line of its own; variables go into its environment file.
"""

from __future__ import annotations

from collections.abc import Mapping

import lab_bed
from lab_bed import Bed, Machine
from productive_k3s.k3s import paths
from productive_k3s.plan import render


def unit_text(role: str, *flags: str) -> str:
    """Return the unit."""
    body, _, command = render.unit(role, lab_bed.unit_of(role)).partition("[Unit]")[2].rpartition("ExecStart=")
    binary, sub_command = command.split()
    words = "".join(f"\t'{flag}' \\\n" for flag in flags)
    return f"[Unit]{body}ExecStart={binary} \\\n    {sub_command} \\\n{words}\n"


def variables_text(variables: Mapping[str, str]) -> str:
    """Return the environment file, quoted as a shell prints it."""
    return "".join(f"{name}='{value}'\n" for name, value in sorted(variables.items()))


def install(bed: Bed, machine: Machine, role: str, *flags: str, **variables: str) -> None:
    """Lay down all files but the binary and its links, and start K3s without waiting for it."""
    unit = lab_bed.unit_of(role)
    script = "#!/bin/sh\n# Stands for the script that K3s' installer leaves here.\nexit 1\n"
    files = {
        paths.KILLALL: (script, 0o755),
        paths.uninstall_script(unit): (script, 0o755),
        paths.environment_file(unit): (variables_text(variables), 0o600),
        paths.unit_file(unit): (unit_text(role, *flags), 0o644),
    }
    bed.put_all(machine, files, f"systemctl enable --quiet {unit} && systemctl daemon-reload")
    bed.ssh(machine, f"systemctl restart --no-block {unit}")
