"""Options for the whole run. Live tests fail, not skip, where machines cannot be made: a green run has run them."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ("lab_bed", "tofu_bed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--soak` runs the long sweeps too; `--k3s-release` names a directory shaped like a release, not the lab K3s."""
    parser.addoption("--golden", action="store_true", help="write the golden texts anew; look at the difference")
    parser.addoption("--soak", action="store_true", help="run the long sweeps")
    parser.addoption("--k3s-release", metavar="DIR", default=None, help="<DIR>/<version>/{k3s,sha256sum-*.txt,...}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark by folder, and leave the sweeps to `make soak`."""
    kept, left = [], []
    for item in items:
        if "tests/live/" in item.path.as_posix():
            item.add_marker(pytest.mark.live)
        if item.get_closest_marker("soak") and not config.getoption("--soak"):
            left.append(item)
        else:
            kept.append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


class OneWithMachines(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Of several workers one runs everything that may make machines, one test after the other; files are the rest."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.startswith("tests/static/") else "machines"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneWithMachines:
    """Let two workers share a run (`--numprocesses 2`)."""
    return OneWithMachines(config, log)
