"""PURE: take secrets out of text that nobody wrote for being shown: logs, journals, bundles.

The last line of defence: secrets are `Secret`, and do not get this far. Two nets: what looks like a secret, and those
that are known. Rather too much goes than too little. The time it takes grows with the length of the text and no faster,
whatever stands in it: each pattern begins only where a word or line does, or at a mark that no word has.
"""

from __future__ import annotations

import re
from typing import Iterable

REDACTED = "[redacted]"
# Shorter ones are words, of which text is full.
_SHORTEST = 6
_SECRET_WORD = "token|passw(?:or)?d|passphrase|secret|credential|(?:private|access|api)[._-]?key"  # noqa: S105 - no secret
_SCHEMES = "basic|bearer|digest|negotiate|token"
# Something of this stands in whatever a pattern takes; most texts have none of it, and are told by one search.
_HINTS = re.compile(
    r"(?i)K10|[a-z0-9]\.[a-z0-9]{16}|private key|LS0tLS1CRUdJTiB|//|authorization|bearer|basic|A[KS]IA|"
    rf"{_SECRET_WORD}"
)
# A whole word that holds one of those. It is tried once a word: from its middle it would be tried once a letter.
_START = r"(?<![\w.-])"
_HOLDS = rf"(?=[\w.-]*(?:{_SECRET_WORD}))"
_NAME = rf"{_START}{_HOLDS}[\w.-]+"
# A value that begins so is a path of a file, a placeholder, a variable, or was masked already.
_SHOWN = r"(?![/\[{(<]|\*\*\*|\$[A-Za-z_{(])"
# In quotes it goes to the closing one.
_VALUE = rf"{_SHOWN}(?:(?<=\")[^\"\\\n]+|(?<=')[^'\\\n]+|[^\s\"',;&)\]}}\\]+)"
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
    # A user with a password in a URL (RFC 3986, section 3.2.1), also one whose @ is not written as %40.
    (re.compile(r"(?<=//)[^/:@\s\"']*:[^/\s\"']*(?=@)"), REDACTED),
    # What HTTP sends (RFC 9110, section 11.6.2).
    # A scheme that is not known may be the secret itself: both words go.
    (
        re.compile(
            rf"(?i)\b(authorization[\"'\\]*\s?[:=]\s?[\"'\\]*(?:(?:{_SCHEMES})\s)?)"
            rf"{_SHOWN}[^\s\"',;]+(?:[ \t][^\s\"',;]+)?"
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)(\s{1,8})[A-Za-z0-9._~+/=-]{8,}"), rf"\1\2{REDACTED}"),
    # The id of an access key of AWS; the key itself has no look of its own, only a name.
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),
    # name=value, "name": "value", --name value, and a line of YAML.
    (re.compile(rf"(?i)({_NAME}[\"'\\]*\s?=\s?[\"'\\]*){_VALUE}"), rf"\1{REDACTED}"),
    (re.compile(rf"(?i)({_NAME}[\"'\\]+\s*:\s*[\"'\\]+){_VALUE}"), rf"\1{REDACTED}"),
    (re.compile(rf"(?i)({_START}--{_HOLDS}[\w.-]+\s+[\"']?)(?!-){_VALUE}"), rf"\1{REDACTED}"),
    (re.compile(rf"(?im)^([ \t]*(?:- )?{_NAME}:[ \t]+[\"']?){_VALUE}"), rf"\1{REDACTED}"),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without its secrets; `secrets` are known ones, wherever they stand."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, REDACTED)
    if _HINTS.search(text):
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
    return text
