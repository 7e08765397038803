"""The API as this computer reaches it: through the kubeconfig's address, with full certificate verification."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from productive_k3s.contract.events import CheckResult

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_WARN_DAYS = 30
Cause = Literal["", "kubeconfig", "network", "tls", "name", "issuer", "expired", "not-yet-valid"]

# OpenSSL's X509_V_ERR_* (x509_vfy.h): what they mean for the person at this computer.
_VERIFY_CAUSES: dict[int, Cause] = {
    9: "not-yet-valid",
    10: "expired",
    18: "issuer",
    19: "issuer",
    20: "issuer",
    21: "issuer",
    62: "name",
    64: "name",
}
_REMEDIES: dict[Cause, str] = {
    "": "",
    "kubeconfig": "pk3s kubeconfig fetches it again",
    "network": "is the server running, and the port reachable from here?",
    "tls": "does K3s answer there?",
    "name": "add the address to tlsSan: pk3s apply writes it and restarts the server",
    "issuer": "another cluster answers there, or the kubeconfig is out of date: pk3s kubeconfig fetches it again",
    "expired": "restart K3s on the server: it renews expired and expiring certificates",
    "not-yet-valid": "set the clock of this computer or of the server",
}
_BEYOND = (
    "the hosts are reached through a jump host, the API is not: forward its port for kubectl (ssh -L), "
    "or name an address that this computer reaches (k3s.apiAddress)"
)


@dataclass(frozen=True)
class ApiState:
    """A TLS handshake with the API: the certificate's names and end, or why there was none."""

    address: str
    error: str = ""
    names: tuple[str, ...] = ()
    days_left: float = 0.0
    cause: Cause = ""


@dataclass(frozen=True)
class _ApiAddress:
    host: str
    port: int
    authority: str


def look_at_api(kubeconfig: Mapping[str, Any], now: float, timeout_seconds: float = 5.0) -> ApiState:
    """Connect to the server of the kubeconfig's current context and verify its certificate, name included.

    Never raises: what is wrong with the kubeconfig or on the way is in the result. K3s' CA carries no key identifiers
    in older releases, which Python 3.13 refuses in strict mode: strictness about that is switched off, chain and name
    are still verified.
    """
    try:
        target = _address_of(kubeconfig)
        context = ssl.create_default_context(cadata=target.authority)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ssl.SSLError) as error:
        # The message of a value's error could quote the document; its type says enough.
        return ApiState(
            "kubeconfig", error=f"it contains no API with a CA ({type(error).__name__})", cause="kubeconfig"
        )
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False
    address = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
    try:
        with (
            socket.create_connection((target.host, target.port), timeout=timeout_seconds) as raw,
            context.wrap_socket(raw, server_hostname=target.host) as tls,
        ):
            der = tls.getpeercert(binary_form=True) or b""
    except ssl.SSLCertVerificationError as error:
        return ApiState(address, error=error.verify_message, cause=_VERIFY_CAUSES.get(error.verify_code, "tls"))
    except ssl.SSLError as error:
        return ApiState(address, error=str(error), cause="tls")
    except OSError as error:
        return ApiState(address, error=str(error) or type(error).__name__, cause="network")
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(der)
    return ApiState(address, "", _names(certificate), (certificate.not_valid_after_utc.timestamp() - now) / 86400)


def _address_of(kubeconfig: Mapping[str, Any]) -> _ApiAddress:
    context = _named(kubeconfig, "contexts", kubeconfig["current-context"])["context"]
    cluster = _named(kubeconfig, "clusters", context["cluster"])["cluster"]
    url = urlsplit(cluster["server"])
    if not url.hostname:
        raise ValueError(url)
    try:
        authority = base64.b64decode(cluster["certificate-authority-data"], validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("certificate-authority-data") from error
    if not authority.strip():
        # Without any certificate Python would trust whom the system trusts.
        raise ValueError("certificate-authority-data")
    return _ApiAddress(url.hostname, url.port or 443, authority)


def _named(kubeconfig: Mapping[str, Any], section: str, name: str) -> Mapping[str, Any]:
    entries: list[Mapping[str, Any]] = kubeconfig[section]
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(section)


def _names(certificate: Certificate) -> tuple[str, ...]:
    from cryptography import x509

    # Whoever has no such names does not get here: the name was verified against them.
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = extension.get_values_for_type(x509.DNSName)
    return (*dns, *(str(address) for address in extension.get_values_for_type(x509.IPAddress)))


def judge_api(
    seen: ApiState, expected_names: tuple[str, ...], *, through_jump: bool = False
) -> tuple[CheckResult, ...]:
    """PURE: what was seen, as check results.

    Where the hosts are reached `through_jump` this computer may have no way to the API: no fault of the cluster.
    """
    if through_jump and seen.cause == "network":
        return (CheckResult("api.reachable", seen.address, False, "warning", _reached(seen), seen.error, _BEYOND),)
    reachable = CheckResult(
        "api.reachable",
        seen.address,
        not seen.error,
        "error",
        _reached(seen),
        seen.error,
        _REMEDIES[seen.cause],
    )
    if seen.error:
        return (reachable,)
    missing = [name for name in expected_names if _comparable(name) not in {_comparable(item) for item in seen.names}]
    return (
        reachable,
        CheckResult(
            "api.certificate-names",
            seen.address,
            not missing,
            "error",
            f"{len(seen.names)} names" if not missing else f"lacks {', '.join(missing)}",
            ", ".join(seen.names),
            "pk3s apply writes tls-san and restarts the server" if missing else "",
        ),
        CheckResult(
            "api.certificate-days",
            seen.address,
            seen.days_left > _WARN_DAYS,
            "warning",
            f"{seen.days_left:.0f} days left",
            remedy="" if seen.days_left > _WARN_DAYS else "restart K3s on the server: it renews expiring certificates",
        ),
    )


def _reached(seen: ApiState) -> str:
    if not seen.error:
        return "answers, certificate verified"
    if seen.cause in {"network", "kubeconfig"}:
        return "cannot be reached from this computer"
    return "answers, but its certificate cannot be trusted"


def _comparable(name: str) -> str:
    """Names differ neither by case nor by the way an IPv6 address is written."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()
