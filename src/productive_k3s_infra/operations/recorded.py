"""One run that changes something: alone on its cluster, with a journal that also says how it ended early."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from productive_k3s_infra.errors import Pk3sError, stopped
from productive_k3s_infra.execute.executor import as_failure
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.progress.teller import Teller
from productive_k3s_infra.workspace.journal import open_journal
from productive_k3s_infra.workspace.lock import hold


@contextmanager
def recorded(session: Session, verb: str) -> Iterator[Teller]:
    """Hold the cluster directory and keep a journal for the block.

    An error that leaves the block is written down and knows the journal's path; a cancelled run becomes Interrupted.
    """
    with hold(session.workspace, verb), open_journal(session.workspace, verb, session.interaction.note) as journal:
        teller = Teller(session.interaction, journal)
        try:
            yield teller
        except asyncio.CancelledError:
            raise _told(stopped(), teller) from None
        except Pk3sError as error:
            _told(error, teller)
            raise
        except Exception as error:
            teller.bug(error)
            raise


def _told(error: Pk3sError, teller: Teller) -> Pk3sError:
    teller.failed(replace(as_failure(error), what=str(error)))
    teller.ended(error.exit_code)
    error.journal = str(teller.journal or "")
    return error
