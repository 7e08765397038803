"""Lab machines behind the stub's instances, and what cloud-init would do in them: users, keys, names, its result."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import subprocess
from pathlib import Path

from lab_bed import Bed
from multipass_stub.user_data import UserData
from productive_k3s_infra.providers.local import machines
from productive_k3s_infra.providers.local.machines import Machine

RESULT = json.dumps({"v1": {"datasource": "DataSourceNoCloud [seed=/dev/sr0]", "errors": []}})


def bed_of(folder: Path) -> Bed:
    """Return the bed: its key is what Multipass' own key is to its instances."""
    return Bed(folder)


def set_of(folder: Path) -> str:
    """Name the set of the machines; one for each folder of state."""
    return f"multipass-{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"


def launch(folder: Path, name: str, data: UserData) -> None:
    """Make a machine, and do in it what cloud-init does: the marks of a boot first, its result last."""
    bed = bed_of(folder)
    (machine,) = bed.create(set_of(folder), name)
    bed.ssh(machine, "mkdir -p /run/cloud-init && touch /run/cloud-init/enabled")
    bed.ssh(machine, "sh -s", data=_first_boot(data).encode())


def _first_boot(data: UserData) -> str:
    home = f"/home/{data.user}"
    files = {
        "/etc/ssh/ssh_host_ed25519_key": (data.host_key, "600"),
        "/etc/ssh/ssh_host_ed25519_key.pub": (f"{data.host_public_key}\n", "644"),
        "/etc/hostname": (f"{data.hostname}\n", "644"),
        "/etc/sudoers.d/90-cloud-init-users": (f"{data.user} {data.sudo}\n", "440"),
        f"{home}/.ssh/authorized_keys": (f"{data.authorized_key}\n", "600"),
        **{path: (content, "644") for path, content in data.files.items()},
        # It comes at every boot, before anybody is let in.
        "/etc/tmpfiles.d/cloud-init.conf": (
            f"d /run/cloud-init 0755\nf+ /run/cloud-init/result.json 0644 - - - {RESULT}\n", "644"
        ),
    }  # fmt: skip
    lines = [
        "set -eu",
        f"useradd --create-home --shell /bin/bash {shlex.quote(data.user)}",
        f"install -d -m 700 {home}/.ssh",
        "rm -f /etc/ssh/ssh_host_*",
    ]
    for path, (content, mode) in files.items():
        text = base64.b64encode(content.encode()).decode()
        lines += [f"echo {text} | base64 -d > {shlex.quote(path)}", f"chmod {mode} {shlex.quote(path)}"]
    lines += [
        f"chown -R {data.user}: {home}",
        f"sed -i 's/^127.0.1.1 .*/127.0.1.1 {data.hostname}/' /etc/hosts",
        f"hostname {data.hostname}",
        "systemctl reload ssh",
        f"echo {shlex.quote(RESULT)} > /run/cloud-init/result.json",
    ]
    return "\n".join(lines) + "\n"


def addresses(folder: Path, name: str) -> list[str]:
    """Return what Multipass shows: its own address first, then what else is on the interfaces, as `ip` orders it."""
    machine = _machine(folder, name)
    # The network name space is looked into from outside: the operator's host key has taken the place of the lab's.
    said = subprocess.run(
        ("nsenter", "-t", str(_init(folder, name)), "-n", "ip", "-json", "-4", "addr", "show", "scope", "global"),
        check=True,
        capture_output=True,
        text=True,
    )
    inside = [one["local"] for link in json.loads(said.stdout) for one in link["addr_info"]]
    return [machine.address, *(address for address in inside if address != machine.address)]


def start(folder: Path, name: str) -> None:
    """Start the machine with its disk."""
    machines.start(set_of(folder), [name], root=bed_of(folder).root)


def stop(folder: Path, name: str) -> None:
    """Shut it down."""
    machines.stop(set_of(folder), [name], root=bed_of(folder).root)


def destroy(folder: Path, name: str) -> None:
    """Take it away."""
    machines.destroy(set_of(folder), [name], root=bed_of(folder).root)


def _machine(folder: Path, name: str) -> Machine:
    return next(one for one in machines.survey(set_of(folder), root=bed_of(folder).root) if one.name == name)


def _init(folder: Path, name: str) -> int:
    from productive_k3s_infra.providers.local import power
    from productive_k3s_infra.providers.local.cgroup import detect, group_name

    found = power.find_init(detect(), group_name(bed_of(folder).root / set_of(folder), name))
    assert found is not None, f"{name} does not run"
    return found
