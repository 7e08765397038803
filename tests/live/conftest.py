"""What live tests of pk3s run on: see tests/pk3s_bed.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab_bed import Release
from pk3s_bed import Site, make_site

NewSite = Callable[..., Site]


@pytest.fixture
def new_site(tmp_path: Path, k3s_release: Release, kubectl_tool: Path) -> Iterator[NewSite]:
    """Make sites whose machines go with the test."""
    made: list[Site] = []

    def make(name: str = "site", *, agents: int = 2) -> Site:
        made.append(make_site(tmp_path / name, k3s_release, kubectl_tool, agents=agents))
        return made[-1]

    yield make
    for site in made:
        site.close()
