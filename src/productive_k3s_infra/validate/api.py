"""The API as this computer reaches it: through the kubeconfig's address, with full certificate verification."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from productive_k3s.events import CheckResult

_WARN_DAYS = 30


@dataclass(frozen=True)
class Seen:
    """A TLS handshake with the API: the certificate's names and end, or why there was none."""

    address: str
    error: str = ""
    names: tuple[str, ...] = ()
    days_left: float = 0.0


def look_at_api(kubeconfig: Mapping[str, Any], now: float, timeout_seconds: float = 5.0) -> Seen:
    """Connect to the server of the kubeconfig's current cluster and verify its certificate, name included.

    A K3s CA carries no key identifiers in older releases, which Python 3.13 refuses in strict mode: strictness about
    that is switched off, chain and name are still verified.
    """
    cluster = kubeconfig["clusters"][0]["cluster"]
    url = urlsplit(cluster["server"])
    address = f"{url.hostname}:{url.port or 443}"
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        with (
            socket.create_connection((url.hostname or "", url.port or 443), timeout=timeout_seconds) as raw,
            context.wrap_socket(raw, server_hostname=url.hostname) as tls,
        ):
            der = tls.getpeercert(binary_form=True) or b""
    except (OSError, ssl.SSLError) as error:
        return Seen(address, error=str(error) or type(error).__name__)
    certificate = x509.load_der_x509_certificate(der)
    return Seen(address, "", _names(certificate), (certificate.not_valid_after_utc.timestamp() - now) / 86400)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = extension.get_values_for_type(x509.DNSName)
    return (*dns, *(str(address) for address in extension.get_values_for_type(x509.IPAddress)))


def judge_api(seen: Seen, expected_names: tuple[str, ...]) -> tuple[CheckResult, ...]:
    """PURE: what was seen, as check results."""
    reachable = CheckResult(
        "api.reachable",
        seen.address,
        not seen.error,
        "error",
        "answers, certificate verified" if not seen.error else "is not reached from this computer",
        seen.error,
        "is the port open from here, and is the address among the certificate's names (tlsSan)?" if seen.error else "",
    )
    if seen.error:
        return (reachable,)
    missing = [name for name in expected_names if name not in seen.names]
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
            remedy="" if seen.days_left > _WARN_DAYS else "restart K3s on the server: it renews what ends soon",
        ),
    )
