"""Options for the whole run. Live tests fail, not skip, where machines cannot be made: a green run has run them."""

from __future__ import annotations

import hypothesis
import pytest

# A machine that is busy with other tests is slow, not wrong: no example has a time limit of its own. What fails prints
# how to repeat it, wherever it ran.
hypothesis.settings.register_profile("pk3s", deadline=None, print_blob=True)
hypothesis.settings.load_profile("pk3s")

pytest_plugins = ("lab_bed", "tofu_bed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--soak` runs the long sweeps too; `--k3s-release` names a directory shaped like a release, not the lab K3s."""
    parser.addoption("--golden", action="store_true", help="write the golden texts anew; look at the difference")
    parser.addoption("--soak", action="store_true", help="run the long sweeps")
    parser.addoption("--k3s-release", metavar="DIR", default=None, help="<DIR>/<version>/{k3s,sha256sum-*.txt,...}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark by folder, and leave the sweeps to `make soak`.

    What takes long comes first: two workers that share the files of a run then end at about the same time.
    """
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
    items[:] = sorted(kept, key=lambda item: "tests/static/" in item.path.as_posix())
