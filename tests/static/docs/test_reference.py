"""The pages that are made from the code are current, and hold what the code has."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from productive_k3s.k3s import flags
from productive_k3s_infra.cluster_file.schema import cluster_file_schema
from static.docs.command_lines import VERBS, pk3s

ROOT = Path(__file__).parents[3]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "use-cases").rglob("*.md")]
KEY = re.compile(r"`((?:spec|metadata)\.[A-Za-z0-9.\[\]]+)`")
REFERENCE = ROOT / "docs/reference"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("docs_reference", str(ROOT / "scripts/docs-reference"))
    spec = importlib.util.spec_from_loader("docs_reference", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_made_pages_are_current(maker: ModuleType) -> None:
    assert maker.stale() == [], "run .venv/bin/python scripts/docs-reference"


def test_a_page_that_is_not_current_is_seen(maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "REFERENCE", tmp_path / "reference")
    for path, text in maker.made().items():
        if tmp_path in path.parents:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    assert maker.stale() == []
    page = tmp_path / "reference/pk3s.md"
    page.write_text(page.read_text(encoding="utf-8").replace("| `--exit-code` |", "| `--exit` |"))
    (tmp_path / "reference/k3s-flags.md").unlink()
    schema = tmp_path / "reference/answers/plan.schema.json"
    schema.write_text(schema.read_text(encoding="utf-8").replace('"preflight"', '"before"'))
    assert [path.name for path in maker.stale()] == ["pk3s.md", "k3s-flags.md", "plan.schema.json"]


def test_every_command_and_option_has_its_row() -> None:
    text = (REFERENCE / "pk3s.md").read_text(encoding="utf-8")
    for name, command in pk3s().commands.items():
        section = text.partition(f"\n## `pk3s {name}`\n")[2].partition("\n## `")[0]
        # A group has its options with its commands.
        options = [option for item in command.params for option in (*item.opts, *item.secondary_opts)]
        assert section
        assert [option for option in options if option.startswith("-") and f"`{option}" not in section] == [], name


def test_every_verb_of_the_host_program_has_its_section() -> None:
    text = (REFERENCE / "productive-k3s.md").read_text(encoding="utf-8")
    assert [verb for verb in VERBS["productive-k3s"] if f"\n## `productive-k3s {verb}`\n" not in text] == []


def test_every_key_has_its_row() -> None:
    text = (REFERENCE / "cluster-file-keys.md").read_text(encoding="utf-8")
    definitions = {name: item for name, item in cluster_file_schema()["$defs"].items() if name != "Variable"}
    named = {key for definition in definitions.values() for key in definition.get("properties", {})}
    assert [key for key in sorted(named) if f"{key}` |" not in text] == []


def test_every_flag_is_named_once() -> None:
    text = (REFERENCE / "k3s-flags.md").read_text(encoding="utf-8")
    known = {*flags.table().flags, *flags.RESERVED, *flags.table().removed}
    assert [flag for flag in sorted(known) if text.count(f"\n| `{flag}` |") != 1] == []


def test_keys_that_documents_name_exist(maker: ModuleType) -> None:
    schema = cluster_file_schema()
    known = {plain(key.strip("`")) for key, *_ in maker.keys(schema, schema["$defs"], "")}
    named = {
        (document.relative_to(ROOT).as_posix(), plain(key))
        for document in DOCUMENTS
        for key in KEY.findall(document.read_text(encoding="utf-8"))
    }
    assert len(named) > 50
    assert {(document, key) for document, key in named if key not in known} == set()


def plain(key: str) -> str:
    return key.replace("[]", "")


def test_exit_codes_are_the_same_everywhere() -> None:
    """What else a page says of them may differ; that there is one table does not."""
    documents = ("docs/reference/exit-codes.md", "docs/failure-codes.md", "docs/contract.md")
    tables = {name: re.findall(r"^\| (\d+) \| ", (ROOT / name).read_text("utf-8"), re.MULTILINE) for name in documents}
    assert set(map(tuple, tables.values())) == {("0", "1", "2", "3", "4", "5", "6", "7", "130")}


def test_every_path_is_found() -> None:
    """Each use case, and each page that tells how to do something, is linked from where people choose."""
    sources = (ROOT / "docs/which-path.md", *(ROOT / "use-cases").glob("*/README.md"))
    links = {
        (source.parent / target.partition("#")[0]).resolve()
        for source in sources
        for target in re.findall(r"\]\(([^)\s]+)\)", source.read_text(encoding="utf-8"))
    }
    paths = {*(ROOT / "use-cases").glob("*/README.md"), *(ROOT / "docs/how-to").glob("*.md")}
    assert len(paths) >= 4
    assert paths - links == set()
