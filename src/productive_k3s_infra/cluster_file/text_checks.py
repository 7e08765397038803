"""PURE: what a single value of the cluster file may look like. Each check returns what it holds against the value."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from contextlib import suppress
from urllib.parse import urlsplit

from productive_k3s.contract.request import Request
from productive_k3s.k3s.registries import is_http_url
from productive_k3s.k3s.release import DEFAULT_VERSION
from productive_k3s.plan import request_rules
from productive_k3s.plan.batches import is_batch_size
from productive_k3s_infra.cluster_file.mistake import Objection, quoted

# Node names, directories and the machines' names are made of it; a hostname's label has 63 letters.
LONGEST_CLUSTER_NAME = 40
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_HOST_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*\$?")
_KEY_TYPE = re.compile(
    r"ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
)
_SIZE = re.compile(r"[1-9][0-9]{0,6}[MG]")
_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_WORD = re.compile(r"[a-z][a-z0-9_]*")
_JUMP = re.compile(r"(?:(?P<user>[^@]*)@)?(?P<address>\[[^\]]*\]|[^:@\[\]]*)(?::(?P<port>.*))?")


def cluster_name(name: str) -> Objection | None:
    """Return what is wrong with a cluster's name."""
    if _LABEL.fullmatch(name) and len(name) <= LONGEST_CLUSTER_NAME:
        return None
    expected = f"lower-case letters, digits and -, at most {LONGEST_CLUSTER_NAME}"
    return Objection("file.cluster-name", f"the cluster's name {quoted(name)} is not valid", expected)


def version(text: str) -> Objection | None:
    """Return what is wrong with a version of K3s."""
    if _is_exact(text):
        return None
    # An image's tag has - for +, and many leave out the v.
    meant = f"v{text.removeprefix('v').replace('-k3s', '+k3s')}"
    remedy = f"did you mean {meant}?" if _is_exact(meant) else "pk3s init resolves a channel into one"
    return Objection(
        "request.version", f"the version {quoted(text)} is not exact", f"one like {DEFAULT_VERSION}", remedy
    )


def _is_exact(text: str) -> bool:
    return not any(item.code == "request.version" for item in request_rules.mistakes(Request("server", text)))


def address(text: str) -> Objection | None:
    """Return what is wrong with an address: an IP address or a hostname is right."""
    expected = "an IP address or a hostname"
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        if _is_hostname(text):
            return None
        return Objection("file.address", f"{quoted(text)} is not an address", expected)
    if ip.is_unspecified or ip.is_multicast or "%" in text:
        return Objection("file.address", f"no host can be reached at {quoted(text)}", expected)
    return None


def _is_hostname(text: str) -> bool:
    labels = text.removesuffix(".").split(".")
    # Four numbers of which one is too big are an address gone wrong, not a name (RFC 1123, 2.1).
    return len(text) <= 253 and all(_HOST_LABEL.fullmatch(item) for item in labels) and not labels[-1].isdigit()


def login(text: str) -> Objection | None:
    """Return what is wrong with a user's name."""
    return None if _LOGIN.fullmatch(text) else Objection("file.user", f"{quoted(text)} is not a user name")


def host_key(text: str) -> Objection | None:
    """Return what is wrong with a public host key in the form of known_hosts, without the host."""
    parts = text.split()
    expected = "one like ssh-ed25519 AAAAC3Nz..."
    if not parts or not _KEY_TYPE.fullmatch(parts[0]):
        remedy = "leave out the host name in front of it" if any(map(_KEY_TYPE.fullmatch, parts)) else ""
        return Objection("file.host-key", "the host key does not begin with a known type", expected, remedy)
    try:
        blob = base64.b64decode(parts[1] if len(parts) > 1 else "", validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    name = parts[0].encode()
    # RFC 4253, 6.6: the key begins with its type's name, preceded by its length.
    head = len(name).to_bytes(4, "big") + name
    if blob.startswith(head) and len(blob) >= len(head) + 32:
        return None
    return Objection("file.host-key", f"the text behind {parts[0]} is not a valid key", expected, "copy the whole line")


def jump_parts(text: str) -> dict[str, str | int] | Objection:
    """Return the parts of `user@host:port`; user and port may be missing, an IPv6 address stands in brackets."""
    match = _JUMP.fullmatch(text)
    wrong = Objection("file.jump", f"{quoted(text)} is not a jump host", "user@host:port")
    if match is None:
        return wrong
    user, place, port = match.group("user", "address", "port")
    parts: dict[str, str | int] = {"address": place.strip("[]")}
    if user is not None:
        parts["user"] = user
    if port is not None:
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
            return wrong
        parts["port"] = int(port)
    if address(str(parts["address"])) or (user is not None and login(user)):
        return wrong
    return parts


def node_name(name: str) -> Objection | None:
    """Return what is wrong with a node's name; the host's own rule is asked."""
    return _asked(Request("agent", DEFAULT_VERSION, node_name=name), quoted(name))


def label(key: str, value: str) -> Objection | None:
    """Return what is wrong with a label; the host's own rule is asked."""
    return _asked(Request("agent", DEFAULT_VERSION, labels={key: value}), quoted(f"{key}={value}"))


def taint(text: str) -> Objection | None:
    """Return what is wrong with a taint; the host's own rule is asked."""
    return _asked(Request("agent", DEFAULT_VERSION, taints=(text,)), quoted(text))


def _asked(request: Request, shown: str) -> Objection | None:
    for failure in request_rules.mistakes(request):
        return Objection(failure.code, f"{failure.what}: {shown}", remedy=failure.remedy)
    return None


def proxy(text: str) -> Objection | None:
    """Return what is wrong with the URL of a proxy. It is not shown: it may hold a password."""
    if is_http_url(text) and urlsplit(text).path in {"", "/"} and not urlsplit(text).query:
        return None
    return Objection("file.proxy", "this is not the URL of a proxy", "one like http://proxy.example:3128")


def no_proxy(text: str) -> Objection | None:
    """Return what is wrong with an entry of NO_PROXY (golang.org/x/net/http/httpproxy, which K3s uses)."""
    with suppress(ValueError):
        ipaddress.ip_network(text, strict=False)
        return None
    if text == "*" or _is_hostname(text.removeprefix("*").removeprefix(".").partition(":")[0]):
        return None
    return Objection(
        "file.no-proxy", f"{quoted(text)} is not a target to reach directly", "an address, a network, a domain"
    )


def size(text: str) -> Objection | None:
    """Return what is wrong with a size of memory or disk."""
    if _SIZE.fullmatch(text):
        return None
    return Objection("file.size", f"{quoted(text)} is not a size", "a number with M or G, as 4G")


def instance_type(text: str) -> Objection | None:
    """Return what is wrong with the name of an instance type; whether it exists is for AWS to say."""
    if _INSTANCE_TYPE.fullmatch(text):
        return None
    return Objection("file.instance-type", f"{quoted(text)} is not an instance type", "one like t3a.xlarge")


def cidr(text: str) -> Objection | None:
    """Return what is wrong with a network."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        remedy = ""
        with suppress(ValueError):
            remedy = f"did you mean {ipaddress.ip_network(text, strict=False)}?"
        return Objection("file.network", f"{quoted(text)} is not a network", "one like 203.0.113.0/24", remedy)
    if "/" not in text:
        whole = ipaddress.ip_network(text)
        return Objection("file.network", f"{quoted(text)} is one address", "a network", f"write {whole}")
    return None


def region(text: str) -> Objection | None:
    """Return what is wrong with the name of a region."""
    if _REGION.fullmatch(text):
        return None
    return Objection("file.region", f"{quoted(text)} is not a region", "one like eu-central-1")


def image(text: str) -> Objection | None:
    """Return what is wrong with the name of an image to launch: a release, an alias, a remote's image or a URL."""
    if _IMAGE.fullmatch(text):
        return None
    return Objection("file.image", f"{quoted(text)} is not an image", "one like 24.04")


def word(text: str) -> Objection | None:
    """Return what is wrong with a word that OpenTofu takes as a name."""
    if _WORD.fullmatch(text):
        return None
    return Objection("file.word", f"{quoted(text)} is not a name", "lower-case letters, digits and _")


def file_name(name: str) -> Objection | None:
    """Return what is wrong with the name of a file in a folder of the hosts."""
    if _FILE_NAME.fullmatch(name):
        return None
    expected = "letters, digits, - . and _, at most 100, a letter or a digit first"
    return Objection("file.file-name", f"{quoted(name)} is not the name of a file on the hosts", expected)


def batch(value: object) -> Objection | None:
    """Return what is wrong with a number of nodes at a time: a number from 1 on, or a part from 1% to 100%."""
    if is_batch_size(value):
        return None
    return Objection("file.batch", f"{quoted(value)} is not a number of nodes at a time", "a number from 1 on, or 25%")
