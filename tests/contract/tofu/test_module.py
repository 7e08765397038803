"""The module aws-nodes, as OpenTofu and its AWS provider see it, and Terraform where it is installed. No network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tofu_bed import MODULE, TofuBed, make_bed


@pytest.fixture(scope="module")
def module(tofu: TofuBed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tofu.copy_module(tmp_path_factory.mktemp("module"))


def test_it_is_formatted(tofu: TofuBed, tmp_path: Path) -> None:
    done = tofu.run(tmp_path, "fmt", "-check", "-diff", "-recursive", str(MODULE))
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_valid(tofu: TofuBed, module: Path) -> None:
    done = tofu.run(module, "validate", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_own_tests_pass(tofu: TofuBed, module: Path) -> None:
    done = tofu.run(module, "test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = (MODULE / "tests" / "nodes.tftest.hcl").read_text().count('\nrun "')
    assert f"Success! {runs} passed, 0 failed." in done.stdout


def test_terraform_understands_it_too(tmp_path: Path) -> None:
    """The second, best-effort binary. Where it is not installed, nobody uses it, and there is nothing to hold."""
    program = shutil.which("terraform")
    if program is None:
        return
    bed = make_bed(Path(program), tmp_path)
    module = bed.copy_module(tmp_path)
    done = bed.run(module, "validate", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_its_readme_shows_is_valid(tofu: TofuBed, tmp_path: Path) -> None:
    example = (MODULE / "README.md").read_text().partition("```hcl\n")[2].partition("```")[0]
    assert example.count("./opentofu/modules/aws-nodes") == 1
    (tmp_path / "main.tf").write_text(example)
    shutil.copytree(MODULE, tmp_path / "opentofu" / "modules" / "aws-nodes")
    key = tmp_path / ".home" / ".ssh" / "id_ed25519.pub"
    key.parent.mkdir(parents=True)
    key.write_text("ssh-ed25519 AAAA somebody\n")
    for words in (("init", "-input=false"), ("validate", "-no-color")):
        done = tofu.run(tmp_path, *words)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("example", sorted(path.name for path in (MODULE / "examples").iterdir()))
def test_its_examples_are_valid(tofu: TofuBed, tmp_path: Path, example: str) -> None:
    copy = tmp_path / "aws-nodes"
    shutil.copytree(MODULE, copy, ignore=shutil.ignore_patterns(".terraform*"))
    for words in (("init", "-input=false"), ("validate", "-no-color")):
        done = tofu.run(copy / "examples" / example, *words)
        assert done.returncode == 0, done.stdout + done.stderr
