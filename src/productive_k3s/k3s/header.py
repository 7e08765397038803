"""PURE: the first line of a file that this program wrote, and what it tells a later run."""

from __future__ import annotations

from productive_k3s.contract.request import SCHEMA

HEADER = "Written by productive-k3s, schema "
HEADER_LINE = f"{HEADER}{SCHEMA}. Changes made here are shown and replaced by its next run."


def schema_of(header: str) -> int:
    """Return the schema that the comment at a file's top names, 0 if this program did not write it."""
    _, found, rest = header.partition(f"# {HEADER}")
    digits = rest.split(".")[0].strip()
    return int(digits) if found and digits.isdigit() else 0
