"""Tokens taken apart, and the CA hash as K3s computes it: of the file, or of a bundle's root."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from productive_k3s.contract.request import Join
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.doors.system import HttpResponse
from productive_k3s.k3s import paths
from productive_k3s.k3s.token import Token, ca_hash, parse_token
from productive_k3s.verbs import install
from static.contract_program.hosts import CA, agent
from static.contract_program.simulated import LiveMachine, Machine


class Authority:
    """A CA with its key; `signer` None signs itself. With `key_ids` it names its keys, as K3s' script makes them."""

    def __init__(self, name: str, signer: Authority | None = None, *, key_ids: bool = True) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by = signer or self
        now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(by.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + dt.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        if key_ids:
            own, theirs = self.key.public_key(), by.key.public_key()
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
            named = x509.AuthorityKeyIdentifier.from_issuer_public_key(theirs)
            builder = builder.add_extension(named, critical=False)
        self.certificate = builder.sign(by.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der_hash(self) -> str:
        return hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).hexdigest()


def file_hash(pem: bytes) -> str:
    return hashlib.sha256(pem).hexdigest()


ROOT = Authority("root")
MIDDLE = Authority("intermediate", ROOT)
SERVER = Authority("k3s-server-ca", MIDDLE)
OTHER = Authority("another root")


@pytest.mark.parametrize("key_ids", [True, False])
def test_one_certificate_is_hashed_as_the_file_that_it_is(key_ids: bool) -> None:
    pem = Authority("k3s-server-ca@1", key_ids=key_ids).pem
    assert ca_hash(pem) == file_hash(pem)
    assert ca_hash(b"") == ""


@pytest.mark.parametrize(
    "bundle",
    [
        (SERVER, MIDDLE, ROOT),
        (SERVER, ROOT, MIDDLE),
        (SERVER, OTHER, ROOT, MIDDLE),
    ],
)
def test_a_bundle_is_hashed_by_its_root(bundle: tuple[Authority, ...]) -> None:
    """So a CA that is renewed below the same root keeps its hash, and with it every token."""
    assert ca_hash(b"".join(item.pem for item in bundle)) == ROOT.der_hash
    renewed = Authority("k3s-server-ca", MIDDLE)
    assert ca_hash(b"".join(item.pem for item in (renewed, MIDDLE, ROOT))) == ROOT.der_hash


def test_a_rotated_ca_that_its_old_root_signed_leads_to_the_old_root() -> None:
    old = Authority("k3s-server-ca@1", key_ids=False)
    new = Authority("k3s-server-ca@2", old)
    assert ca_hash(new.pem + old.pem) == old.der_hash


@pytest.mark.parametrize("rest", [OTHER.pem, MIDDLE.pem])
def test_a_bundle_that_leads_to_no_root_is_hashed_as_a_file(rest: bytes) -> None:
    assert ca_hash(SERVER.pem + rest) == file_hash(SERVER.pem + rest)


def test_what_is_no_certificate_is_hashed_as_a_file() -> None:
    torn = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" * 2
    assert ca_hash(torn) == file_hash(torn)


def test_two_keys_of_one_name_are_told_apart() -> None:
    one, other = Authority("root"), Authority("root")
    server = Authority("k3s-server-ca", other)
    assert ca_hash(server.pem + one.pem + other.pem) == other.der_hash


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (f"K10{CA}::server:pass:word\n", (CA, "server", "pass:word")),
        (f"K10{CA}::abcdef.0123456789abcdef", (CA, "", "abcdef.0123456789abcdef")),
        ("short", ("", "", "short")),
        (f"K10{CA[:-1]}::server:x", ("", "", f"K10{CA[:-1]}::server:x")),
        ("", ("", "", "")),
    ],
)
def test_a_token_has_parts(text: str, parts: tuple[str, str, str]) -> None:
    found = parse_token(text)
    assert found == Token(parts[0], parts[1], Secret(parts[2]))
    assert found.is_secure is bool(parts[0])
    assert parts[2] not in repr(found) or not parts[2]


BUNDLE = b"".join(item.pem for item in (SERVER, MIDDLE, ROOT))


def test_a_server_with_a_bundle_is_known_by_its_root() -> None:
    machine = LiveMachine()
    machine.system.put({f"{paths.DATA}/server/tls/server-ca.crt": BUNDLE})
    assert machine.facts().k3s.ca_hash == ROOT.der_hash


@pytest.mark.parametrize(
    ("known", "outcome"),
    [(ROOT.der_hash, "interrupted"), (file_hash(BUNDLE), "refused"), (OTHER.der_hash, "refused")],
    ids=["root", "file", "another"],
)
def test_an_agent_joins_a_cluster_with_a_bundle_by_its_root(known: str, outcome: str) -> None:
    """Whoever passes the check of the CA is stopped before the first change."""
    machine = Machine()
    machine.system.pages["https://10.0.0.11:6443/cacerts"] = HttpResponse(200, BUNDLE)
    here = machine.host()
    host = Host(here.system, here.kube, here.emit, lambda: "enough")
    join = Join("https://10.0.0.11:6443", Secret(f"K10{known}::node:secret"))
    result = run_to_end(install.run(host, agent(join=join)))
    assert result.outcome == outcome
    assert [failure.code for failure in result.failures] == [
        "run.interrupted" if outcome == "interrupted" else "k3s.ca-mismatch"
    ]
