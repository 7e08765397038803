"""`pk3s init` on a terminal, with nothing said: what a first cluster file needs is asked, one thing after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from productive_k3s.k3s.release import DEFAULT_VERSION
from productive_k3s_infra.cluster_file.first_file import NewCluster, require_wanted
from productive_k3s_infra.cluster_file.provider import DOCUMENTS, kind_of, kinds_with
from productive_k3s_infra.errors import BadInput, StepFailed
from productive_k3s_infra.operations.init import FirstFile, first_file, require_acceptable

if TYPE_CHECKING:
    from productive_k3s_infra.cli.answers import Answers
    from productive_k3s_infra.cluster_file.provider import Capabilities

# Whoever types nothing that will do, so often, is no person: a terminal without anybody gives empty lines for ever.
_TRIES = 5


@dataclass(frozen=True)
class Question:
    """What is asked, what Enter alone means, and the answer's place in the file."""

    text: str
    default: str
    put: Callable[[NewCluster, str], NewCluster]
    # Some answers are right or wrong only together with the next one.
    judged: bool = True


@dataclass(frozen=True)
class FirstQuestions:
    """The person at the terminal who wants a cluster file."""

    answers: Answers
    file: Path
    environment: Mapping[str, str]

    def ask_for_a_file(self) -> FirstFile | None:
        """Ask, show the file and ask whether it is right; None where it is not.

        Raises BadInput where a question gets no answer that a file can hold, and what `first_file` raises.
        """
        self._tell(
            "This writes a cluster file. Enter accepts what is in brackets. Ctrl-C stops, and nothing is written."
        )
        kinds = {kind_of(document): document for document in DOCUMENTS}
        wanted = self._ask(
            NewCluster("edge", "local"),
            Question(f"Provider: {', '.join(kinds)}", "local", lambda draft, said: replace(draft, provider=said)),
            lambda draft: "" if draft.provider in kinds else f"there is no provider {draft.provider}",
        )
        for question in _questions(wanted.provider, kinds[wanted.provider].capabilities):
            wanted = self._ask(wanted, question, self._refused)
        found = self._with_exact_version(wanted)
        self._tell(f"\n{found.text}")
        return found if self.agrees(f"Write this to {self.file}?", default=True) else None

    def agrees(self, question: str, *, default: bool) -> bool:
        """Return whether the person says yes; Enter alone is the default."""
        said = self._line(f"{question} [{'Y/n' if default else 'y/N'}] ").strip().lower()
        return said in {"y", "yes"} if said else default

    def _with_exact_version(self, wanted: NewCluster) -> FirstFile:
        """Return the file. What was typed is kept where no channel server answers: the version is asked."""
        try:
            return first_file(self.file, wanted, self.environment)
        except StepFailed as error:
            self._tell(f"  {error.what}: {error.evidence}")
        question = _version(f"such as {DEFAULT_VERSION}")
        exact = self._ask(wanted, question, lambda draft: self._refused(draft) if draft.version else "no version yet")
        return first_file(self.file, exact, self.environment)

    def _ask(self, draft: NewCluster, question: Question, refused: Callable[[NewCluster], str]) -> NewCluster:
        default = f" [{question.default}]" if question.default else ""
        because = ""
        for _ in range(_TRIES):
            said = self._line(f"{question.text}{default}: ").strip() or question.default
            changed = question.put(draft, said)
            because = refused(changed) if question.judged else ""
            if not because:
                return changed
            self._tell(f"  {because}")
        raise BadInput(
            f"no answer to {question.text!r} that a cluster file can hold",
            evidence=because,
            remedy="pk3s init --help has an option for each of the questions",
            code="init.no-answer",
        )

    def _refused(self, draft: NewCluster) -> str:
        """Say what is wrong with what is known so far, '' for nothing."""
        try:
            require_wanted(draft)
            require_acceptable(self.file, replace(draft, version=draft.version or DEFAULT_VERSION), self.environment)
        except BadInput as error:
            return f"{error.what}: {error.evidence or error.remedy}"
        return ""

    def _line(self, prompt: str) -> str:
        return self.answers.ask(lambda: self._tell(prompt, end=""))

    @staticmethod
    def _tell(text: str, end: str = "\n") -> None:
        sys.stderr.write(text + end)
        sys.stderr.flush()


def _questions(provider: str, can: Capabilities) -> Iterator[Question]:
    if can.address == "required":
        yield Question("Server, ADDRESS or USER@ADDRESS:PORT", "", lambda draft, said: replace(draft, servers=(said,)))
        yield Question(
            "Agents, separated by spaces (Enter: none)",
            "",
            lambda draft, said: replace(draft, agents=tuple(said.split())),
        )
    if provider in kinds_with("region"):
        yield Question("Region", "", lambda draft, said: replace(draft, region=said), judged=False)
        yield Question(
            "Networks that may reach SSH and the API, such as 203.0.113.0/24",
            "",
            lambda draft, said: replace(draft, allowed=tuple(said.replace(",", " ").split())),
        )
    yield Question("The cluster's name", "edge", lambda draft, said: replace(draft, name=said))
    if can.address != "required":
        yield Question(
            "How many agents", str(can.first_agents), lambda draft, said: replace(draft, agent_count=_number(said))
        )
    if not can.own_key:
        user = can.default_user if can.makes_machines else "from ~/.ssh/config, else root"
        yield Question(f"SSH user (Enter: {user})", "", lambda draft, said: replace(draft, user=said))
        yield Question("Private SSH key (Enter: as ssh chooses)", "", lambda draft, said: replace(draft, key=said))
        yield Question("Jump host, USER@HOST:PORT (Enter: none)", "", lambda draft, said: replace(draft, jump=said))
    yield _version("Enter: the newest in the channel stable")


def _version(hint: str) -> Question:
    return Question(f"K3s version ({hint})", "", lambda draft, said: replace(draft, version=said))


def _number(said: str) -> int:
    """Return the number, or one that no file can hold."""
    return int(said) if said.isascii() and said.isdigit() else -1
