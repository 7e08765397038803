"""From a verb to how it ends: what it prints, what it waits for, its exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import typer

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s_infra.errors import Pk3sError

# A verb's own imports stand in it: what is not asked for is not loaded, and `--help` answers at once.
if TYPE_CHECKING:
    from productive_k3s_infra.cli.terminal import Terminal

T = TypeVar("T")


def open_terminal(*, assume_yes: bool, quiet: bool = False, full: bool = False) -> Terminal:
    """Return the person at the terminal; `assume_yes` agrees to everything, `quiet` shows no progress.

    `full` shows plans with the lines that differ.
    """
    from productive_k3s_infra.cli.terminal import Terminal

    return Terminal(assume_yes=assume_yes, quiet=quiet, full=full)


def wait_for(work: Coroutine[Any, Any, T], terminal: Terminal) -> T:
    """Run an operation until it ends, or a signal says so (Interrupted)."""
    from productive_k3s_infra.cli.stopping import run_until_stopped

    try:
        return run_until_stopped(work, terminal.stop_answers)
    finally:
        terminal.close()


def finish(run: Callable[[], int]) -> None:
    """Run a verb and leave with its exit code. An expected failure is printed; so is a bug, with where it happened."""
    try:
        code = run()
    except Pk3sError as error:
        from productive_k3s_infra.cli.show import error_lines

        _write(sys.stderr, "".join(f"{line}\n" for line in error_lines(error)))
        code = error.exit_code
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - nobody expected it, and this is the last place to say so
        _write(sys.stderr, "".join(f"{line}\n" for line in _bug_lines(error)))
        code = ExitCode.BUG
    raise typer.Exit(code)


def say(lines: Iterable[str]) -> None:
    """Print lines on standard output."""
    _write(sys.stdout, "".join(f"{line}\n" for line in lines))


def say_document(document: object) -> None:
    """Print a result as JSON."""
    _write(sys.stdout, json.dumps(document, indent=2, default=str) + "\n")


def _bug_lines(error: Exception) -> Iterable[str]:
    """Show where it happened, then what to do. What looks like a secret is not shown: errors quote what they met."""
    import traceback

    from productive_k3s.contract.redaction import redact
    from productive_k3s_infra.cli.show import error_lines

    yield from redact("".join(traceback.format_exception(error))).splitlines()
    bug = Pk3sError(
        "this is a bug of pk3s",
        evidence=redact(" ".join(f"{type(error).__name__}: {error}".split())),
        remedy="report it with the lines above and with the journal, if one is named below",
    )
    bug.journal = getattr(error, "journal", "")
    yield from error_lines(bug)


def _write(stream: TextIO, text: str) -> None:
    """Write, and go on where nobody reads any more (`| head`, a terminal that was closed): how the run ended counts."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        # Python flushes its streams once more when it ends, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
