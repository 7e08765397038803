"""`-v` and `--debug`: what pk3s asks of hosts and runs here, said as it happens, or written down for a search."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from productive_k3s_infra.cli.wanted import WANTED

# `--help` has no use for it.
if TYPE_CHECKING:
    import logging


def _want_verbose(value: bool) -> bool:
    WANTED.verbose = WANTED.verbose or value
    return value


def _want_debug(value: bool) -> bool:
    WANTED.debug = WANTED.debug or value
    return value


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        callback=_want_verbose,
        help="Show on standard error what pk3s asks of hosts and runs on this computer.",
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", callback=_want_debug, help="Write even more to a file, including what SSH says. Its name is shown."
    ),
]
_OURS = "productive_k3s_infra"
_SSH = "asyncssh"


def with_diagnostics(verb: Callable[..., None]) -> Callable[..., None]:
    """Return the verb with `-v` and `--debug` at the end of its options; it needs to know neither."""

    @functools.wraps(verb)
    def wrapped(*arguments: Any, verbose: bool, debug: bool, **options: Any) -> None:
        del verbose, debug  # their callbacks have heard them
        verb(*arguments, **options)

    added = {"verbose": Verbose, "debug": Debug}
    said = inspect.signature(verb, eval_str=True)  # typer evaluates none that is given
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in added.items()
    ]
    vars(wrapped)["__signature__"] = said.replace(parameters=[*said.parameters.values(), *more])
    wrapped.__annotations__ = {**verb.__annotations__, **added}
    return wrapped


def begin_diagnostics(words: Sequence[str], note: Callable[[str], None]) -> None:
    """Begin what was asked for; `words` are the command line, `note` says a line to whoever reads along."""
    if not (WANTED.verbose or WANTED.debug):
        return
    import logging

    ours = logging.getLogger(_OURS)
    ours.setLevel(logging.DEBUG)
    ours.propagate = False
    if WANTED.verbose:
        ours.addHandler(_saying(note))
    if WANTED.debug and not WANTED.debug_file:
        descriptor, WANTED.debug_file = tempfile.mkstemp(prefix="pk3s-", suffix=".log")
        handler = logging.StreamHandler(os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace"))
        handler.setFormatter(_redacting("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        ssh = logging.getLogger(_SSH)
        ssh.setLevel(logging.DEBUG)
        for logger in (ours, ssh):
            logger.addHandler(handler)
        note(f"debug: {WANTED.debug_file}")
        ours.debug("%s, Python %s, %s", " ".join(words), sys.version.split()[0], sys.platform)


def log_failure(error: BaseException) -> None:
    """Write down where an error came from; a person is shown only what it means."""
    if WANTED.debug_file:
        import logging

        logging.getLogger(_OURS).debug("the command failed", exc_info=error)


def _redacting(form: str) -> logging.Formatter:
    import logging

    from productive_k3s.contract.redaction import redact

    class Redacting(logging.Formatter):
        def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - its name
            del datefmt
            return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")

        def format(self, record: logging.LogRecord) -> str:
            return redact(super().format(record))

    return Redacting(form)


def _saying(note: Callable[[str], None]) -> logging.Handler:
    import logging

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(self.format(record))

    handler = Said(logging.INFO)
    handler.setFormatter(_redacting("%(message)s"))
    return handler
