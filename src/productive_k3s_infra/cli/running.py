"""From a verb to how it ends: what it prints, what it waits for, its exit code.

Whoever asked for a document gets exactly one on standard output, however the verb ends; no verb has to think of it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeVar, runtime_checkable

import typer

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s_infra.cli.diagnostics import begin_diagnostics, log_failure
from productive_k3s_infra.cli.wanted import WANTED, Format, ProgressForm
from productive_k3s_infra.errors import BadInput, Pk3sError, stopped

# A verb's own imports stand in it: what is not asked for is not loaded, and `--help` answers at once.
if TYPE_CHECKING:
    from productive_k3s_infra.answers.model import Answer
    from productive_k3s_infra.cli.terminal import Terminal

T = TypeVar("T")


@runtime_checkable
class _OfCommandLine(Protocol):
    """What click raises for a command line that is none; typer has a click of its own, or not."""

    exit_code: int
    message: str

    def format_message(self) -> str: ...


def open_terminal(*, assume_yes: bool, quiet: bool = False, full: bool = False) -> Terminal:
    """Return the person at the terminal; `assume_yes` agrees to everything, `quiet` shows no progress.

    `full` shows plans with the lines that differ.
    """
    terminal = _terminal(assume_yes=assume_yes, quiet=quiet, full=full)
    begin_diagnostics(sys.argv, terminal.note)
    return terminal


def _terminal(*, assume_yes: bool, quiet: bool, full: bool) -> Terminal:
    if WANTED.progress == ProgressForm.json.value:
        from productive_k3s_infra.cli.progress_lines import ProgressLines

        return ProgressLines(sys.stderr, assume_yes=assume_yes)
    from productive_k3s_infra.cli.terminal import Terminal

    return Terminal(assume_yes=assume_yes, quiet=quiet or WANTED.progress == ProgressForm.none.value, full=full)


def wait_for(work: Coroutine[Any, Any, T], terminal: Terminal) -> T:
    """Run an operation until it ends, or a signal says so (Interrupted)."""
    from productive_k3s_infra.cli.stopping import run_until_stopped

    try:
        return run_until_stopped(work, terminal.stop_answers)
    finally:
        terminal.close()


def begin(words: Sequence[str]) -> None:
    """Begin a run: how it speaks until its command line is understood, and if that never is."""
    WANTED.begin(words)


@contextmanager
def answering() -> Iterator[None]:
    """Answer also a command line that is none, and Ctrl-C before a verb began."""
    try:
        yield
    except KeyboardInterrupt:
        _answer_error(stopped())
        raise
    except Exception as error:
        if isinstance(error, _OfCommandLine):
            _tell_usage(error)
        raise


def finish(run: Callable[[], int]) -> None:
    """Run a verb and leave with its exit code. An expected failure is printed; so is a bug, with where it happened."""
    try:
        code = run()
        _require_answered()
    except Pk3sError as error:
        _tell(error)
        code = error.exit_code
    except KeyboardInterrupt:
        _answer_error(stopped())
        code = ExitCode.INTERRUPTED
    except Exception as error:
        if isinstance(error, typer.Exit | typer.Abort | _OfCommandLine):
            raise  # the command line's own
        _tell_bug(error)
        code = ExitCode.BUG
    raise typer.Exit(code)


def _require_answered() -> None:
    if WANTED.is_document and not WANTED.answered:
        raise RuntimeError("the command printed no document")


def say(lines: Iterable[str]) -> None:
    """Print lines for people: on standard output, on standard error where a document was asked for."""
    _write(sys.stderr if WANTED.is_document else sys.stdout, "".join(f"{line}\n" for line in lines))


def say_result(answer: Answer, for_people: Iterable[str] | Callable[[], None]) -> int:
    """Print a verb's result as it was asked for, and return its exit code.

    `for_people` are lines, or what prints more than lines (colours, another form of text).
    """
    if WANTED.is_document:
        say_document(answer)
    elif callable(for_people):
        for_people()
    else:
        say(for_people)
    return answer.exit_code


def say_document(document: object) -> None:
    """Print a result as the one document of this run."""
    from productive_k3s.contract.codec import encode

    if WANTED.answered:
        raise RuntimeError("the command printed a second document")
    text = json.dumps(encode(document), indent=2, default=str) + "\n"
    if WANTED.output == Format.yaml.value:
        import yaml

        # What JSON holds, and no other types: numbers that are enums, tuples, paths.
        readable = (sys.stdout.encoding or "").lower().startswith("utf")
        text = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=readable, width=120)
    WANTED.answered = True
    _write(sys.stdout, text)


def _answer_error(error: Pk3sError) -> None:
    """Print the document of an error, where one was asked for and none stands there yet."""
    if WANTED.is_document and not WANTED.answered:
        from productive_k3s_infra.answers.made import error_answer

        say_document(error_answer(error))


def _tell(error: Pk3sError, before: Sequence[str] = ()) -> None:
    """Say an error to people, and as a document."""
    log_failure(error)
    if WANTED.progress == ProgressForm.json.value:
        from productive_k3s_infra.cli.progress_lines import error_line

        _write(sys.stderr, error_line(error, tuple(before)))
    else:
        from productive_k3s_infra.cli.show import error_lines

        debug = (f"  debug: {WANTED.debug_file}",) if WANTED.debug_file else ()
        _write(sys.stderr, "".join(f"{line}\n" for line in (*before, *error_lines(error), *debug)))
    _answer_error(error)


def _tell_usage(error: _OfCommandLine) -> None:
    """Say what is wrong with the command line to programs; people hear it from click."""
    error.message = error.message.replace("Value error, ", "")  # what typer's own checks begin with
    usage = BadInput(
        " ".join(error.format_message().split()),
        where="the command line",
        remedy="see pk3s --help",
        code="input.usage",
    )
    if WANTED.progress == ProgressForm.json.value:
        _tell(usage)
        raise typer.Exit(error.exit_code)
    _answer_error(usage)


def _tell_bug(error: Exception) -> None:
    """Show where it happened, then what to do. What looks like a secret is not shown: errors quote what they met."""
    import traceback

    from productive_k3s.contract.redaction import redact

    where = redact("".join(traceback.format_exception(error))).splitlines()
    bug = Pk3sError(
        "this is a bug in pk3s",
        evidence=redact(" ".join(f"{type(error).__name__}: {error}".split())),
        remedy="report it with the lines above and with the journal, if one is named below",
    )
    bug.journal = getattr(error, "journal", "")
    _tell(bug, where)


def _write(stream: TextIO, text: str) -> None:
    """Write, and go on where nobody reads any more (`| head`, a terminal that was closed): how the run ended counts."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        # Python flushes its streams once more when it ends, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
