"""PURE: names and end of X.509 certificates, from their PEM text.

The standard library has no public reader of a certificate that no connection brought along, and openssl is not on every
host. Only what the checks need is read (RFC 5280, sections 4.1 and 4.2.1.6); nothing is verified.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Iterator, List, Tuple

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _OBJECT_ID, _OCTETS = 0x30, 0x06, 0x04
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")
# Elements of a TBSCertificate after the optional version: serial, signature, issuer, validity.
_VALIDITY_INDEX = 3


@dataclass(frozen=True)
class Certificate:
    """A file of certificates: the names of its first one, and the earliest end of all, in Unix seconds."""

    path: str
    names: Tuple[str, ...] = ()
    not_after: float = 0.0
    error: str = ""


def read_certificate(path: str, data: bytes) -> Certificate:
    """Return what the file says; one that cannot be read is a Certificate with its error."""
    try:
        texts = _PEM.findall(data.decode("ascii"))
        if not texts:
            return Certificate(path, error="it contains no certificate")
        read = [_read(base64.b64decode(text)) for text in texts]
    except (ValueError, binascii.Error) as error:
        return Certificate(path, error=str(error) or type(error).__name__)
    return Certificate(path, read[0][0], min(end for _, end in read))


def _read(der: bytes) -> Tuple[Tuple[str, ...], float]:
    certificate = _only(der, _SEQUENCE)
    to_be_signed = _only(certificate, _SEQUENCE)
    elements = [item for item in _elements(to_be_signed) if item[0] != _VERSION]
    if len(elements) <= _VALIDITY_INDEX:
        raise ValueError("the certificate is cut off before its validity period")
    times = list(_elements(elements[_VALIDITY_INDEX][1]))
    if len(times) != 2:
        raise ValueError("the validity period is not a pair of times")
    names = [name for tag, value in elements if tag == _EXTENSIONS for name in _names(_only(value, _SEQUENCE))]
    return tuple(names), _time(*times[1])


def _elements(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """Yield tag and content of the DER elements that lie one after the other."""
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise ValueError("an element has no length")
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4 or at + size > len(data):
                raise ValueError("an element has no usable length")
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise ValueError("an element is longer than the one that contains it")
        yield tag, data[at : at + length]
        at += length


def _only(data: bytes, wanted: int) -> bytes:
    tag, content = next(_elements(data), (0, b""))
    if tag != wanted:
        raise ValueError(f"an element has tag {tag:#x} instead of {wanted:#x}")
    return content


def _time(tag: int, content: bytes) -> float:
    if tag not in (_UTC_TIME, _GENERALIZED_TIME):
        raise ValueError(f"a time has tag {tag:#x}")
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        # RFC 5280, 4.1.2.5.1: two-digit years from 50 on are of the last century.
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()


def _names(extensions: bytes) -> List[str]:
    for _, extension in _elements(extensions):
        parts = list(_elements(extension))
        if parts[:1] == [(_OBJECT_ID, _SUBJECT_ALT_NAME)] and parts[-1][0] == _OCTETS:
            return [_name(tag, value) for tag, value in _elements(_only(parts[-1][1], _SEQUENCE))]
    return []


def _name(tag: int, value: bytes) -> str:
    if tag == _DNS_NAME:
        return value.decode("ascii")
    return str(ipaddress.ip_address(value)) if tag == _IP_ADDRESS else f"(name of kind {tag:#x})"
