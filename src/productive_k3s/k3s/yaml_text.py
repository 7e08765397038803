"""PURE: YAML as values and as text. The C parser is taken where PyYAML has it; the program's one file carries none."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Optional

if TYPE_CHECKING:
    import yaml

# Texts that one look at a host holds at once: each is parsed once, whoever asks for its meaning.
_REMEMBERED = 64


@dataclass(frozen=True)
class Parsed:
    """A document: its value, and its nodes with their places. `error` says where it is none, '' for a good one."""

    value: Any
    node: Optional[yaml.Node]
    error: str


@functools.lru_cache(maxsize=_REMEMBERED)
def parse(text: str) -> Parsed:
    """Parse a text once. The value is shared by all who ask: nobody may change it."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        value = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{mark.line + 1}:{mark.column + 1}" if mark else ""
        return Parsed(None, None, f"{where}: {getattr(error, 'problem', None) or error}")
    except (ValueError, RecursionError) as error:
        # A date such as 2026-99-99 is read as one, and a document may be nested without an end.
        return Parsed(None, None, f": {error}")
    finally:
        loader.dispose()
    return Parsed(value, node, "")


def dump(document: Mapping[str, Any], *, sort_keys: bool) -> str:
    """Write a mapping in block style, the same on every computer."""
    import yaml

    return yaml.dump(dict(document), Dumper=yaml.SafeDumper, sort_keys=sort_keys, default_flow_style=False, width=120)
