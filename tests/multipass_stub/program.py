"""The program itself: `python -m multipass_stub.program STATE_FOLDER ARGUMENTS...`."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from multipass_stub.state import Instance, State, note_call, opened
from multipass_stub.user_data import BadUserData, UserData, read_user_data

OK, COMMAND_LINE, FAILED = 0, 1, 2
SOCKET = "/var/snap/multipass/common/multipass_socket"
IMAGES = {
    "24.04": "Ubuntu 24.04 LTS",
    "noble": "Ubuntu 24.04 LTS",
    "lts": "Ubuntu 24.04 LTS",
    "22.04": "Ubuntu 22.04 LTS",
}
SMALLEST = {"memory": 128 << 20, "disk": 512 << 20}
_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMG])(?:i?B)?|B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Ends(Exception):
    """The command ends with this exit code and text on standard error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Parser(argparse.ArgumentParser):
    """Says what is wrong as Qt's parser does, and ends with the code that Multipass ends with."""

    def error(self, message: str) -> NoReturn:
        """See ArgumentParser."""
        raise Ends(COMMAND_LINE, message)


def main(argv: list[str]) -> int:
    code, out, err = execute(Path(argv[0]), argv[1:], sys.stdin.read)
    sys.stdout.write(out)
    sys.stderr.write(err)
    return code


def execute(folder: Path, words: list[str], read_input: Callable[[], str]) -> tuple[int, str, str]:
    """Run one command; return its exit code and what it says on standard output and standard error."""
    note_call(folder, words)
    try:
        with opened(folder) as state:
            return OK, _run(state, folder, words, read_input), ""
    except Ends as end:
        return end.code, "", f"{end}\n"


def _run(state: State, folder: Path, words: list[str], read_input: Callable[[], str]) -> str:
    if not words or words[0] not in COMMANDS:
        raise Ends(COMMAND_LINE, f"Error: Unknown Command '{' '.join(words[:1])}' (try \"multipass help\")")
    command = words[0]
    if "daemon-down" in state.fixed and command != "version":
        text = f"{command} failed: cannot connect to the multipass socket"
        raise Ends(FAILED, f"{text}\nPlease ensure multipassd is running and '{SOCKET}' is accessible")
    if "no-access" in state.fixed and command != "version":
        text = f"{command} failed: multipass socket access denied"
        raise Ends(FAILED, f"{text}\nPlease check that you have read/write permissions to '{SOCKET}'")
    parsed = _parse(command, words[1:])
    parsed.read_input = read_input
    return COMMANDS[command](state, folder, parsed)


def _parse(command: str, words: list[str]) -> argparse.Namespace:
    parser = Parser(prog="multipass", allow_abbrev=False, add_help=False)
    if command == "launch":
        for flag in ("cpus", "memory", "disk", "name", "timeout", "cloud-init"):
            parser.add_argument(f"--{flag}")
        parser.add_argument("image", nargs="?", default="lts")
    if command in {"info", "list", "version", "find"}:
        parser.add_argument("--format", choices=["table", "json", "csv", "yaml"], default="table")
    if command in {"start", "stop", "delete", "info"}:
        parser.add_argument("names", nargs="+" if command != "info" else "*")
    if command == "start":
        parser.add_argument("--timeout")
    if command == "stop":
        parser.add_argument("--force", action="store_true")
    if command == "delete":
        parser.add_argument("--purge", "-p", action="store_true")
    if command == "get":
        parser.add_argument("key")
    if command == "find":
        parser.add_argument("image", nargs="?")
        parser.add_argument("--force-update", action="store_true")
    return parser.parse_args(words)


def launch(state: State, folder: Path, words: argparse.Namespace) -> str:
    memory, disk = (_size(getattr(words, name) or "1G", name) for name in ("memory", "disk"))
    cpus = _positive(words.cpus or "1", "Error: invalid CPU count '{}', need a positive integer value.")
    _positive(words.timeout or "300", "error: --timeout value has to be a positive integer")
    data = _user_data(words)
    if words.image not in IMAGES:
        raise Ends(FAILED, f'launch failed: Unable to find an image matching "{words.image}" in remote "".')
    bad = [name for name, size in (("memory", memory), ("disk", disk)) if size < SMALLEST[name]]
    if bad or not _NAME.fullmatch(words.name or ""):
        detail = f"Invalid {bad[0]} size value supplied: {getattr(words, bad[0])}." if bad else ""
        raise Ends(
            FAILED,
            "launch failed: Invalid arguments supplied\n" + (detail or f"Invalid instance name supplied: {words.name}"),
        )
    if state.takes("launch-transient"):
        raise Ends(FAILED, 'launch failed: Remote "" is unknown or unreachable.')
    if state.takes("launch-fails"):
        raise Ends(FAILED, "launch failed: KVM support is not enabled on this machine.")
    if words.name in state.instances:
        raise Ends(FAILED, f'launch failed: instance "{words.name}" already exists')
    state.launches += 1
    address = [] if "no-address" in state.fixed else [f"10.119.5.{10 + state.launches}"]
    digest = hashlib.sha256(words.image.encode()).hexdigest()
    made = Instance(
        "Running", cpus, memory, disk, words.image, digest, address, state.with_machines, data.host_public_key
    )
    state.instances[words.name] = made
    if state.with_machines:
        from multipass_stub import machines

        machines.launch(folder, words.name, data)
    if state.takes("dies"):
        made.state = "Stopped"
    if state.takes("launch-timeout"):
        text = "launch failed: The following errors occurred:\ntimed out waiting for initialization to complete"
        raise Ends(FAILED, text)
    return f"Launched: {words.name}\n"


def _user_data(words: argparse.Namespace) -> UserData:
    if words.cloud_init != "-":
        raise Ends(COMMAND_LINE, f"Could not load cloud-init configuration: bad file: {words.cloud_init}")
    try:
        return read_user_data(words.read_input())
    except (BadUserData, KeyError, TypeError, ValueError) as error:
        raise Ends(COMMAND_LINE, f"Could not load cloud-init configuration: {error!r}") from error


def _positive(text: str, complaint: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise Ends(COMMAND_LINE, complaint.format(text))
    return int(text)


def _size(text: str, _name: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise Ends(FAILED, f"launch failed: {text} is not a valid memory size")
    return int(float(found[1]) * _UNITS[(found[2] or "").upper()])


def info(state: State, folder: Path, words: argparse.Namespace) -> str:
    _json_only(words)
    _require(state, "info", words.names)
    names = words.names or list(state.instances)
    found = {name: _details(state.instances[name], _addresses(folder, name, state)) for name in names}
    return _document({"errors": [], "info": found})


def _details(one: Instance, ipv4: list[str]) -> dict[str, Any]:
    up = one.state == "Running"
    release = IMAGES[one.image]
    return {
        "cpu_count": str(one.cpus) if up else "",
        "disks": {"sda1": {"total": str(one.disk), "used": "1932735283"} if up else {}},
        "image_hash": one.image_hash,
        "image_release": release.removeprefix("Ubuntu "),
        "ipv4": ipv4,
        "load": [0.1, 0.05, 0.01] if up else [],
        "memory": {"total": int(one.memory * 0.96), "used": 213909504} if up else {},
        "mounts": {},
        "release": release if up else "",
        "snapshot_count": "0",
        "state": one.state,
    }


def listed(state: State, folder: Path, words: argparse.Namespace) -> str:
    _json_only(words)
    rows = [
        {
            "ipv4": _addresses(folder, name, state),
            "name": name,
            "release": IMAGES[one.image] if one.state == "Running" else "Not Available",
            "state": one.state,
        }
        for name, one in sorted(state.instances.items())
        if not state.takes("hidden")
    ]
    return _document({"list": rows})


def _addresses(folder: Path, name: str, state: State) -> list[str]:
    one = state.instances[name]
    if one.state != "Running":
        return []
    if one.machine and one.ipv4:
        from multipass_stub import machines

        return machines.addresses(folder, name)
    return one.ipv4


def start(state: State, folder: Path, words: argparse.Namespace) -> str:
    for name in words.names:
        one = state.instances.get(name)
        if one is None or one.state == "Deleted":
            why = f"Instance '{name}' does not exist." if one is None else f"Instance '{name}' is deleted."
            raise Ends(FAILED, f"start failed: The following errors occurred:\n{why}")
        one.state = "Running"
        if one.machine:
            from multipass_stub import machines

            machines.start(folder, name)
    return ""


def stop(state: State, folder: Path, words: argparse.Namespace) -> str:
    _require(state, "stop", words.names)
    for name in words.names:
        _halt(state, folder, name)
        state.instances[name].state = "Stopped"
    return ""


def _halt(state: State, folder: Path, name: str) -> None:
    if state.instances[name].machine and state.instances[name].state == "Running":
        from multipass_stub import machines

        machines.stop(folder, name)


def delete(state: State, folder: Path, words: argparse.Namespace) -> str:
    _require(state, "delete", words.names)
    for name in words.names:
        if words.purge:
            _purge_one(state, folder, name)
        else:
            _halt(state, folder, name)
            state.instances[name].state = "Deleted"
    return ""


def purge(state: State, folder: Path, _words: argparse.Namespace) -> str:
    for name in [name for name, one in state.instances.items() if one.state == "Deleted"]:
        _purge_one(state, folder, name)
    return ""


def _purge_one(state: State, folder: Path, name: str) -> None:
    if state.instances[name].machine:
        from multipass_stub import machines

        machines.destroy(folder, name)
    del state.instances[name]


def get(state: State, _folder: Path, words: argparse.Namespace) -> str:
    found = re.fullmatch(r"local\.(.+)\.(cpus|memory|disk)", words.key)
    if found is None:
        raise Ends(FAILED, f"Unrecognized settings key: '{words.key}'")
    one = state.instances.get(found[1])
    if one is None:
        text = f"Cannot obtain instance settings; instance: {found[1]}; reason: No such instance"
        raise Ends(FAILED, f"get failed: {text}")
    value = getattr(one, found[2])
    return f"{value if found[2] == 'cpus' else _human(value)}\n"


def _human(size: int) -> str:
    for unit, suffix in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f}{suffix}"
    return f"{size}B"


def find(_state: State, _folder: Path, words: argparse.Namespace) -> str:
    _json_only(words)
    images = {
        name: {"os": "Ubuntu", "release": title.removeprefix("Ubuntu "), "remote": ""} for name, title in IMAGES.items()
    }
    return _document({"errors": [], "images": images})


def version(state: State, _folder: Path, words: argparse.Namespace) -> str:
    _json_only(words)
    found = {"multipass": state.version}
    if "daemon-down" not in state.fixed:
        found["multipassd"] = state.daemon_version
    return _document(found)


def _json_only(words: argparse.Namespace) -> None:
    if words.format != "json":
        raise Ends(COMMAND_LINE, "this stand-in speaks JSON only")


def _require(state: State, command: str, names: list[str]) -> None:
    missing = [f'instance "{name}" does not exist' for name in names if name not in state.instances]
    if missing:
        raise Ends(FAILED, "\n".join((f"{command} failed: The following errors occurred:", *missing)))


def _document(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=4, sort_keys=True) + "\n"


COMMANDS: dict[str, Callable[[State, Path, argparse.Namespace], str]] = {
    "delete": delete,
    "find": find,
    "get": get,
    "info": info,
    "launch": launch,
    "list": listed,
    "purge": purge,
    "start": start,
    "stop": stop,
    "version": version,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
