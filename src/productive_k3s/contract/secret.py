"""A value that is never shown."""

from __future__ import annotations

import hashlib


class Secret:
    """Carries a secret without being a string, so that it cannot slip into an argument vector, a log or a plan.

    The doors refuse a Secret in an argument vector; `unmask` is the one way to the text, easy to find in a review.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def unmask(self) -> str:
        """Return the text. Call it only where the text is written to standard input or a 0600 file."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))


def secret_digest(token: str) -> str:
    """Return the digest of a token file as this program writes it."""
    return hashlib.sha256(f"{token.strip()}\n".encode()).hexdigest()


def value_digest(value: str) -> str:
    """Return what stands for a secret value where values are compared."""
    return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
