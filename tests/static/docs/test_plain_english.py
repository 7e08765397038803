"""Pages read as a native technical writer would leave them: no foreign turns, no long sentences, and each says at its
beginning what it is for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NAMED = re.findall(r"^ +- (?:.+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
MOST_WORDS = 35

# Left out, each with its reason.
RECORDS = "a record of its time: it is not rewritten"
LEFT_OUT = {
    "CHANGELOG.md": RECORDS,
} | {name: RECORDS for name in NAMED if name.startswith("decisions/0")}

# What no page may have, and what to write instead.
TURNS = {
    r"\bfor who(?:m|ever)?\b": "for people who",
    r"(?:^|[.:] )\*{0,2}who (?:has|loses|knows|wants|runs)\b": "if you lose ...",
    r"\bwhoever\b": "anyone who; or say what happens",
    r"\bsuch that\b": "so that",
    r"\bsa(?:ys?|id|ying) so\b": "reports it; says which",
    r"\bit is told\b|\bis told (?:in|by|at)\b": "is shown, is described",
    r"\banew\b": "again; recreate",
    r"\b(?:the|whole|no other|a) wish\b": "the desired state; what the file describes",
    r"\bshall\b": "should, must, or the present tense",
    r"\bnobody (?:is asked|can be asked|has to|agreed|guesses)\b": "pk3s does not ask; no one has to",
    r"\bsomebody\b": "someone, or say who",
    r"\bmends?\b|\bmended\b|\bmending\b": "fix, repair",
    r"\bas ever\b": "as usual",
    r"\bgoes? again\b": "is removed",
    r"\bends? with (?:exit )?(?:code )?\d": "exits with code N",
    r"\blies? (?:on|in|there|beside|here|below)\b": "is in",
    r"\bgiv(?:e|es|en|ing) (?:it|them) away\b": "share it",
    r"\bworth naming\b": "leave it out, or give a number",
    r"\btakes? (?:them|itself|K3s) off\b": "removes, uninstalls",
    r"\bamong all\b": "between all hosts",
    r"(?:^|[.!?] )(?:That|Those) of\b": "name the thing again",
    r"\bnot to be said\b|\bnothing is to be said\b": "cannot be set; no setting is needed",
    r"\bhow far this was tried\b": "what has been tested",
    r"\bas far as it was\b": "according to our tests",
    r"\bbut for\b": "except for",
    r"\bnext thing to do\b": "what to do next",
    r"\bso many\b": "this many, too many",
    r"\bknows? (?:it|them|the \w+) again\b": "recognises",
    r"\bzsh wants\b|\bbash wants\b|\bYAML wants\b|\bsudo wants\b": "needs, requires",
    r"\bof ours\b|\bof yours\b": "our own, your own",
    r"\bis (?:ours|yours)\b": "belongs to",
    r"\bis no (?:YAML|file|drift|string|kubeconfig|step|proof|URL|network|number|list)\b": "is not a ...",
    r"\bcomes? whole\b": "is installed with all its components",
    r"\bwhat is done stays done\b": "it does not repeat what is already done",
    r"\bdies? with\b": "is deleted together with",
    r"\bby hand of\b|\bhands? out\b": "fetches, provides",
    r"\bhas to be said\b|\bis said\b|\bare said\b|\bwas said\b": "is set, is shown, is described",
    r"\b(?:on|from|in) more of\b|^# more of\b": "more about",
    r"\bis looked at\b|\bare looked at\b|\bwas looked at\b|\bwere looked at\b": "is examined, pk3s looks at",
    r"\ball of it\b": "everything",
    r"\bin their own words\b|\bin its own words\b": "in the format of",
    r"\bnot before\b": "only after",
    r"\bbefore, and not after\b": "first",
    r"\bwhat of (?:it|them)\b": "the parts that",
    r"\bsay the rest\b|\bsays the rest\b": "has the details",
    r"\blets? go\b": "removes",
    r"\bcarried in\b|\bis carried\b": "is copied",
}
SAMPLES = (
    "For who has followed the other page.",
    "Its `MANIFEST` lies in the folder.",
    "It says so.",
    "The inventory is written anew.",
)


def shown(name: str) -> Path:
    """Return the file behind a page of the site."""
    beside, whole = ROOT / "docs" / name, ROOT / name
    return beside if beside.exists() else whole


PAGES = {"README.md": ROOT / "README.md"} | {name: shown(name) for name in NAMED if name not in LEFT_OUT}


def texts(page: str) -> Iterator[tuple[int, str]]:
    """Return what is read as text, with its first line: paragraphs, list items, cells; no code, no headings."""
    held: list[str] = []
    began = 0
    for number, line in enumerate([*without_code(page).splitlines(), ""], 1):
        row = line.strip()
        if held and (not row or row.startswith(("|", "#")) or re.match(r"(?:[-*]|\d+\.) ", row)):
            yield began, plain(" ".join(held))
            held = []
        if row.startswith("|"):
            yield from ((number, plain(cell)) for cell in re.split(r"(?<!\\)\|", row.strip("|")))
        elif row and not row.startswith("#"):
            began = began if held else number
            held.append(re.sub(r"^(?:[-*]|\d+\.) ", "", row))


def without_code(page: str) -> str:
    """Blank fenced and indented blocks and comments, and keep the numbers of lines."""

    def blank(match: re.Match[str]) -> str:
        return "\n" * match[0].count("\n")

    page = re.sub(r"^( *)```.*?^\1```$", blank, page, flags=re.MULTILINE | re.DOTALL)
    page = re.sub(r"<!--.*?-->|!\[[^\]]*\]\([^)]*\)", blank, page, flags=re.DOTALL)
    return re.sub(r"(?<=\n\n)(?: {4}.*\n)+", blank, page)


def plain(text: str) -> str:
    """Return the words that are read: the text of links, one word for a piece of code."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]+`", "`x`", text))
    return text.replace("**", "").strip()


def sentences(text: str) -> list[str]:
    return [one for one in re.split(r"(?<=[.!?])[)\"]?\s+", text) if one]


def words(sentence: str) -> int:
    return len([word for word in sentence.split() if re.search(r"\w", word)])


def turns(text: str) -> list[str]:
    return [f"{match[0]!r}: {instead}" for turn, instead in TURNS.items() if (match := search(turn, text))]


def search(turn: str, text: str) -> re.Match[str] | None:
    flags = 0 if "That|Those" in turn else re.IGNORECASE
    return re.search(turn, text, flags | re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_no_foreign_turns(name: str) -> None:
    page = PAGES[name].read_text(encoding="utf-8")
    headings = [(page[: one.start()].count("\n") + 1, one[0]) for one in re.finditer(r"^#+ .+$", page, re.MULTILINE)]
    found = [f"{name}:{line}: {turn}" for line, text in [*texts(page), *headings] for turn in turns(text)]
    assert found == []


@pytest.mark.parametrize("name", PAGES)
def test_no_sentence_is_long(name: str) -> None:
    found = [
        f"{name}:{line}: {words(one)} words: {one}"
        for line, text in texts(PAGES[name].read_text(encoding="utf-8"))
        for one in sentences(text)
        if words(one) > MOST_WORDS
    ]
    assert found == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_begins_with_what_it_is_for(name: str) -> None:
    page = without_code(PAGES[name].read_text(encoding="utf-8")).strip()
    heading, _, rest = page.partition("\n")
    first = rest.lstrip().partition("\n\n")[0]
    assert heading.startswith("# ")
    assert not first.startswith(("#", "|", "-", "```"))
    assert words(plain(first)) >= 8


def test_what_is_left_out_exists_and_has_a_reason() -> None:
    assert all(shown(name).exists() and reason for name, reason in LEFT_OUT.items())


def test_turns_are_many_and_seen() -> None:
    assert len(TURNS) >= 30
    assert all(turns(sample) for sample in SAMPLES)
    assert turns("pk3s examines the host and starts again.") == []


def test_sentences_are_counted_as_they_are_read() -> None:
    page = (
        "# T\n\nOne two [three four](x.md#a) `a b c` five.\nSix seven.\n\n```\ncode "
        + "word " * 60
        + "\n```\n\n| a b | c |\n"
    )
    counted = [words(one) for _, text in texts(page) for one in sentences(text)]
    assert counted == [6, 2, 2, 1]
    assert max(counted) <= MOST_WORDS < words("word " * 36)
