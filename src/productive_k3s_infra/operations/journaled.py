"""One run that changes something: alone on its cluster, with a journal that also says how it ended early."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from productive_k3s_infra.errors import Pk3sError, stopped
from productive_k3s_infra.execute.model import as_failure
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.progress.reporter import Reporter
from productive_k3s_infra.workspace.journal import open_journal
from productive_k3s_infra.workspace.lock import hold


@contextmanager
def journaled(session: Session, verb: str) -> Iterator[Reporter]:
    """Hold the cluster directory and keep a journal for the block.

    An error that leaves the block is written down and knows the journal's path; a cancelled run becomes Interrupted.
    """
    with hold(session.workspace, verb), open_journal(session.workspace, verb, session.interaction.note) as journal:
        reporter = Reporter(session.interaction, journal)
        try:
            yield reporter
        except asyncio.CancelledError:
            raise _told(stopped(), reporter) from None
        except Pk3sError as error:
            _told(error, reporter)
            raise
        except Exception as error:
            reporter.bug(error)
            # An error that is none of ours: it is told where it was written down as ours are.
            error.journal = str(reporter.journal or "")  # type: ignore[attr-defined]
            raise


def _told(error: Pk3sError, reporter: Reporter) -> Pk3sError:
    reporter.failed(replace(as_failure(error), what=str(error)))
    reporter.ended(error.exit_code)
    error.journal = str(reporter.journal or "")
    return error
