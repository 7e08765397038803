"""K3s on this host: what lies there, what it means, what runs."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Dict, List, Literal, Optional, Sequence, Tuple

from productive_k3s.contract.facts import Digests, FileFact, K3sFacts
from productive_k3s.doors.system import Reading
from productive_k3s.facts import flag_files, masking, start, tokens
from productive_k3s.facts.configuration import Configuration, read_configuration
from productive_k3s.facts.files import Known, TextFile, exists, first_lines, large_file, read_text
from productive_k3s.facts.selinux import wrong_label
from productive_k3s.facts.units import K3S_UNITS, Unit, UnitTable, read_units
from productive_k3s.k3s import config_file, paths, unit_file
from productive_k3s.k3s.flag_files import read_at_start
from productive_k3s.k3s.token import ca_hash as token_ca_hash
from productive_k3s.k3s.unit_file import environment

_SERVER_CA = paths.DATA + "/server/tls/server-ca.crt"
_AGENT_CA = paths.DATA + "/agent/server-ca.crt"
_KUBELET_CERTIFICATE = paths.DATA + "/agent/client-kubelet.crt"
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
# Nothing but K3s makes these; other kubelets and container engines have /var/lib/kubelet, /var/lib/cni and logs too.
_ONLY_OF_K3S = (paths.CONFIG_DIRECTORY, paths.NODE_PASSWORD_DIRECTORY, "/run/k3s", "/run/flannel", paths.DATA)
# Put there before a first start: by this program, or by people, whose drop-ins for the kubelet and containerd and whose
# manifests K3s takes from there (docs.k3s.io, advanced and installation/packaged-components).
_PLACED = {
    paths.CONFIG_DIRECTORY: ("config.yaml", "registries.yaml", "server.token", "agent.token", "files"),
    paths.DATA: ("agent", "server"),
    f"{paths.DATA}/agent": ("images", "etc"),
    f"{paths.DATA}/server": ("manifests",),
}

Role = Optional[Literal["server", "agent"]]
DatastoreKind = Optional[Literal["etcd", "sqlite", "external"]]


@dataclass(frozen=True)
class _Start:
    """All that a start reads."""

    unit: Optional[Unit]
    binary: Optional[FileFact]
    configuration: Configuration
    registries: Optional[TextFile]
    tokens: Tuple[TextFile, ...]
    flag_files: Tuple[TextFile, ...]

    @property
    def on_disk(self) -> Optional[Digests]:
        """The digests, None where nothing of K3s lies."""
        if not (self.unit or self.binary or self.configuration.files or self.registries):
            return None
        return Digests(
            binary=self.binary.sha256 if self.binary is not None else "",
            config=self.configuration.digest,
            environment=unit_file.environment_meaning(
                [item.text for item in self.unit.environment] if self.unit else []
            ),
            unit=unit_file.meaning(self.unit.texts) if self.unit is not None and self.unit.texts else "",
            registries=config_file.text_digest(self.registries.text) if self.registries is not None else "",
            tokens=tokens.tokens_digest(self.tokens, self.configuration),
            files=flag_files.files_digest(self.flag_files, self.configuration.values),
        )

    def files(self) -> Tuple[Tuple[str, float], ...]:
        """The paths with their ctimes; a folder's tells of a drop-in that was removed."""
        there: List[Optional[FileFact]] = [self.binary, *(item.fact for item in self.configuration.files)]
        if self.registries is not None:
            there.append(self.registries.fact)
        if self.unit is not None:
            there.extend((self.unit.fact.fragment, *self.unit.fact.drop_ins, *self.unit.fact.environment_files))
        read = tokens.written_by_us(tokens.read_at_start(self.tokens, self.configuration))
        there.extend(item.fact for item in read)
        texts = {item.fact.path: item.text for item in self.flag_files}
        named = read_at_start(texts, self.configuration.values)
        there.extend(item.fact for item in self.flag_files if item.fact.path in named)
        folder = (f"{paths.CONFIG}.d", self.configuration.changed)
        return (folder, *((item.path, item.changed) for item in there if item is not None))


async def k3s_facts(system: Reading, table: UnitTable) -> K3sFacts:
    """Return what is true of K3s here."""
    records = await start.read_records(system)
    known = start.known(records)
    units = await read_units(system, table)
    unit = next(iter(units), None)
    role = _role(unit)
    configuration = await read_configuration(system, unit.flags if unit is not None else (), _own_variables(unit))
    begun = _Start(
        unit,
        await large_file(system, paths.BINARY, known),
        configuration,
        await read_text(system, paths.REGISTRIES, masking.registries_text),
        await tokens.read_tokens(system, unit, configuration),
        await flag_files.read_flag_files(system),
    )
    on_disk = begun.on_disk
    scripts = await _scripts(system)
    ca_hash = await _ca_hash(system, role)
    datastore = await _datastore(system, role, unit, configuration)
    return K3sFacts(
        role=role,
        units=tuple(item.fact for item in units),
        binary=begun.binary,
        binary_version=await _version(system, begun.binary, known),
        links=await _links(system),
        scripts=scripts,
        config_files=tuple(item.fact for item in configuration.files),
        config=masking.config_values(configuration.values),
        own_config=masking.config_values(configuration.own),
        config_sources=dict(configuration.sources),
        config_error=configuration.error,
        registries=begun.registries.fact if begun.registries is not None else None,
        tokens=tuple(map(tokens.token_fact, begun.tokens)),
        images=await _images(system, known),
        staged=await _staged(system),
        on_disk=on_disk,
        running=start.running(unit, begun.files(), on_disk, records) if on_disk is not None else None,
        datastore=datastore,
        ca_hash=ca_hash,
        node_name=await node_name(system, unit, configuration, started=bool(ca_hash or datastore)),
        has_node_password=await exists(system, f"{paths.NODE_PASSWORD_DIRECTORY}/password"),
        installed_by=_installed_by(unit, begun.binary, scripts),
        written_by=configuration.written_by,
        leftovers=await _leftovers(system) if role is None else (),
        files=tuple(item.fact for item in begun.flag_files),
        fail_cgroup_v1=await flag_files.fail_cgroup_v1(system),
        encrypts_secrets=await flag_files.encrypts_secrets(system),
        wrong_label=await wrong_label(system, paths.BINARY) if begun.binary is not None else "",
    )


def _own_variables(unit: Optional[Unit]) -> Dict[str, str]:
    """Return what the environment file says that the install script and this program write; others are vetoed."""
    own = paths.environment_file(unit.fact.name) if unit is not None else ""
    found = [environment(item.text) for item in (unit.environment if unit is not None else ()) if item.fact.path == own]
    return found[0] if found else {}


def _role(unit: Optional[Unit]) -> Role:
    if unit is None or (not unit.texts and not unit.fact.main_pid):
        return None
    return "agent" if unit.role == "agent" else "server"


async def _version(system: Reading, binary: Optional[FileFact], known: Known) -> str:
    """Ask the binary once; for one that a record knows by its digest, the record says it."""
    if binary is None:
        return ""
    if known.version and known.binary == binary.sha256:
        return known.version
    done = await system.ask("k3s-version", paths.BINARY)
    return parse_version(done.stdout) if done.returncode == 0 else ""


def parse_version(text: str) -> str:
    """PURE: read `k3s version v1.34.4+k3s1 (e060c0b1)`."""
    match = re.search(r"(?m)^k3s version (\S+)", text)
    return match.group(1) if match else ""


async def _links(system: Reading) -> Dict[str, str]:
    """Return where the commands beside k3s lead; one that PATH has elsewhere counts as there, as in install.sh."""
    found: Dict[str, str] = {}
    for name in paths.LINKS:
        for folder in (paths.BINARY_DIRECTORY, *_PATH):
            there = await system.stat(f"{folder}/{name}")
            if there is not None:
                own = folder == paths.BINARY_DIRECTORY and there.kind == "link"
                found[f"{paths.BINARY_DIRECTORY}/{name}"] = there.link if own else f"{folder}/{name}"
                break
    return found


async def _scripts(system: Reading) -> Tuple[FileFact, ...]:
    wanted = (paths.KILLALL, *(paths.uninstall_script(name) for name in K3S_UNITS))
    found = [await read_text(system, path, first_lines) for path in wanted]
    return tuple(item.fact for item in found if item is not None)


async def _images(system: Reading, known: Known) -> Tuple[FileFact, ...]:
    names = await system.list_directory(paths.IMAGES)
    found = [await large_file(system, f"{paths.IMAGES}/{name}", known) for name in names]
    return tuple(item for item in found if item is not None)


async def _staged(system: Reading) -> Tuple[FileFact, ...]:
    """List what was staged. Its folder's name is its digest: it got its name only after that was verified."""
    found = []
    for digest in await system.list_directory(paths.STAGED):
        for name in await system.list_directory(f"{paths.STAGED}/{digest}"):
            there = await system.stat(paths.staged(digest, name))
            if there is not None and there.kind == "file" and not name.endswith(".partial"):
                found.append(FileFact(paths.staged(digest, name), digest, there.mode, there.uid, there.changed))
    return tuple(found)


async def _datastore(system: Reading, role: Role, unit: Optional[Unit], configuration: Configuration) -> DatastoreKind:
    """Return the kind on disk; an external one is known by the configuration of a server that was started once."""
    if await system.list_directory(f"{paths.DATA}/server/db/etcd"):
        return "etcd"
    if await exists(system, f"{paths.DATA}/server/db/state.db"):
        return "sqlite"
    variables: Dict[str, str] = {}
    for file in unit.environment if unit is not None else ():
        variables.update(environment(file.text))
    external = configuration.first("datastore-endpoint") or variables.get("K3S_DATASTORE_ENDPOINT")
    return "external" if role == "server" and external and await exists(system, _SERVER_CA) else None


async def _ca_hash(system: Reading, role: Role) -> str:
    """Return the hash of the cluster's CA, as tokens carry it."""
    for path in (_AGENT_CA,) if role == "agent" else (_SERVER_CA, _AGENT_CA):
        data = await system.read(path)
        if data:
            return token_ca_hash(data)
    return ""


async def node_name(system: Reading, unit: Optional[Unit], configuration: Configuration, *, started: bool) -> str:
    """Return the Node's name: that of the kubelet's certificate, else what K3s was told, '' before a first start."""
    certificate = await system.read(_KUBELET_CERTIFICATE)
    found = common_name_of_node(certificate) if certificate else ""
    if found or not started:
        return found
    told = configuration.first("node-name")
    for file in unit.environment if unit is not None else ():
        told = told or environment(file.text).get("K3S_NODE_NAME", "")
    return told.lower()


def common_name_of_node(pem: bytes) -> str:
    """PURE: return NAME of the subject `system:node:NAME` in a PEM certificate, '' if there is none.

    The name stands in the DER as a string with its length before it; nothing else in such a certificate looks so.
    """
    block = re.search(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", pem, re.DOTALL)
    try:
        der = base64.b64decode(block.group(1)) if block else b""
    except binascii.Error:
        return ""
    prefix = b"system:node:"
    at = der.find(prefix)
    if at < 2:
        return ""
    length = der[at - 1]
    return der[at + len(prefix) : at + length].decode(errors="replace") if length > len(prefix) else ""


def _installed_by(unit: Optional[Unit], binary: Optional[FileFact], scripts: Sequence[FileFact]) -> str:
    if unit is not None and unit.texts:
        if unit.fact.fragment is not None and unit.fact.fragment.schema:
            return "productive-k3s"
        script = paths.uninstall_script(unit.fact.name)
        foreign = [item for item in scripts if item.path == script and not item.schema]
        return "install-script" if foreign else "unknown"
    return "unknown" if binary is not None else ""


async def _leftovers(system: Reading) -> Tuple[str, ...]:
    found = [path for path in _ONLY_OF_K3S if await _holds_more(system, path)]
    for name in K3S_UNITS:
        path = paths.environment_file(name)
        if await exists(system, path) and not await exists(system, paths.unit_file(name)):
            found.append(path)
    return tuple(found)


async def _holds_more(system: Reading, path: str) -> bool:
    """Whether a folder has more in it than what is put there before a first start."""
    for name in await system.list_directory(path):
        inner = f"{path}/{name}"
        if name not in _PLACED.get(path, ()) or (inner in _PLACED and await _holds_more(system, inner)):
            return True
    return False
