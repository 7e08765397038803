"""PURE: what a request may say, whatever host it is for. All mistakes are reported at once."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Iterator, Mapping, Tuple
from urllib.parse import urlsplit

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.failure import Failure
from productive_k3s.contract.request import SCHEMA, Request
from productive_k3s.facts import masking
from productive_k3s.k3s import flags, paths, registries
from productive_k3s.k3s.flag_files import named_in
from productive_k3s.k3s.release import DEFAULT_VERSION

_VERSION = re.compile(r"^v(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.]+)?\+\S+\Z")
# RFC 1123 subdomain, which Kubernetes wants of a Node's name; K3s uses the first 63 letters of a label elsewhere.
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*\Z")
_LABEL_KEY = re.compile(r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?\Z")
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?\Z")
_TAINT = re.compile(r"^[^=:\s]+(=[^=:\s]*)?:(NoSchedule|PreferNoSchedule|NoExecute)\Z")
# A kubelet that sets such a label on itself is refused, and K3s does not start (docs.k3s.io, advanced).
_KUBERNETES_PREFIXES = ("kubernetes.io", "k8s.io")
_KUBELET_MAY = ("node.kubernetes.io", "kubelet.kubernetes.io")
_HOST_NAME = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?\Z")
_FILE = re.compile(r"^[A-Za-z0-9][\w.-]{0,126}\Z")
_SHA256 = re.compile(r"^[0-9a-f]{64}\Z")
# The unit's environment file holds no K3s flag: config.yaml is the one place for them.
_ENVIRONMENT = re.compile(r"^(CONTAINERD_\w+|(HTTP|HTTPS|NO)_PROXY|(http|https|no)_proxy)\Z")

LONGEST_WATCH = 600.0


def mistakes(request: Request) -> Tuple[Failure, ...]:
    """Return everything that is wrong with the request itself."""
    rules = (_shape, _surroundings, _network, _node, _flags, _files)
    return tuple(failure for rule in rules for failure in rule(request))


def version_notes(request: Request) -> Tuple[str, ...]:
    """Return remarks on the version: that its flags are not known here, that upstream does not mend it any more."""
    return tuple(note for note in (unknown_version_note(request), past_end_note(request.version)) if note)


def past_end_note(version: str) -> str:
    """Return a remark where upstream mends the version's Kubernetes no more, '' else (kubernetes.io/releases)."""
    minor, supported = flags.minor_of(version), flags.table().supported
    if minor is None or minor >= supported[0]:
        return ""
    newest = f"1.{supported[-1]} is the newest known here"
    return f"Kubernetes 1.{minor} has reached its end of life and gets no more fixes; {newest}"


def unknown_version_note(request: Request) -> str:
    """Return a remark where the version is newer than the flag table, '' else: then unknown flags are let through."""
    newest = flags.table().newest
    if _number(request.version) > _number(newest):
        return f"{request.version} is newer than the flags known here ({newest}): flags are not checked"
    return ""


def _number(version: str) -> Tuple[int, ...]:
    match = _VERSION.match(version)
    return tuple(int(match.group(index)) for index in (1, 2)) if match else ()


def _wrong(code: str, what: str, evidence: str, remedy: str) -> Failure:
    return Failure(code=f"request.{code}", what=what, evidence=evidence, remedy=remedy, exit_code=ExitCode.BAD_INPUT)


def _shape(request: Request) -> Iterator[Failure]:
    if request.schema != SCHEMA:
        found = f"{request.schema}, known is {SCHEMA}"
        yield _wrong("schema", "the request has another schema", found, "use one version of both programs")
    if not _VERSION.match(request.version):
        yield _wrong("version", "the version is not exact", request.version, f"write it as {DEFAULT_VERSION}")
    if request.watch is not None and not 0 <= request.watch.seconds <= LONGEST_WATCH:
        allowed = f"0 to {LONGEST_WATCH:.0f} seconds"
        yield _wrong("watch", "a restart cannot be watched for that long", f"{request.watch.seconds}", allowed)
    artifacts = (*((request.binary,) if request.binary else ()), *request.images)
    for artifact in artifacts:
        if not _SHA256.match(artifact.sha256):
            yield _wrong("checksum", f"the checksum of {artifact.name} is not sha256", artifact.sha256, "64 hex digits")
        if "/" in artifact.name or artifact.name.startswith("."):
            yield _wrong("artifact", "an artifact's name is not a file name", artifact.name, "use the asset's name")


def _surroundings(request: Request) -> Iterator[Failure]:
    """What K3s finds around it: variables, registries, names."""
    for key in (*request.environment, *request.secrets.environment):
        if not _ENVIRONMENT.match(key):
            yield _wrong("environment", f"{key} is not for the environment file", key, "proxies and CONTAINERD_*")
    for key, secret in request.secrets.environment.items():
        if masking.has_masked_user(secret.unmask()):
            shown = f"{masking.MASK} stands for a user and password that are not shown"
            yield _wrong("environment", f"{key} has no password: {shown}", key, f"set {key} to the value on the host")
    for wrong in registries.mistakes(request.registries):
        yield _wrong("registries", wrong.what, "/".join(wrong.path), f"expected {wrong.expected}")
    keys = {key for added in request.secrets.registries.values() for key in added}
    if request.secrets.registries and request.registries is None:
        yield _wrong("registries", "there are passwords of registries, and no registries", "", "name the registries")
    for key in sorted(keys - set(registries.SECRET_KEYS)):
        expected = f"one of {', '.join(registries.SECRET_KEYS)}"
        yield _wrong("registries", f"'{key}' is not a secret of a registry", key, expected)
    for entry in request.hosts_file:
        if not _is_ip(entry.address):
            yield _wrong("hosts-file", "names can only point to an IP address", entry.address, "write it as 10.0.0.11")
        if not entry.names or not all(_HOST_NAME.match(name) for name in entry.names):
            yield _wrong(
                "hosts-file", "a name for /etc/hosts is not valid", " ".join(entry.names), "letters, digits, -, ."
            )


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _network(request: Request) -> Iterator[Failure]:
    for address in (request.node_ip or "").split(",") if request.node_ip else ():
        try:
            ipaddress.ip_address(address.strip())
        except ValueError:
            yield _wrong("node-ip", "node-ip is not an IP address", address, "write it as 10.0.0.11")
    if "node-external-ip" in request.config and "advertise-address" not in request.config and request.role == "server":
        yield _wrong(
            "external-ip",
            "node-external-ip without advertise-address makes the API server advertise the external one",
            str(request.config["node-external-ip"]),
            "set advertise-address to the private address too",
        )
    if request.join is not None:
        parts = urlsplit(request.join.server)
        if parts.scheme != "https" or not parts.hostname:
            yield _wrong("server", "the server is not an https URL", request.join.server, "https://10.0.0.11:6443")


def _node(request: Request) -> Iterator[Failure]:
    name = request.node_name
    if name is not None and (not _NAME.match(name) or len(name) > 253):
        yield _wrong("node-name", "the node's name is not valid", name, "lower-case letters, digits, - and . only")
    for key, value in request.labels.items():
        prefix = key.partition("/")[0] if "/" in key else ""
        if not _LABEL_KEY.match(key) or not _LABEL_VALUE.match(value):
            yield _wrong("label", "a label is not valid", f"{key}={value}", "see Kubernetes' syntax of labels")
        elif _is_reserved(prefix):
            yield _wrong("label", f"a kubelet may not set {key} on itself", f"{key}={value}", "use another prefix")
    for taint in request.taints:
        if not is_taint(taint):
            yield _wrong("taint", "a taint is not valid", taint, "key=value:NoSchedule (PreferNoSchedule, NoExecute)")


def is_taint(text: str) -> bool:
    """Whether this is a taint: `key=value:Effect`, the value may be left out."""
    return bool(_TAINT.match(text))


def _is_reserved(prefix: str) -> bool:
    if any(prefix == allowed or prefix.endswith(f".{allowed}") for allowed in _KUBELET_MAY):
        return False
    return any(prefix == item or prefix.endswith(f".{item}") for item in _KUBERNETES_PREFIXES)


def _flags(request: Request) -> Iterator[Failure]:
    lenient = bool(unknown_version_note(request))
    for failure in flags.check(request.role, request.config, request.version):
        if not (lenient and failure.code == "request.unknown-flag"):
            yield failure


def _files(request: Request) -> Iterator[Failure]:
    """Files that flags point to: a flag that names one that is not given leaves K3s unable to start."""
    for name in request.files:
        if not _FILE.match(name):
            expected = "a plain name such as audit.yaml"
            yield _wrong("file", f"'{name}' is not the name of a file in {paths.FILES}", name, expected)
    named = {path for text in (*_texts(request.config), *request.files.values()) for path in named_in(text)}
    for path in sorted(named - {paths.file_for_flags(name) for name in request.files}):
        name = path.rpartition("/")[2]
        yield _wrong("file", f"a flag names {path}, which is not among the files of the request", name, "add the file")


def _texts(config: Mapping[str, Any]) -> Iterator[str]:
    for value in config.values():
        yield from map(str, value if isinstance(value, (list, tuple)) else (value,))
