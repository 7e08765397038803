"""Files that flags of K3s point to, and what two of K3s' own files say."""

from __future__ import annotations

import json
from typing import Dict, Mapping, Optional, Sequence, Tuple

from productive_k3s.contract.redaction import redact
from productive_k3s.doors.system import Reading
from productive_k3s.facts.files import TextFile, read_text
from productive_k3s.k3s import config_file, flag_files, paths, yaml_text


async def read_flag_files(system: Reading) -> Tuple[TextFile, ...]:
    """Return the files below /etc/rancher/k3s/files, and the templates of containerd."""
    names = await system.list_directory(paths.FILES)
    wanted = [*(f"{paths.FILES}/{name}" for name in names), *map(paths.file_for_flags, paths.CONTAINERD_TEMPLATES)]
    found = [await read_text(system, path, redact) for path in wanted]
    return tuple(item for item in found if item is not None)


def files_digest(files: Sequence[TextFile], values: Mapping[str, Sequence[str]]) -> str:
    """PURE: digest the files that a start reads, '' for none."""
    digests: Dict[str, str] = {item.fact.path: item.fact.sha256 for item in files}
    read = flag_files.read_at_start({item.fact.path: item.text for item in files}, values)
    return config_file.document_digest([[path, digests[path]] for path in sorted(read)]) if read else ""


async def fail_cgroup_v1(system: Reading) -> Optional[bool]:
    """Return `failCgroupV1` of the kubelet's drop-ins, of which the last one counts; None where none says it.

    K3s gives its kubelet that folder (docs.k3s.io, advanced; KEP-5573).
    """
    said: Optional[bool] = None
    for name in await system.list_directory(paths.KUBELET_DROP_INS):
        if not name.endswith(".conf"):
            continue
        text = (await system.read(f"{paths.KUBELET_DROP_INS}/{name}") or b"").decode(errors="replace")
        value = yaml_text.parse(text).value
        found = value.get("failCgroupV1") if isinstance(value, dict) else None
        said = found if isinstance(found, bool) else said
    return said


async def encrypts_secrets(system: Reading) -> Optional[bool]:
    """Return whether K3s encrypts new secrets in the datastore: whether its first provider does; None if unknown.

    (kubernetes.io, encrypt-data: the first provider writes.) The file holds keys, of which nothing gets out of here.
    """
    data = await system.read(paths.ENCRYPTION_CONFIG)
    if data is None:
        return None
    try:
        (first, *_) = json.loads(data)["resources"][0]["providers"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return "identity" not in first
