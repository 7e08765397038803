"""The real OpenTofu and its AWS provider for tests: `tofu` (session) is how to run them, built when they are not there.

TofuBed
    environment(home)          what a child needs, and nothing of this user's own configuration
    run(folder, *words)        the finished process        init(folder)    once per folder
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab_bed import REPOSITORY

MODULE = REPOSITORY / "opentofu" / "modules" / "aws-nodes"


@dataclass(frozen=True)
class TofuBed:
    """A program, and a CLI configuration that takes the provider from a folder: no network is needed."""

    program: Path
    configuration: Path

    def environment(self, home: Path) -> dict[str, str]:
        """Return an environment with nothing of this user in it."""
        home.mkdir(exist_ok=True)
        own = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
        quiet = {"AWS_EC2_METADATA_DISABLED": "true", "CHECKPOINT_DISABLE": "1", "NO_COLOR": "1"}
        return {
            **own,
            **quiet,
            "HOME": str(home),
            "TF_CLI_CONFIG_FILE": str(self.configuration),
            "TOFU_BIN": str(self.program),
        }

    def run(
        self, folder: Path, *words: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it in a folder; the result says how it ended."""
        return subprocess.run(
            (self.program, f"-chdir={folder}", *words),
            env={**self.environment(folder / ".home"), **(environment or {})},
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=180,
        )

    def copy_module(self, folder: Path) -> Path:
        """Copy the module somewhere and get it ready."""
        target = folder / "aws-nodes"
        shutil.copytree(MODULE, target, ignore=shutil.ignore_patterns(".terraform*"))
        done = self.run(target, "init", "-input=false")
        assert done.returncode == 0, done.stdout + done.stderr
        return target


@functools.cache
def built(*words: str) -> Path:
    """Return what lab/tofu/build prints; it builds what is not there yet."""
    command = (sys.executable, REPOSITORY / "lab" / "tofu" / "build", *words)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def tofu(tmp_path_factory: pytest.TempPathFactory) -> TofuBed:
    """The OpenTofu that tests run."""
    return make_bed(built(), tmp_path_factory.mktemp("tofu"))


def make_bed(program: Path, folder: Path) -> TofuBed:
    """Return a bed for OpenTofu, or Terraform."""
    configuration = folder / "tofurc"
    mirror = built("--mirror")
    configuration.write_text(f'provider_installation {{\n  filesystem_mirror {{ path = "{mirror}" }}\n}}\n')
    return TofuBed(program, configuration)
