"""Make, list and destroy sets of machines by hand: `python -m productive_k3s_infra.providers.local`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.providers.local import machines
from productive_k3s_infra.providers.local.store import DEFAULT_ROOT

_DEFAULT_NAMES = ("server-1", "agent-1", "agent-2")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; the exit code is 0, or that of the error."""
    options = _parser().parse_args(arguments)
    try:
        _perform(options)
    except Pk3sError as error:
        for part in (str(error), error.evidence, error.remedy and f"next: {error.remedy}"):
            if part:
                sys.stderr.write(f"{part}\n")
        return error.exit_code
    return 0


def _perform(options: argparse.Namespace) -> None:
    root = options.root
    if options.verb == "create":
        requests = [
            machines.MachineRequest(
                name,
                ssh_port=options.port,
                disk_bytes=options.disk_bytes,
                read_only=options.read_only,
                extra_user=options.user,
                sudoers=options.sudoers,
            )
            for name in options.machine or _DEFAULT_NAMES
        ]
        key = options.key.read_text()
        _show(machines.create(options.set, requests, key, root=root, on_progress=_say))
    elif options.verb == "list":
        chosen = [options.set] if options.set else machines.sets(root=root)
        _show(tuple(machine for name in chosen for machine in machines.survey(name, root=root)))
    elif options.verb == "destroy":
        machines.destroy(options.set, options.machine, root=root, on_progress=_say)
    elif options.verb == "leftovers":
        sys.stdout.writelines(f"{line}\n" for line in machines.leftovers(options.set, root=root))
    else:
        verb = {"stop": machines.stop, "start": machines.start, "power-off": machines.power_off}[options.verb]
        verb(options.set, options.machine, root=root)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m productive_k3s_infra.providers.local", description=__doc__)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where sets are kept")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("create", "list", "start", "stop", "power-off", "destroy", "leftovers"):
        one = verbs.add_parser(verb)
        one.add_argument("set", nargs="?" if verb == "list" else None)
        if verb not in ("list", "leftovers"):
            one.add_argument("--machine", nargs="+", metavar="NAME", help="these only")
        if verb == "create":
            one.add_argument("--key", type=Path, required=True, help="public key file for root")
            one.add_argument("--port", type=int, default=22, help="of the SSH server")
            one.add_argument("--disk-bytes", type=int, help="give each a disk of this size")
            one.add_argument("--read-only", action="store_true", help="mount everything read-only once started")
            one.add_argument("--user", help="an extra user with the same key")
            one.add_argument("--sudoers", help="what sudo allows that user: 'ALL=(root) NOPASSWD: ALL'")
    return parser


def _show(found: tuple[machines.Machine, ...]) -> None:
    json.dump([asdict(machine) for machine in found], sys.stdout, indent=2)
    sys.stdout.write("\n")


def _say(machine: str, what: str) -> None:
    sys.stderr.write(f"{machine}: {what}\n" if machine else f"{what}\n")


if __name__ == "__main__":
    sys.exit(main())
