"""What is judged on one host: the service, what runs, the version, certificates, disks."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from productive_k3s.checks.certificates import Certificate, read_certificate
from productive_k3s.checks.host import config_words, judge_host, read_certificates
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.facts import Digests, Facts, FileSystem, Running
from productive_k3s.doors.host import run_to_end
from static.contract_program.hosts import VERSION, fresh, on_k3s, unit_fact

_NOW = 1_800_000_000.0
_DAY = 86400.0
_TLS = "/var/lib/rancher/k3s/server/tls"
_DIGESTS = Digests("1", "2", "3", "4", "5", "6", "7")


def pem(not_after: float, *names: str) -> bytes:
    """A certificate with an end and names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    end = dt.datetime.fromtimestamp(not_after, dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1 << 80)
        .not_valid_before(end - dt.timedelta(days=365))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names:
        alternatives: list[x509.GeneralName] = []
        for name in names:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                alternatives.append(x509.DNSName(name))
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def healthy(**unit: object) -> Facts:
    values = {"active_state": "active", "sub_state": "running", "enabled": True, **unit}
    return on_k3s(
        fresh(time=_NOW),
        role="server",
        units=(unit_fact("k3s", "", **values),),
        binary_version=VERSION,
        on_disk=_DIGESTS,
        running=Running("recorded", _DIGESTS),
        node_name="node-1",
    )


CERTIFICATES = (
    Certificate(f"{_TLS}/client-admin.crt", (), _NOW + 300 * _DAY),
    Certificate(f"{_TLS}/serving-kube-apiserver.crt", ("k3s.example", "10.0.0.11"), _NOW + 364 * _DAY),
)


def judged(
    facts: Facts, certificates: tuple[Certificate, ...] = CERTIFICATES, version: str = VERSION
) -> dict[str, CheckResult]:
    return {check.id: check for check in judge_host(facts, certificates, version)}


def outcome(check: CheckResult) -> str:
    return "" if check.passed else check.severity


def test_all_is_well_on_a_healthy_host() -> None:
    checks = judged(healthy())
    assert set(checks) == {
        "service.active",
        "service.restarts",
        "service.enabled",
        "k3s.running",
        "k3s.version",
        "certificate.days",
        "certificate.names",
        "disk.free",
    }
    assert all(check.passed for check in checks.values())
    assert {check.subject for check in checks.values()} == {"node-1", "node-1 /var/lib/rancher"}


@pytest.mark.parametrize(
    ("facts", "check", "severity", "said"),
    [
        (fresh(), "k3s.installed", "error", "not installed"),
        (healthy(active_state="activating", sub_state="auto-restart"), "service.active", "error", "auto-restart"),
        (healthy(restarts=3), "service.restarts", "warning", "3 times"),
        (healthy(enabled=False), "service.enabled", "error", "does not start at boot"),
        (on_k3s(healthy(), running=None), "k3s.running", "warning", "K3s is not running"),
        (on_k3s(healthy(), running=Running("unknown", None)), "k3s.running", "warning", "may not match"),
        (
            on_k3s(healthy(), running=Running("recorded", replace(_DIGESTS, config="old", unit="old"))),
            "k3s.running",
            "warning",
            "a different config, unit",
        ),
        (on_k3s(healthy(), binary_version="v1.33.0+k3s1"), "k3s.version", "error", "expected v1.34.4+k3s1"),
        (on_k3s(healthy(), config={"tls-san": ["k3s.example", "a.b"]}), "certificate.names", "warning", "lacks a.b"),
    ],
)
def test_what_is_wrong_is_said(facts: Facts, check: str, severity: str, said: str) -> None:
    found = judged(facts)[check]
    assert outcome(found) == severity
    assert said in found.message
    assert found.remedy


@pytest.mark.parametrize(("runs", "severity"), [(10.0, "warning"), (1790.0, "warning"), (7200.0, "")])
def test_a_crash_loop_that_is_over_is_history(runs: float, severity: str) -> None:
    assert outcome(judged(healthy(restarts=3, active_since=_NOW - runs))["service.restarts"]) == severity
    down = healthy(restarts=3, active_since=_NOW - runs, active_state="activating")
    assert outcome(judged(down)["service.restarts"]) == "warning"


def test_only_what_is_wrong_fails() -> None:
    bad = [check.id for check in judged(healthy(restarts=1)).values() if not check.passed]
    assert bad == ["service.restarts"]


@pytest.mark.parametrize(
    ("days", "severity"), [(-1.0, "error"), (0.0, "error"), (1.0, "warning"), (119.9, "warning"), (120.1, "")]
)
def test_days_left_of_the_first_certificate_that_ends(days: float, severity: str) -> None:
    soon = Certificate(f"{_TLS}/etcd/client.crt", (), _NOW + days * _DAY)
    found = judged(healthy(), (*CERTIFICATES, soon))["certificate.days"]
    assert outcome(found) == severity
    assert "server/tls/etcd/client.crt" in found.message + found.evidence


def test_certificates_that_cannot_be_judged() -> None:
    found = judged(healthy(), (*CERTIFICATES, Certificate("/x.crt", error="nonsense")))["certificate.days"]
    assert (outcome(found), found.evidence) == ("error", "/x.crt: nonsense")
    assert outcome(judged(healthy(), ())["certificate.days"]) == "warning"


@pytest.mark.parametrize(("free", "severity"), [(4, "error"), (5, "warning"), (9, "warning"), (10, ""), (100, "")])
def test_disk_space(free: int, severity: str) -> None:
    facts = healthy()
    disk = FileSystem("/var/lib/rancher", "ext4", free << 30, 100 << 30, False)
    found = judged(replace(facts, host=replace(facts.host, file_systems=(disk,))))["disk.free"]
    assert outcome(found) == severity
    assert f"{free}% free" in found.message


def test_a_file_system_with_several_paths_is_one_check() -> None:
    facts = healthy()
    disks = tuple(
        FileSystem(path, "ext4", 50 << 30, size << 30, False) for path, size in (("/a", 90), ("/b", 90), ("/c", 91))
    )
    checks = judge_host(replace(facts, host=replace(facts.host, file_systems=disks)), CERTIFICATES, VERSION)
    assert [check.subject for check in checks if check.id == "disk.free"] == ["node-1 /a", "node-1 /c"]


def test_no_wish_for_a_version_is_fulfilled_by_any() -> None:
    assert judged(healthy(), version="")["k3s.version"].passed


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, ()),
        ({"disable": ["a", "b"]}, ("a", "b")),
        ({"disable": "a, b"}, ("a", "b")),
        ({"disable": ["a,b", "c"]}, ("a", "b", "c")),
    ],
)
def test_values_written_with_commas(config: dict[str, object], words: tuple[str, ...]) -> None:
    assert config_words(config, "disable") == words


@pytest.mark.parametrize("year", [1999, 2027, 2049, 2050, 2090])
def test_a_certificate_is_read_as_the_library_reads_it(year: int) -> None:
    end = dt.datetime(year, 2, 3, 4, 5, 6, tzinfo=dt.UTC).timestamp()
    names = ("localhost", "kubernetes.default.svc.cluster.local", "10.43.0.1", "fd00::11")
    assert read_certificate("/a.crt", pem(end, *names)) == Certificate("/a.crt", names, end)


def test_of_several_certificates_the_names_are_the_first_ones_and_the_end_the_earliest() -> None:
    chain = pem(_NOW + 9, "leaf") + b"\n# the CA\n" + pem(_NOW + 5, "ca")
    assert read_certificate("/a.crt", chain) == Certificate("/a.crt", ("leaf",), _NOW + 5)


def test_a_certificate_without_names() -> None:
    assert read_certificate("/a.crt", pem(_NOW)) == Certificate("/a.crt", (), _NOW)


_GOOD = pem(_NOW, "a")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        _GOOD.replace(b"BEGIN", b"BEGUN"),
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
    ],
)
def test_what_is_no_certificate_says_why(data: bytes) -> None:
    found = read_certificate("/a.crt", data)
    assert found.error
    assert found.not_after == 0.0


def test_a_certificate_that_was_cut_says_so() -> None:
    whole = base64.b64decode(b"".join(_GOOD.splitlines()[1:-1]))
    cut = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(whole[:-9]) + b"\n-----END CERTIFICATE-----"
    assert "longer than the one that contains it" in read_certificate("/a.crt", cut).error


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_a_damaged_certificate_never_raises(at: int, junk: bytes) -> None:
    damaged = _GOOD[: at % len(_GOOD)] + junk + _GOOD[at % len(_GOOD) + len(junk) :]
    assert read_certificate("/a.crt", damaged).path == "/a.crt"


class Files:
    """A disk with certificates on it."""

    def __init__(self, **files: bytes) -> None:
        self.files = files

    async def list_directory(self, path: str) -> tuple[str, ...]:
        return tuple(name[len(path) + 1 :] for name in self.files if name.rpartition("/")[0] == path)

    async def read(self, path: str, limit: int = 0) -> bytes | None:
        return self.files.get(path)


@pytest.mark.parametrize(
    ("role", "found"),
    [
        ("server", [f"{_TLS}/a.crt", f"{_TLS}/etcd/b.crt", "/var/lib/rancher/k3s/agent/c.crt"]),
        ("agent", ["/var/lib/rancher/k3s/agent/c.crt"]),
    ],
)
def test_certificates_are_looked_for_where_the_role_has_them(role: str, found: list[str]) -> None:
    paths = (f"{_TLS}/a.crt", f"{_TLS}/a.key", f"{_TLS}/etcd/b.crt", "/var/lib/rancher/k3s/agent/c.crt")
    system = Files(**dict.fromkeys(paths, _GOOD))
    read = run_to_end(read_certificates(system, on_k3s(fresh(), role=role)))  # type: ignore[arg-type]
    assert [item.path for item in read] == found
    assert all(item.names == ("a",) for item in read)
