"""A stranger's folder: the use case copied elsewhere, the built wheel in an environment of its own, no checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab_bed import REPOSITORY, Bed, Release
from live.onprem_bed import ONE_LINE
from productive_k3s_infra.providers.local.machines import MachineRequest

NAMES = ("server-1", "agent-1", "agent-2")

pytestmark = pytest.mark.soak


@dataclass(frozen=True)
class Stranger:
    """A folder and the environment in which its README is followed."""

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command in the folder and return what it printed."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def installed(folder: Path) -> Path:
    """Build the wheel, install it in a fresh environment, and return where its commands are."""
    wheels, environment = folder / "wheels", folder / "environment"
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(REPOSITORY))
    subprocess.run(build, check=True, capture_output=True)
    subprocess.run((sys.executable, "-m", "venv", str(environment)), check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run((environment / "bin" / "pip", "install", "--quiet", wheel), check=True)
    return environment / "bin"


def test_the_use_case_works_without_the_checkout(lab: Bed, k3s_release: Release, tmp_path: Path) -> None:
    commands = installed(tmp_path)
    nodes = lab.create("stranger", *(MachineRequest(name, extra_user="ops", sudoers=ONE_LINE) for name in NAMES))
    folder, home = tmp_path / "my-cluster", tmp_path / "home"
    shutil.copytree(REPOSITORY / "use-cases" / "onprem-basic", folder)
    home.mkdir()
    (folder / "known_hosts").write_text("".join(f"{one.address} {one.host_key}\n" for one in nodes))
    exports = dict(
        zip(("ONPREM_SERVER", "ONPREM_AGENT_1", "ONPREM_AGENT_2"), (one.address for one in nodes), strict=True)
    )
    release = {"K3S_VERSION": k3s_release.version, "K3S_ARTIFACTS": str(k3s_release.directory)}
    places = {"PATH": f"{commands}:/usr/bin:/bin", "HOME": str(home), "ONPREM_SSH_KEY": str(lab.key)}
    stranger = Stranger(folder, places | exports | release)

    where = stranger.run("python", "-c", "import productive_k3s_infra; print(productive_k3s_infra.__file__)")
    assert where.startswith(str(tmp_path))
    assert "6 steps for " in stranger.run("pk3s", "plan")
    assert "onprem: valid (full" in stranger.run("pk3s", "apply", "--yes")
    assert "Nothing to change." in stranger.run("pk3s", "plan", "--exit-code")
    assert Path(stranger.run("pk3s", "kubeconfig").strip()) == folder / ".pk3s" / "onprem" / "kubeconfig"
    assert "3 of 3 nodes are Ready" in stranger.run("make", "status")
    assert "onprem: valid (full" in stranger.run("pk3s", "validate")
    assert "Destroyed: agent-1, agent-2, server-1." in stranger.run("pk3s", "destroy", "--yes")
    assert stranger.run("pk3s", "status", code=6).count("not installed") == len(NAMES)
