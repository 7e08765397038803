"""The task pages, followed from top to bottom on a simulated cluster: each file loads, each command ends well, and what
a page shows of an output was printed by the commands before it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from productive_k3s.contract.events import Result
from productive_k3s.k3s.release import DEFAULT_VERSION
from productive_k3s_infra.cli.app import app
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.errors import HostUnreachable
from static.contract_program.hosts import VERSION
from static.docs.command_lines import BLOCK, typed
from static.operations.bed import VALID, World, enter

HOW_TO = Path(__file__).parents[3] / "docs/how-to"
PAGES = ("nodes", "labels", "flags", "certificates", "offline", "proxy", "runs", "debug", "ci")
ENVIRONMENT = {"PROXY_USER": "ops", "PROXY_PASSWORD": "p", "MIRROR_PASSWORD": "m"}
NODES = [
    {"name": "server-1", "role": "server", "address": "10.0.0.11"},
    {"name": "agent-1", "role": "agent", "address": "10.0.0.21"},
    {"name": "agent-2", "role": "agent", "address": "10.0.0.22"},
]
# Where a page begins, if not with three nodes that run; which commands it tells of that cannot end well there.
BEFORE = {"nodes": 2, "labels": 2}
DOWN = {"debug": "agent-1"}
ENDS: dict[tuple[str, str], set[int]] = {
    ("debug", "pk3s status"): {5},
    ("debug", "pk3s status -o json"): {5},
    ("debug", "pk3s plan"): {4},
}
# These go on until they are stopped, or become another program.
WITHOUT_END = ("pk3s ssh", "--follow", "--watch")


@dataclass
class Reader:
    """Somebody who follows a page: what the file says now, and what was printed so far."""

    name: str
    world: World
    folder: Path
    printed: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def write(self, text: str) -> None:
        """Make the cluster file what a block of the page says, over what every file has."""
        document = whole(yaml.safe_load(text)["spec"])
        self.world.session = replace(self.world.session, spec=loaded(self.folder, document))

    def run(self, words: list[str]) -> None:
        line = " ".join(words)
        if words[0] != "pk3s" or any(part in line for part in WITHOUT_END):
            return
        done = CliRunner().invoke(app, quick(words[1:]), catch_exceptions=False)
        assert done.exit_code in ENDS.get((self.name, line), {0}), f"{line}: {done.exit_code}\n{done.output}"
        self.printed += [same(one) for one in (done.stdout + done.stderr).splitlines()]
        self.ran.append(line)


def quick(words: list[str]) -> list[str]:
    """Agree to everything, and try no ports: there are none."""
    if words[0] != "apply":
        return words
    return [*words, *(["--prune=edge"] if not any("--prune" in word for word in words) else []), "--yes", "--no-probe"]


def whole(spec: dict[str, Any]) -> dict[str, Any]:
    k3s = {"version": VERSION, **spec.get("k3s", {})}
    made = {"provider": {"kind": "onprem"}, "nodes": NODES, **spec, "k3s": k3s}
    return {"apiVersion": "productive-k3s/v1alpha1", "kind": "Cluster", "metadata": {"name": "edge"}, "spec": made}


def loaded(folder: Path, document: dict[str, Any]) -> ClusterSpec:
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return load_cluster_file(file, ENVIRONMENT)


def same(line: str) -> str:
    """What is the same each time: no times, no ids of runs, and the version that documents name."""
    line = re.sub(r"\d{8}T\d+\.\d+Z-apply-\d+|\d{4}-\d\d-\d\dT[\d:.+]+", "RUN", line.replace(VERSION, DEFAULT_VERSION))
    line = re.sub(r"\b\d+ files", "N files", line)
    line = re.sub(r"[.#]{24}", "BAR", re.sub(r"\b\d+\.\d\b( s)?", "TIME", line))
    return re.sub(r"  +", "  ", line.rstrip())


@pytest.fixture
def reader(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    name: str = request.param
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k3s-release").mkdir()
    world = World(tmp_path, loaded(tmp_path, whole({})))
    enter(world, monkeypatch)
    world.instead["logs"] = lambda _: Result("done", data={"k3s": "a line\n"})

    async def valid(*_: object, **__: object) -> Any:
        return VALID

    monkeypatch.setattr("productive_k3s_infra.operations.validate.validate_with", valid)
    opened: Callable[..., Any] = lambda *given: replace(world.session, interaction=given[2])  # noqa: E731
    monkeypatch.setattr("productive_k3s_infra.operations.session.open_session", opened)
    first = loaded(tmp_path, whole({"nodes": NODES[: BEFORE.get(name, len(NODES))]}))
    world.session = replace(world.session, spec=first)
    assert CliRunner().invoke(app, ["apply", "--yes", "--no-probe"]).exit_code == 0
    if name in DOWN:
        gone = HostUnreachable("the host refuses connections", where=DOWN[name], remedy="is it up?")
        world.refuse(**{DOWN[name].replace("-", "_"): gone})
    return Reader(name, world, tmp_path)


@pytest.mark.parametrize("reader", PAGES, indirect=True)
def test_a_page_can_be_followed(reader: Reader) -> None:
    follow(reader, (HOW_TO / f"{reader.name}.md").read_text(encoding="utf-8"))
    assert reader.ran


def follow(reader: Reader, text: str) -> None:
    for match in BLOCK.finditer(text):
        word, body = match[2], match[3]
        if word == "yaml":
            reader.write(body)
        elif word == "console":
            for words in typed(match[0]):
                reader.run(words)
        elif word == "sh":
            for line in re.findall(r"^pk3s [^>\n]+", body, re.MULTILINE):
                reader.run(line.split())
        else:
            missing = [line for line in body.splitlines() if same(line) not in reader.printed]
            assert missing == [] or not reader.ran, "\n".join([*missing, "--- printed:", *reader.printed])


@pytest.mark.parametrize("reader", ["nodes"], indirect=True)
@pytest.mark.parametrize(
    ("before", "after", "seen"),
    [
        ("1 step for edge: + 1 create", "2 steps for edge: + 2 create", "2 steps"),
        ("role: agent, address: 10.0.0.22", "rolle: agent, address: 10.0.0.22", "2 mistakes"),
        ("$ pk3s apply --yes --prune=edge", "$ pk3s apply --yes --prone=edge", "prone"),
    ],
)
def test_what_cannot_be_followed_is_seen(reader: Reader, before: str, after: str, seen: str) -> None:
    text = (HOW_TO / "nodes.md").read_text(encoding="utf-8")
    assert before in text
    with pytest.raises(Exception, match=seen):
        follow(reader, text.replace(before, after, 1))
