"""`pk3s support`: one file for whoever shall help, without secrets. It is made whatever is broken."""

from __future__ import annotations

import asyncio
import io
import platform
import secrets
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from productive_k3s import __version__
from productive_k3s.contract.codec import encode
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.redaction import redact
from productive_k3s_infra._files import explained, new_file
from productive_k3s_infra.errors import BadInput, Pk3sError
from productive_k3s_infra.hosts.fleet.gathering import failed, gather
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.inventory.observed import Observed
from productive_k3s_infra.operations import support_files
from productive_k3s_infra.operations.observe import observe
from productive_k3s_infra.operations.plan import preflight
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.providers.protocol import Survey
from productive_k3s_infra.workspace.directory import open_workspace
from productive_k3s_infra.workspace.journal import list_journals

AREA = "support"
_SUFFIX = ".tar.gz"
_JOURNALS = 5
_LOG_LINES = 2000
_LOG_SECONDS = 60.0
_NEVER = "kubeconfig, private keys, known_hosts, join tokens, OpenTofu's state"


@dataclass(frozen=True)
class Supported:
    """The bundle: its path, the names in it with what they are, and what is missing in it, with the reason."""

    path: Path
    files: Mapping[str, str]
    missing: tuple[str, ...]


@dataclass
class _Collection:
    """What was collected so far: name to text and to what it is."""

    secrets: frozenset[str]
    texts: dict[str, str] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def add(self, name: str, text: str, about: str) -> None:
        """Add a text whose secrets were taken out."""
        self.texts[name], self.about[name] = text, about

    def add_document(self, name: str, value: Any, about: str) -> None:
        """Add a value as JSON."""
        self.add(name, support_files.document(value, self.secrets), about)

    def lack(self, what: str, error: Pk3sError) -> None:
        """Note what could not be had."""
        self.missing.append(redact(f"{what}: {error.what} [{error.code}] {error.evidence}".strip(), self.secrets))


async def make_support(session: Session, environment: Mapping[str, str], output: Path | None) -> Supported:
    """Collect what says how the cluster is, and write it as one file that only this user can read.

    A host that does not answer, a provider or a release that cannot be asked is noted in MANIFEST. Changes nothing.
    """
    path = _place(session, output)
    text = session.workspace.cluster_file.read_text(encoding="utf-8")
    found = _Collection(support_files.secrets_of(text, environment))
    _add_files(session, found, text)
    try:
        survey = await session.provider.survey()
    except Pk3sError as error:
        found.lack("all hosts, as the provider cannot be asked", error)
    else:
        inventory = inventory_of(session, survey)
        async with fleet_of(session, inventory) as fleet:
            await add_hosts(session, survey, inventory, fleet, found)
    manifest = _manifest(session.spec.name, found)
    with explained(path, AREA):
        _write(path, f"{session.spec.name}-support", {"MANIFEST": manifest, **found.texts})
    return Supported(path, dict(sorted(found.about.items())), tuple(found.missing))


def _place(session: Session, output: Path | None) -> Path:
    if output is None:
        open_workspace(session.workspace.cluster_file, session.spec.name)
        return session.workspace.path / f"support{_SUFFIX}"
    if not output.name.endswith(_SUFFIX):
        raise BadInput(
            "a bundle is a compressed archive",
            where=str(output),
            evidence=f"its name does not end with {_SUFFIX}",
            remedy=f"-o {output.name}{_SUFFIX}; a file of that name is replaced",
            code="support.no-archive",
        )
    return output


def _add_files(session: Session, found: _Collection, text: str) -> None:
    try:
        found.add(
            "cluster.yaml", support_files.masked_cluster_file(text), "cluster file; variables as they are written"
        )
    except yaml.YAMLError as error:
        found.missing.append(f"cluster.yaml: it cannot be read, so its secrets cannot be told apart ({error})")
    lock = session.workspace.lock_file
    if lock.exists():
        found.add("cluster.lock", redact(lock.read_text(encoding="utf-8")), "the recorded cluster")
    for number, journal in enumerate(reversed(list_journals(session.workspace)[-_JOURNALS:]), 1):
        lines = journal.read_text(encoding="utf-8", errors="replace")
        found.add(f"journal/{number}.jsonl", support_files.journal(lines, found.secrets), f"journal {journal.name}")


async def add_hosts(session: Session, survey: Survey, inventory: Inventory, fleet: Fleet, found: _Collection) -> None:
    """Add plan, preflight, and of every host that answers its facts and logs."""
    try:
        seen = await observe(session, survey, inventory, fleet)
        plan = plan_stages(seen.situation)
        found.add_document("plan.json", encode(plan), "what pk3s plan says")
        found.add_document("preflight.json", preflight(session, seen, plan).document(), "what the preflight finds")
        observed = seen.observed
    except Pk3sError as error:
        found.lack("plan and preflight", error)
        observed = await gather(inventory, fleet)
    _add_facts(observed, found)
    names = sorted(observed.facts)
    for name, logs in zip(names, await asyncio.gather(*(_logs(fleet, name) for name in names)), strict=True):
        if isinstance(logs, Pk3sError):
            found.lack(f"logs of {name}", logs)
            continue
        for unit, text in logs.items():
            found.add(f"hosts/{name}/{unit}.log", redact(text, found.secrets), f"the last lines of {unit}")
    absent = [host.name for host in inventory.hosts if host.assumed]
    found.missing.extend(f"hosts/{name}: its machine does not exist" for name in absent)


def _add_facts(observed: Observed, found: _Collection) -> None:
    versions: dict[str, Any] = {
        "pk3s": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "hosts": {name: _versions(facts) for name, facts in sorted(observed.facts.items())},
    }
    found.add_document("versions.json", versions, "versions here and on the hosts")
    salt = secrets.token_hex(16)
    for name, facts in sorted(observed.facts.items()):
        said = support_files.salted(encode(facts), salt)
        found.add_document(f"hosts/{name}/facts.json", said, "its facts; digests are comparable in this bundle only")
    for name, error in sorted(observed.unreachable.items()):
        found.lack(f"hosts/{name}", error)


def _versions(facts: Facts) -> dict[str, str]:
    host, k3s = facts.host, facts.k3s
    said = {"os": host.os.pretty_name, "kernel": host.os.kernel, "arch": host.os.arch, "python": host.python}
    return {**said, "k3s": k3s.binary_version, "installed by": k3s.installed_by, "program": facts.program}


async def _logs(fleet: Fleet, name: str) -> dict[str, str] | Pk3sError:
    try:
        host = await fleet.session(name)
        result = await host.call("logs", arguments=("--lines", str(_LOG_LINES)), deadline_seconds=_LOG_SECONDS)
    except Pk3sError as error:
        return error
    if result.outcome != "done":
        return failed(name, result)
    return {str(unit): str(text) for unit, text in (result.data or {}).items()}


def _manifest(cluster: str, found: _Collection) -> str:
    width = max((len(name) for name in found.about), default=0)
    lines = [
        f"Support bundle of the cluster {cluster}",
        f"made {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC by pk3s {__version__}",
        "",
        "Inside:",
        *(f"  {name.ljust(width)}  {about}" for name, about in sorted(found.about.items())),
        "",
        f"Never inside: {_NEVER}.",
        "Secrets were taken out on the hosts and here: [redacted] and *** stand for them.",
        "Names, addresses and labels are inside: read it before you give it away.",
    ]
    if found.missing:
        lines += ["", "Missing:", *(f"  {item}" for item in found.missing)]
    return "\n".join(lines) + "\n"


def _write(path: Path, folder: str, texts: Mapping[str, str]) -> None:
    """Write the archive: sorted names below one folder, owned by nobody in particular."""
    with new_file(path, 0o600) as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in sorted(texts):
            data = texts[name].encode("utf-8", "backslashreplace")
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
