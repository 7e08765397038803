"""`pk3s explain` and `pk3s version`: every code and check that a message can name has its text, without the network."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import pytest

from productive_k3s import __version__
from productive_k3s.contract.failure import Failure
from productive_k3s_infra._shipped import PAGES
from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.cli.explain import explained_lines
from productive_k3s_infra.cli.show import error_lines, failure_lines
from productive_k3s_infra.errors import BadInput, HostUnreachable
from productive_k3s_infra.operations.explain import entries, explain, readable
from productive_k3s_infra.preflight.rules import RULES
from static.command_line import pk3s
from static.docs import test_checks
from static.docs.failure_codes import Walk, read_modules

ROOT = Path(__file__).parents[3]


def test_every_code_that_can_be_given_is_explained() -> None:
    codes = set(Walk(read_modules(ROOT / "src")).codes)
    assert len(codes) > 200
    checks = set(test_checks.in_code())
    assert len(checks) > 20
    for code in codes | checks | {rule.id for rule in RULES}:
        said = list(explained_lines(explain(code)))
        assert said[0].startswith(f"{code} ("), code
        assert len(said) > 2, code
        told = {title for entry in explain(code).entries if entry.page == "failure-codes" for title, _ in entry.cells}
        assert told == ({"what happened", "what to do", "exit"} if code in codes else set()), code
        assert not any("](" in line for line in said), code


def test_a_name_of_two_pages_is_told_from_both() -> None:
    found = explain("host.reachable")
    assert {entry.page for entry in found.entries} == {"checks", "preflight"}


def test_a_cell_with_a_bar_is_one_cell() -> None:
    text = "## Part\n\n| code | what |\n|---|---|\n| `a.b`, `a.c` | x \\| y [z](q.md) |\n"
    (entry,) = entries("page", text)
    assert (entry.section, entry.names, entry.cells) == ("Part", ("a.b", "a.c"), (("what", "x | y z"),))


def test_a_row_is_told_with_the_part_and_the_section_that_it_stands_in() -> None:
    table = "| code | what |\n|---|---|\n| `a.b` | x |\n"
    text = f"# Page\n\n## You did\n\n### This\n\n{table}\n## You asked\n\n{table}"
    assert [entry.section for entry in entries("page", text)] == ["You did: This", "You asked"]
    assert next(explained_lines(explain("ssh.key-encrypted"))) == (
        "ssh.key-encrypted (pk3s connected to a host: User, key and login; all of them: pk3s explain failure-codes)"
    )


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_printed_whole_and_what_it_links_to_as_commands(name: str) -> None:
    page = (ROOT / "docs" / PAGES[name]).read_text(encoding="utf-8")
    printed = "\n".join(explained_lines(explain(name)))
    assert "](" not in printed
    assert [line for line in page.splitlines() if "](" not in line and "[" not in line and line not in printed] == []
    assert [
        one for one in re.findall(r"\(pk3s explain ([\w.-]+)\)", printed) if not any(explained_lines(explain(one)))
    ] == []


def test_links_of_a_printed_page_become_what_can_be_typed() -> None:
    text = (
        "See [the\nfile](../cluster-file.md#nodes), [it](#here), [K3s](https://k3s.io), [no page](../index.md), "
        "[`ssh.timeout`](../failure-codes.md#a), [this](aws.md).\n![A picture](a.svg)\n```\n[a](b.md)\n```\n"
    )
    assert readable("aws", text) == (
        "See the\nfile (pk3s explain cluster-file), it, K3s (https://k3s.io), no page, "
        "`ssh.timeout` (pk3s explain ssh.timeout), this.\n(Picture: A picture)\n```\n[a](b.md)\n```\n"
    )


def test_pages_are_listed_with_their_titles() -> None:
    lines = list(explained_lines(explain("pages")))
    assert [line.split()[0] for line in lines] == list(PAGES)
    assert all(len(line.split(None, 1)) == 2 for line in lines)
    assert {path.stem for path in (ROOT / "docs/how-to").glob("*.md")} <= set(PAGES)


def test_the_nearest_names_are_offered() -> None:
    with pytest.raises(BadInput) as caught:
        explain("node.redy")
    assert (caught.value.code, caught.value.remedy) == ("explain.unknown", "pk3s explain node.ready")
    with pytest.raises(BadInput, match="no failure code") as caught:
        explain("qqqqqqqq")
    assert caught.value.evidence == ""
    done = pk3s("explain", "node.redy")
    assert done.returncode == 2
    assert "nearest: node.ready" in done.stderr


def test_messages_say_how_to_read_more() -> None:
    assert list(error_lines(HostUnreachable("no", where="a")))[-1] == "  more: pk3s explain ssh.unreachable"
    failure = Failure("k3s.no-token", "what", "seen", "do", 4)
    assert list(failure_lines("a", failure))[-1] == "  more: pk3s explain k3s.no-token"


def test_it_works_in_any_folder_and_as_a_document(tmp_path: Path) -> None:
    done = pk3s("explain", "ssh.host-key-changed", "-o", "json")
    document = json.loads(done.stdout)
    assert document["entries"][0]["names"] == ["ssh.host-key-changed"]
    assert document["entries"][0]["page"] == "failure-codes"


def test_the_version_says_what_hosts_are_sent() -> None:
    done = pk3s("version", "-o", "json")
    found = json.loads(done.stdout)
    assert (found["pk3s"], found["python"]) == (__version__, platform.python_version())
    assert found["program"] == build_program().sha256
    assert found["k3s"].startswith("v1.")
    lines = pk3s("version").stdout.splitlines()
    assert lines[0] == f"pk3s {__version__}"
    assert lines[-1] == f"host program: sha256 {build_program().sha256}"
