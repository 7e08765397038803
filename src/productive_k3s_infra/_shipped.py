"""What comes with pk3s beside its code: pages that errors name, the cluster file's schema, the Ansible collection.

An installed pk3s has it in its package, a checkout where it is written.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]

_LOOKED_UP = ("failure-codes", "checks", "preflight", "cluster-file", "contract")
_HOW_TO = (
    *("adopt", "ansible", "aws", "by-hand", "certificates", "ci", "debug", "flags", "install", "labels"),
    *("local", "multipass", "nodes", "offline", "onprem", "plan", "proxy", "runs", "ssh", "teams"),
)
# Below docs/, by the names that a person asks for.
PAGES = {name: f"{name}.md" for name in _LOOKED_UP} | {name: f"how-to/{name}.md" for name in _HOW_TO}
SCHEMA = "cluster-file.schema.json"


def page(name: str) -> str:
    """Return the text of one of PAGES."""
    return (_docs() / PAGES[name]).read_text(encoding="utf-8")


def schema() -> Path:
    """Return where the JSON Schema of the cluster file lies."""
    return _docs() / SCHEMA


def collections_path() -> Path | None:
    """Return what ANSIBLE_COLLECTIONS_PATH has to hold for `productive_k3s.infra`; None in a checkout."""
    shipped = _PACKAGE / "shipped"
    return shipped if (shipped / "ansible_collections").is_dir() else None


def _docs() -> Path:
    packaged = _PACKAGE / "shipped" / "docs"
    return packaged if packaged.is_dir() else _CHECKOUT / "docs"
