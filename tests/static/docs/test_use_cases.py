"""Each use case is a folder to copy: its README has every part, and what it says can be typed, in that order."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from productive_k3s.k3s.release import DEFAULT_VERSION
from productive_k3s_infra.cli.app import app
from productive_k3s_infra.cli.explain import explained_lines
from productive_k3s_infra.operations.explain import explain
from static.docs.command_lines import VERBS, blocks, typed, why_not

ROOT = Path(__file__).parents[3]
USE_CASES = sorted(path.parent for path in (ROOT / "use-cases").glob("*/README.md"))
SECTIONS = ("Needs", "Create", "Use", "Change", "Destroy", "Files")
COPIED = {"cluster.yaml", "cluster-file.schema.json", "Makefile", "plan.txt", "topology.svg"}
# Programs of others: their arguments are theirs to judge.
OTHERS = {
    "aws",
    "cat",
    "cd",
    "chmod",
    "cp",
    "curl",
    "export",
    "git",
    "kubectl",
    "ls",
    "mkdir",
    "multipass",
    "pip",
    "pipx",
    "python3",
    "uv",
    "~/pk3s/bin/pip",
    "~/pk3s/bin/pk3s",
}
OTHERS |= {"python", "python3", "rm", "scp", "ssh", "ssh-keygen", "ssh-keyscan", "sudo", "terraform", "tofu", "visudo"}
OTHERS |= {"ansible-galaxy", "ansible-playbook"}


def sections(text: str) -> dict[str, str]:
    """Return the text below each heading of the second level, in order."""
    # A comment in a block begins with # as well.
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def troubles(folder: Path) -> list[str]:
    """Return what is missing or wrong in the README of a use case."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    found = sections(text)
    order = [name for name in found if name in SECTIONS]
    wrong = [] if order == list(SECTIONS) else [f"sections {order}, wanted {list(SECTIONS)}"]
    wrong += [
        f"no {word}: in Needs" for word in ("Time", "Cost") if not re.search(rf"\b{word}\b\W", found.get("Needs", ""))
    ]
    wrong += [f"{name} says nothing to type" for name in ("Create", "Use", "Destroy") if not typed(found.get(name, ""))]
    wrong += [f"{name} shows no output" for name in ("Create", "Destroy") if not outputs(found.get(name, ""))]
    wrong += [f"Files does not name {name}" for name in sorted(COPIED) if f"`{name}`" not in found.get("Files", "")]
    verbs = [words[1] for words in typed(text) if words[0] == "pk3s"]
    firsts = [verbs.index(verb) for verb in ("plan", "apply", "destroy") if verb in verbs]
    wrong += [] if len(firsts) == 3 and firsts == sorted(firsts) else [f"order of the commands: {verbs}"]
    return wrong + [f"{' '.join(words)}: {why}" for words in typed(text) if (why := why_cannot(words, folder))]


def outputs(text: str) -> list[list[str]]:
    """Return the blocks that show what a command prints: those without a language."""
    return [lines for word, lines in blocks(text) if word in {"", "text"}]


def why_cannot(words: list[str], folder: Path) -> str:
    """Return why these words cannot be typed, '' if they can."""
    program, rest = words[0], words[1:]
    named = [
        word.rstrip(")") for word in words if word.startswith(("use-cases/", "lab/", "docs/", "opentofu/", "ansible/"))
    ]
    missing = [word for word in named if not (ROOT / word.rstrip("/")).exists()]
    if missing:
        return f"no {missing[0]}"
    if program == "make":
        makefiles = [file for file in (ROOT / "Makefile", folder / "Makefile") if file.exists()]
        known = {target for file in makefiles for target in targets(file)}
        return "" if {word for word in rest if "=" not in word} <= known else "no such target"
    if program in VERBS:
        return why_not(program, rest) if rest else "no verb"
    return "" if program in OTHERS or "=" in program else "no program that is known here"


def targets(makefile: Path) -> set[str]:
    heads = re.findall(r"^([a-z][a-z -]*):(?!=)", makefile.read_text(encoding="utf-8"), re.MULTILINE)
    return {target for head in heads for target in head.split()}


def test_samples_name_the_version_that_is_the_default() -> None:
    samples = [*(ROOT / "use-cases").glob("*/*"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    named = {
        f"{path.relative_to(ROOT)}: {version}"
        for path in samples
        if path.is_file()
        for version in re.findall(r"v1\.[0-9]+\.[0-9]+\+k3s[0-9]+", path.read_text(encoding="utf-8"))
        if version != DEFAULT_VERSION
    }
    assert named == set()


@pytest.mark.parametrize("folder", USE_CASES, ids=lambda folder: folder.name)
def test_a_use_case_takes_nothing_out_of_k3s(folder: Path) -> None:
    document = yaml.safe_load((folder / "cluster.yaml").read_text(encoding="utf-8"))
    assert document["spec"]["k3s"]["version"] == f"${{K3S_VERSION:-{DEFAULT_VERSION}}}"
    assert "disable" not in document["spec"]["k3s"].get("server", {})


def test_there_are_use_cases() -> None:
    assert {"local", "onprem-basic"} <= {folder.name for folder in USE_CASES}


@pytest.mark.parametrize("folder", USE_CASES, ids=lambda folder: folder.name)
def test_the_readme_has_every_part_and_can_be_typed(folder: Path) -> None:
    assert troubles(folder) == []


@pytest.mark.parametrize("folder", USE_CASES, ids=lambda folder: folder.name)
def test_the_folder_is_whole_and_its_targets_are_commands(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} >= COPIED
    assert targets(folder / "Makefile") <= VERBS["pk3s"]
    assert {"plan", "apply", "validate", "destroy"} <= targets(folder / "Makefile")


@pytest.mark.parametrize("page", sorted((ROOT / "docs/how-to").glob("*.md")), ids=lambda page: page.name)
def test_what_a_page_says_can_be_typed(page: Path) -> None:
    words = typed(page.read_text(encoding="utf-8"))
    assert [" ".join(line) for line in words if why_cannot(line, ROOT)] == []


@pytest.mark.parametrize(
    ("before", "after", "seen"),
    [
        ("## Destroy", "## Taking it away", "sections"),
        ("Cost: ", "Price: ", "no Cost: in Needs"),
        ("# pk3s apply ", "# pk3s deploy ", "no verb deploy"),
        ("# pk3s plan ", "# pk3s plan --dry-run ", "dry-run"),
        ("cp -r use-cases/local", "cp -r use-cases/locale", "no use-cases/locale"),
        ("# pk3s status", "# make stat", "no such target"),
        ("# pk3s status", "# k9s", "no program"),
        ("# pk3s destroy", "# pk3s apply", "order of the commands"),
        ("| `plan.txt` |", "| `plan` |", "Files does not name plan.txt"),
    ],
)
def test_what_cannot_be_followed_is_seen(tmp_path: Path, before: str, after: str, seen: str) -> None:
    folder = tmp_path / "local"
    shutil.copytree(ROOT / "use-cases/local", folder, ignore=shutil.ignore_patterns(".pk3s"))
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert before in text
    readme.write_text(text.replace(before, after), encoding="utf-8")
    assert any(seen in trouble for trouble in troubles(folder)), troubles(folder)


def dead_links(page: Path, root: Path) -> list[str]:
    """Return the links and pictures of a page that lead nowhere where only `root` and the network are at hand."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    places = {target: (page.parent / target.partition("#")[0]).resolve() for target in targets if "://" not in target}
    return [f"{page.name}: {target}" for target, place in places.items() if not reachable(place, root)]


def reachable(place: Path, root: Path) -> bool:
    return place.exists() and place.is_relative_to(root)


@pytest.mark.parametrize("folder", USE_CASES, ids=lambda folder: folder.name)
def test_links_of_a_copied_folder_lead_somewhere(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "my-cluster"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".pk3s"))
    assert [dead for page in copy.rglob("*.md") for dead in dead_links(page, copy)] == []
    assert "](topology.svg)" in (copy / "README.md").read_text(encoding="utf-8")
    (copy / "README.md").write_text("[a](../README.md) [b](no.md) [c](topology.svg) [d](https://k3s.io)")
    assert dead_links(copy / "README.md", copy) == ["README.md: ../README.md", "README.md: no.md"]


@pytest.mark.parametrize("folder", USE_CASES, ids=lambda folder: folder.name)
def test_a_copied_folder_names_no_place_of_the_repository(folder: Path) -> None:
    """Its own folder it may name, where it says what to copy; a block of commands may be for a checkout."""
    own = re.compile(rf"use-cases/{folder.name}|^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
    files = [path for path in folder.iterdir() if path.suffix in {".md", ".yaml", ".txt"} or path.name == "Makefile"]
    texts = {path.name: own.sub("", path.read_text(encoding="utf-8")) for path in files}
    named = re.compile(r"(?<![\w./-])(?:docs|lab|src|tests|ansible|opentofu|use-cases)/[\w.-]*")
    assert {(name, found) for name, text in texts.items() for found in named.findall(text)} == set()


def test_what_pk3s_writes_into_a_folder_refers_to_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["init", "--provider", "local", "--version", DEFAULT_VERSION])
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} == {"cluster.yaml", "cluster-file.schema.json"}
    assert [dead for page in tmp_path.rglob("*.md") for dead in dead_links(page, tmp_path)] == []
    schema = re.findall(r"\$schema=(\S+)", (tmp_path / "cluster.yaml").read_text(encoding="utf-8"))
    assert schema
    assert all(reachable((tmp_path / name).resolve(), tmp_path) for name in schema)


@pytest.mark.parametrize("folder", USE_CASES, ids=lambda folder: folder.name)
def test_what_a_copied_page_sends_people_to_is_explained(folder: Path) -> None:
    named = re.findall(r"`pk3s explain ([^`]+)`", (folder / "README.md").read_text(encoding="utf-8"))
    assert [name for name in named if not any(explained_lines(explain(name)))] == []
    assert named
