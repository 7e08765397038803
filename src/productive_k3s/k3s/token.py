"""PURE: K3s' join tokens taken apart, and the hash of a cluster's CA that they carry (docs.k3s.io, cli/token)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Iterator, List, Optional, Sequence, Tuple

from productive_k3s.contract.secret import Secret, value_digest

# What people are shown of a hash, and what is enough to mean it.
SHOWN_LENGTH = 8
_SECURE = re.compile(r"K10(?P<hash>[0-9a-f]{64})::(?:(?P<user>[^:]*):)?(?P<password>.+)", re.DOTALL)
# What `k3s token create` makes, as kubeadm does: an id and a secret, and no user.
_BOOTSTRAP = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Token:
    """A join token. `ca_hash` is '' in the short form, `user` '' there and in bootstrap tokens."""

    ca_hash: str
    user: str
    password: Secret

    @property
    def is_secure(self) -> bool:
        """Whether it says which cluster it belongs to: `K10<CA hash>::<user>:<password>`."""
        return bool(self.ca_hash)

    @property
    def is_bootstrap(self) -> bool:
        """Whether it is one of those that end by themselves, for agents alone: `id.secret` (cli/token)."""
        return not self.user and _BOOTSTRAP.fullmatch(self.password.unmask()) is not None


def parse_token(text: str) -> Token:
    """Return a token's parts; what does not have the secure form is a password alone."""
    found = _SECURE.fullmatch(text.strip())
    if found is None:
        return Token("", "", Secret(text.strip()))
    return Token(found.group("hash"), found.group("user") or "", Secret(found.group("password")))


def password_digest(text: str) -> str:
    """Return the digest of a token's password: the same in its secure form and in the short one."""
    return value_digest(parse_token(text).password.unmask())


def authorization(token: Token, user: str) -> Secret:
    """Return the header Authorization (RFC 9110, 11.6.2) by which a node shows its token to a server.

    It asks as `user`, which is its role, whatever the token says; a bootstrap token has no user (k3s-io/k3s,
    pkg/clientaccess/token.go, WithUser and get).
    """
    if token.is_bootstrap:
        return Secret(f"Bearer {token.password.unmask()}")
    pair = f"{user}:{token.password.unmask()}".encode()
    return Secret(f"Basic {base64.b64encode(pair).decode('ascii')}")


def proven_ca(pem: bytes) -> bytes:
    """Return, in PEM, the certificates that a hash equal to `ca_hash` proves; b"" if none can be read.

    Of a bundle that is the root alone: whoever sends one can put anything beside it.
    """
    try:
        found = [base64.b64decode(match) for match in _CERTIFICATE.findall(pem)]
    except binascii.Error:
        return b""
    root = _root_of_bundle(pem)
    return b"".join(map(_in_pem, found if root is None else (root,)))


def _in_pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def ca_hash(pem: bytes) -> str:
    """Return the hash that tokens carry of a CA file or of what `/cacerts` answers; '' of nothing.

    One certificate: the SHA-256 of the file as it is. A bundle (custom CAs, or after `k3s certificate rotate-ca`): of
    the root that its first certificate leads to, in DER, so that the hash stays while the root does; a bundle that
    leads to none is hashed as a file (k3s-io/k3s, pkg/clientaccess/token.go, hashCA).
    """
    if not pem:
        return ""
    root = _root_of_bundle(pem)
    return hashlib.sha256(pem if root is None else root).hexdigest()


@dataclass(frozen=True)
class _Certificate:
    der: bytes
    issuer: bytes
    subject: bytes
    key_id: bytes
    issuers_key_id: bytes

    @property
    def is_root(self) -> bool:
        """As K3s tells it: it names no other key than its own as the one that signed it."""
        return not self.issuers_key_id or self.issuers_key_id == self.key_id

    def may_be_signed_by(self, other: _Certificate) -> bool:
        keys_fit = not (self.issuers_key_id and other.key_id) or self.issuers_key_id == other.key_id
        return self.issuer == other.subject and keys_fit


def _root_of_bundle(pem: bytes) -> Optional[bytes]:
    try:
        found = [_parse(base64.b64decode(match)) for match in _CERTIFICATE.findall(pem)]
    except (binascii.Error, ValueError, IndexError):
        return None
    if len(found) < 2:
        return None
    first, others = found[0], found[1:]
    if any(other.der == first.der and other.is_root for other in others):
        return first.der
    return _lead(first, others, ())


def _lead(certificate: _Certificate, others: Sequence[_Certificate], way: Tuple[bytes, ...]) -> Optional[bytes]:
    """Return the root that a certificate leads to, roots at hand before intermediate ones."""
    signers = [other for other in others if certificate.may_be_signed_by(other)]
    root = next((signer for signer in signers if signer.is_root), None)
    if root is not None:
        return root.der
    for signer in signers:
        if signer.der not in way:
            found = _lead(signer, others, (*way, signer.der))
            if found is not None:
                return found
    return None


# Object identifiers of the extensions that name keys (RFC 5280, 4.2.1.1 and 4.2.1.2), as DER has them.
_SUBJECT_KEY_ID = bytes.fromhex("551d0e")
_AUTHORITY_KEY_ID = bytes.fromhex("551d23")
_SEQUENCE, _OCTETS, _OID = 0x30, 0x04, 0x06
_VERSION, _EXTENSIONS, _KEY_ID = 0xA0, 0xA3, 0x80


def _parse(der: bytes) -> _Certificate:
    """Read what a chain is built of (RFC 5280, 4.1); another shape is a ValueError or an IndexError."""
    (_, certificate), *_rest = _items(der)
    (_, body), *_rest = _items(certificate)
    fields = [(tag, value) for tag, value in _items(body) if tag != _VERSION]
    # serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, extensions
    issuer, subject = fields[2][1], fields[4][1]
    extensions = dict(_extensions(next((value for tag, value in fields if tag == _EXTENSIONS), b"")))
    own = extensions.get(_SUBJECT_KEY_ID, b"")
    named = extensions.get(_AUTHORITY_KEY_ID, b"")
    return _Certificate(
        der=der,
        issuer=issuer,
        subject=subject,
        key_id=next((value for tag, value in _items(own) if tag == _OCTETS), b""),
        issuers_key_id=next(
            (value for _, inner in _items(named) for tag, value in _items(inner) if tag == _KEY_ID), b""
        ),
    )


def _extensions(der: bytes) -> Iterator[Tuple[bytes, bytes]]:
    for _, listed in _items(der):
        for _, extension in _items(listed):
            parts = _items(extension)
            name = next((value for tag, value in parts if tag == _OID), b"")
            yield name, next((value for tag, value in parts if tag == _OCTETS), b"")


def _items(der: bytes) -> List[Tuple[int, bytes]]:
    """Return the elements that stand one after the other, each by its tag (X.690, 8.1)."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        if at + length > len(der):
            raise ValueError("an element is longer than the one that contains it")
        found.append((tag, der[at : at + length]))
        at += length
    return found
