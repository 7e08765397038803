"""The look at the API: a real TLS server on loopback, with certificates shaped like K3s'."""

from __future__ import annotations

import base64
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from productive_k3s_infra.validate.api import ApiState, judge_api, look_at_api
from static.validate.certificates import DAY, NOW, Authority, Leaf, authority, kubeconfig, listening, serving


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority()


def look(
    ca: Authority, leaf: Leaf, folder: Path, *, address: str = "127.0.0.1", trusted: Authority | None = None
) -> ApiState:
    with serving(ca, leaf, folder) as port:
        return look_at_api(kubeconfig((trusted or ca).pem, port, address), time.time(), timeout_seconds=10)


def test_a_certificate_without_key_identifiers_is_verified_and_read(ca: Authority, tmp_path: Path) -> None:
    seen = look(ca, Leaf(ends=NOW + 100 * DAY), tmp_path)
    assert not seen.error
    assert seen.names == ("kubernetes", "localhost", "127.0.0.1", "10.43.0.1")
    assert 99 < seen.days_left <= 100
    assert all(check.passed for check in judge_api(seen, ("127.0.0.1", "KUBERNETES")))


def test_a_python_that_verifies_strictly_takes_it_too(
    ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = ssl.create_default_context

    def strict(**options: Any) -> ssl.SSLContext:
        context = make(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python 3.13 does by itself
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    assert not look(ca, Leaf(), tmp_path).error


def test_a_name_is_verified_like_an_address(ca: Authority, tmp_path: Path) -> None:
    assert not look(ca, Leaf(), tmp_path, address="localhost").error


BAD: tuple[tuple[Leaf, str, str, str], ...] = (
    (Leaf(names=("kubernetes", "10.0.0.11")), "127.0.0.1", "name", "tlsSan"),
    (Leaf(names=("kubernetes", "127.0.0.1")), "localhost", "name", "tlsSan"),
    # A common name is no name: K3s' own clients do not look at it either.
    (Leaf(names=(), common_name="localhost"), "localhost", "name", "tlsSan"),
    (Leaf(begins=NOW - 300 * DAY, ends=NOW - DAY), "127.0.0.1", "expired", "restart K3s"),
    (Leaf(begins=NOW + DAY), "127.0.0.1", "not-yet-valid", "clock"),
)


@pytest.mark.parametrize(("leaf", "address", "cause", "remedy"), BAD, ids=[f"{row[2]}-{row[1]}" for row in BAD])
def test_a_certificate_that_is_not_to_be_trusted(
    *, ca: Authority, tmp_path: Path, leaf: Leaf, address: str, cause: str, remedy: str
) -> None:
    seen = look(ca, leaf, tmp_path, address=address)
    assert seen.cause == cause, seen
    (check,) = judge_api(seen, ())
    assert (check.id, check.passed, check.severity) == ("api.reachable", False, "error")
    assert check.message == "answers, but its certificate cannot be trusted"
    assert check.evidence
    assert remedy in check.remedy


def test_another_ca_of_the_same_name_is_not_trusted(ca: Authority, tmp_path: Path) -> None:
    seen = look(ca, Leaf(), tmp_path, trusted=authority())
    assert seen.error
    assert seen.cause in {"issuer", "tls"}
    assert not judge_api(seen, ())[0].passed


def test_another_ca_of_another_name_is_called_another_cluster(ca: Authority, tmp_path: Path) -> None:
    seen = look(ca, Leaf(), tmp_path, trusted=authority("k3s-server-ca@1700000000"))
    assert seen.cause == "issuer"
    assert "another cluster" in judge_api(seen, ())[0].remedy


def test_nobody_there_and_nobody_who_speaks_tls(ca: Authority) -> None:
    with listening() as (listener, port):
        silent = look_at_api(kubeconfig(ca.pem, port), time.time(), timeout_seconds=0.05)
        listener.close()
        refused = look_at_api(kubeconfig(ca.pem, port), time.time())
    assert silent.cause == refused.cause == "network"
    assert "timed out" in silent.error
    assert "refused" in refused.error
    assert refused.address == f"127.0.0.1:{port}"
    assert judge_api(refused, ())[0].message == "cannot be reached from this computer"


def test_what_lies_behind_a_jump_host_may_be_out_of_reach(ca: Authority) -> None:
    away = ApiState("s1.example:6443", "[Errno -2] Name or service not known", cause="network")
    (beyond,), (plain,) = judge_api(away, (), through_jump=True), judge_api(away, ())
    assert (beyond.passed, beyond.severity, plain.severity) == (False, "warning", "error")
    assert "ssh -L" in beyond.remedy
    # What does answer, with a certificate of somebody else, is as bad through a jump host as without one.
    other = ApiState("s1.example:6443", "self-signed certificate", cause="issuer")
    assert judge_api(other, (), through_jump=True)[0].severity == "error"


def _without(document: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}


@pytest.mark.parametrize(
    "broken",
    [
        {},
        _without(kubeconfig(b"x", 1), "current-context"),
        _without(kubeconfig(b"x", 1), "clusters"),
        {**kubeconfig(b"x", 1), "current-context": "nobody"},
        {**kubeconfig(b"x", 1), "clusters": None},
        kubeconfig(b"no certificate", 1),
        kubeconfig(b"", 1),
        kubeconfig(b"x", 1, address=""),
        {
            **kubeconfig(b"x", 1),
            "clusters": [{"name": "edge", "cluster": {"server": 5, "certificate-authority-data": "?"}}],
        },
    ],
)
def test_a_kubeconfig_that_names_no_api_is_a_result(broken: dict[str, Any]) -> None:
    seen = look_at_api(broken, time.time(), timeout_seconds=0.5)
    assert seen.cause == "kubeconfig"
    assert not judge_api(seen, ("10.0.0.11",))[0].passed


def test_a_kubeconfig_without_a_ca_does_not_trust_whom_the_system_trusts(
    ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = tmp_path / "system.pem"
    trusted.write_bytes(ca.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with serving(ca, Leaf(), tmp_path) as port:
        assert look_at_api(kubeconfig(b"\n", port), time.time()).cause == "kubeconfig"


def test_the_error_does_not_quote_the_kubeconfig() -> None:
    secret = base64.b64encode(b"client-key-material").decode()
    document = {**kubeconfig(b"x", 1), "current-context": secret, "users": [{"name": "edge", "user": secret}]}
    assert secret not in str(look_at_api(document, time.time()))


@pytest.mark.parametrize(("days", "passed"), [(365.0, True), (30.1, True), (30.0, False), (0.5, False)], ids=str)
def test_days_left(days: float, passed: bool) -> None:
    check = judge_api(ApiState("10.0.0.11:6443", "", ("10.0.0.11",), days), ())[2]
    assert (check.id, check.passed, check.severity) == ("api.certificate-days", passed, "warning")
    assert bool(check.remedy) is not passed


def test_a_name_that_is_missing_is_named() -> None:
    seen = ApiState("10.0.0.11:6443", "", ("10.0.0.11", "fd00::11"), 300.0)
    check = judge_api(seen, ("10.0.0.11", "k3s.example", "fd00:0:0::11"))[1]
    assert (check.id, check.passed, check.severity) == ("api.certificate-names", False, "error")
    assert check.message == "lacks k3s.example"
    assert "10.0.0.11" in check.evidence
    assert judge_api(seen, ("10.0.0.11", "fd00:0:0::11"))[1].passed
