"""PURE: take secrets out of text that nobody wrote for being shown: logs above all.

Two nets: what looks like a secret, and the very secrets that are known. Rather too much goes than too little.
"""

from __future__ import annotations

import re
from typing import Iterable

REDACTED = "[redacted]"
# Shorter ones are words, of which text is full.
_SHORTEST = 6
_NAME = r"[\w.-]*(?:token|passw(?:or)?d|secret|credential)[\w.-]*"
# A value that begins so is a path of a file, or was masked already.
_VALUE = r"(?![/*\[{(<$])[^\s\"',;&)\]}\\]+"
_PATTERNS = (
    # K3s' token in its secure form (docs.k3s.io, cli/token), and a bootstrap token.
    (re.compile(r"K10[0-9a-fA-F]{64}::\S*"), REDACTED),
    (re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), REDACTED),
    # A private key in PEM, also when its end is missing; in base64, as kubeconfigs hold it, any PEM but a certificate.
    (
        re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        REDACTED,
    ),
    (re.compile(r"LS0tLS1CRUdJTiB(?!DRVJU)[A-Za-z0-9+/=]*"), REDACTED),
    # A user with a password in a URL.
    (re.compile(r"(?<=//)[^/@\s\"']+:[^/@\s\"']*(?=@)"), REDACTED),
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\1\2{REDACTED}"),
    # name=value, "name": "value", --name value, and a line of YAML.
    (re.compile(rf"(?i)({_NAME}[\"'\\]*\s?=\s?[\"'\\]*){_VALUE}"), rf"\1{REDACTED}"),
    (re.compile(rf"(?i)({_NAME}[\"'\\]+\s*:\s*[\"'\\]+){_VALUE}"), rf"\1{REDACTED}"),
    (re.compile(rf"(?i)(--{_NAME}\s+[\"']?)(?!-){_VALUE}"), rf"\1{REDACTED}"),
    (re.compile(rf"(?im)^(\s*(?:- )?{_NAME}:[ \t]+[\"']?){_VALUE}"), rf"\1{REDACTED}"),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without its secrets; `secrets` are known ones, wherever they stand."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, REDACTED)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
