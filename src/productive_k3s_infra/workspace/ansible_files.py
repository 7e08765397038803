"""What `pk3s inventory` writes for Ansible: who the hosts are, how they are reached, and each one's whole request.

The role passes a host's request on as it stands here. Two things need care for that: Ansible reads YAML 1.1, so the
same library writes it; and Ansible takes text with braces for a template, so such text is marked as none.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from productive_k3s.contract.codec import encode
from productive_k3s.contract.request import Request
from productive_k3s.contract.secret import Secret
from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.inventory.model import Endpoint, Host
from productive_k3s_infra.workspace.directory import AREA, make_private

PROGRAM, LOADER, KNOWN_HOSTS = "productive-k3s.pyz", "productive-k3s.loader", "known_hosts"
SECRETS = "remote_cluster_secrets"
GROUPS = ("servers", "agents")
_HEAD = "# Written by pk3s inventory: change cluster.yaml and write it anew.\n"
_TEMPLATE = re.compile(r"\{[{%#]")
_STRING = "tag:yaml.org,2002:str"
_ESCAPED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_WIDTH = 4096
_MODE = 0o644


@dataclass(frozen=True)
class PushedFile:
    """An artefact that this computer pushes; `path` is where it lies here."""

    name: str
    sha256: str
    size: int
    path: str


@dataclass(frozen=True)
class AnsibleHost:
    """One host: where it is, what it is asked, and the files that are pushed to it if it lacks them."""

    host: Host
    request: Request
    files: tuple[PushedFile, ...] = ()


@dataclass(frozen=True)
class AnsibleInventory:
    """All that is written. `command` runs `loader`, a line, on a host; that runs `program`, whose digest is `sha256`.

    `expectation` is what a validation is given, `known_hosts` the text of the file that proves the hosts. `ca_hash` is
    that of the recorded cluster, '' where none is recorded: then the role uninstalls nothing.
    """

    cluster: str
    founder: str
    hosts: tuple[AnsibleHost, ...]
    expectation: Mapping[str, Any]
    known_hosts: str
    command: tuple[str, ...]
    loader: bytes
    program: bytes
    sha256: str
    ca_hash: str = ""


@dataclass(frozen=True)
class _Template:
    """Text that Ansible shall fill in."""

    text: str


class _Dumper(yaml.SafeDumper):
    """Writes every string so that Ansible reads that string again; only a _Template is one for it."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal values in full: people read this."""
        del data
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    if _TEMPLATE.search(value):
        return dumper.represent_scalar("!unsafe", value, style='"')
    # In plain text and in single quotes what ends a line in Unicode would be read as a blank.
    return dumper.represent_scalar(_STRING, value, style='"' if _ESCAPED.search(value) else None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Template, lambda dumper, value: dumper.represent_scalar(_STRING, value.text, style='"'))


def published(request: Request) -> tuple[dict[str, Any], tuple[str, ...]]:
    """PURE: return the request as JSON values with a template in place of each secret, and the secrets' names.

    A name is the way to the secret in the request (`registries.configs.registry.example.auth.password`). Without
    secrets the document is exactly what `encode` gives.
    """
    names: list[str] = []
    document = _published(request, "", names)
    return document, tuple(names)


def _published(value: Any, path: str, names: list[str]) -> Any:
    if isinstance(value, Secret):
        names.append(path)
        return _Template(f"{{{{ {SECRETS}[{json.dumps(path)}] }}}}")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        return _published(fields, path, names)
    if isinstance(value, Mapping):
        return {str(key): _published(item, f"{path}.{key}".lstrip("."), names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_published(item, f"{path}.{index}", names) for index, item in enumerate(value)]
    return encode(value)


def secret_names(inventory: AnsibleInventory) -> tuple[str, ...]:
    """PURE: return the names of all secrets that the hosts' requests leave out, each once."""
    found = (name for host in inventory.hosts for name in published(host.request)[1])
    return tuple(dict.fromkeys(found))


def render_ansible(inventory: AnsibleInventory) -> dict[str, bytes]:
    """PURE: return every file by its path in the folder. The same inventory gives the same bytes.

    Raises BadInput for a host that is called like one of the groups.
    """
    files = {
        "hosts.yml": _document(_hosts(inventory)),
        "group_vars/all.yml": _document(_all(inventory)),
        KNOWN_HOSTS: inventory.known_hosts.encode(),
        LOADER: inventory.loader,
        PROGRAM: inventory.program,
    }
    for host in inventory.hosts:
        files[f"host_vars/{host.host.name}.yml"] = _document(_host(host))
    return files


def write_ansible(folder: Path, inventory: AnsibleInventory) -> tuple[str, ...]:
    """Make the folder hold the inventory; return the paths of what was changed or removed.

    Files of hosts that are gone are removed if they are ours; all else in the folder is left alone.
    """
    files = render_ansible(inventory)
    with explained(folder, AREA):
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o700)
            make_private(folder)
        for name in ("group_vars", "host_vars"):
            (folder / name).mkdir(exist_ok=True)
        gone = [path for path in sorted((folder / "host_vars").glob("*.yml")) if _is_left(path, folder, files)]
        for path in gone:
            path.unlink()
        changed = [name for name, content in files.items() if replace_file(folder / name, content, _MODE)]
    return (*changed, *(str(path.relative_to(folder)) for path in gone))


def _is_left(path: Path, folder: Path, files: Mapping[str, bytes]) -> bool:
    if str(path.relative_to(folder)) in files:
        return False
    with suppress(OSError):
        return path.read_bytes().startswith(_HEAD.encode())
    return False


def _document(content: Mapping[str, Any]) -> bytes:
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return (_HEAD + text).encode()


def _hosts(inventory: AnsibleInventory) -> dict[str, Any]:
    cluster = f"cluster_{re.sub('[^a-z0-9]', '_', inventory.cluster)}"
    taken = [host.host.name for host in inventory.hosts if host.host.name in (*GROUPS, "all", "ungrouped", cluster)]
    if taken:
        raise BadInput(
            "a node has the same name as a group of the inventory",
            where=", ".join(taken),
            evidence=f"the groups are {', '.join(GROUPS)} and {cluster}",
            remedy="give the node another name",
            code="ansible.name",
        )
    groups = {
        f"{role}s": {
            "hosts": {
                host.host.name: _reached(host.host.endpoint) for host in inventory.hosts if host.host.role == role
            }
        }
        for role in ("server", "agent")
    }
    return {"all": {"children": {cluster: {"children": groups}}}}


def _reached(endpoint: Endpoint) -> dict[str, Any]:
    key = {"ansible_ssh_private_key_file": endpoint.key} if endpoint.key else {}
    return {
        "ansible_host": endpoint.address,
        "ansible_port": endpoint.port,
        "ansible_user": endpoint.user,
        **key,
        "ansible_ssh_common_args": _Template(shlex.join(_options(endpoint))),
    }


def _options(endpoint: Endpoint) -> Iterator[str]:
    """Yield what OpenSSH is told: host keys come from the folder's own file, and from nowhere else."""
    yield from _proof(endpoint)
    if endpoint.jump is not None:
        jump = endpoint.jump
        key = ("-i", jump.key) if jump.key else ()
        words = ("ssh", *_proof(jump), *key, "-p", str(jump.port), "-l", jump.user, "-W")
        # OpenSSH reads % as the begin of a token; %h and %p are those of the host behind.
        command = f"{shlex.join(words).replace('%', '%%')} '[%h]:%p' {shlex.quote(jump.address)}"
        yield from ("-o", f"ProxyCommand={command}")


def _proof(endpoint: Endpoint) -> Iterator[str]:
    yield from ("-o", f'UserKnownHostsFile="{{{{ inventory_dir }}}}/{KNOWN_HOSTS}"')
    yield from ("-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes")
    if endpoint.key:
        yield from ("-o", "IdentitiesOnly=yes")


def _host(host: AnsibleHost) -> dict[str, Any]:
    document, names = published(host.request)
    secrets = {"remote_cluster_secret_names": list(names)} if names else {}
    files = [dataclasses.asdict(file) for file in host.files]
    return {"remote_cluster_request": document, "remote_cluster_files": files, **secrets}


def _all(inventory: AnsibleInventory) -> dict[str, Any]:
    return {
        "ansible_host_key_checking": True,
        "remote_cluster_name": inventory.cluster,
        "remote_cluster_founder": inventory.founder,
        **({"remote_cluster_ca": inventory.ca_hash} if inventory.ca_hash else {}),
        "remote_cluster_program": {
            "path": _Template(f"{{{{ inventory_dir }}}}/{PROGRAM}"),
            "sha256": inventory.sha256,
            "loader": _Template(f"{{{{ inventory_dir }}}}/{LOADER}"),
            "command": list(inventory.command),
        },
        "remote_cluster_expectation": dict(inventory.expectation),
    }
