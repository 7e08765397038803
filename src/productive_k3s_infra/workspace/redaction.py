"""PURE: blank out what looks like a secret. The last line of defence: secrets are `Secret`, and never get this far."""

from __future__ import annotations

import re

REDACTED = "[redacted]"

_PATTERNS = (
    # A K3s token in its secure form, up to the next white space: `K10<CA hash>::server:<password>`.
    re.compile(r"K10[0-9a-fA-F]{64}::\S*"),
    # A private key in PEM, also when its end is missing.
    re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    # The same in base64, as kubeconfigs hold it: any PEM block that is no certificate.
    re.compile(r"LS0tLS1CRUdJTiB(?!DRVJU)[A-Za-z0-9+/=]*"),
)


def redact(text: str) -> str:
    """Return the text with K3s tokens and private keys replaced."""
    for pattern in _PATTERNS:
        text = pattern.sub(REDACTED, text)
    return text
