"""Answers that are typed at a terminal; waiting for one ends at once when the run shall stop."""

from __future__ import annotations

import contextlib
import os
import select
import termios
from collections.abc import Callable, Iterator

from productive_k3s_infra.errors import stopped

_MOST_BYTES = 4096


class Answers:
    """Reads lines from a terminal, in any thread. `stop` may be called from a signal handler, and holds for good.

    `input` would go on reading: a signal's handler returns into it, and a thread that is in it hears none at all.
    """

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._stopped, self._stop = os.pipe()
        os.set_blocking(self._stop, False)

    def stop(self) -> None:
        """End every wait for an answer, now and later."""
        with contextlib.suppress(BlockingIOError):  # full of what says the same
            os.write(self._stop, b"!")

    def ask(self, question: Callable[[], None], *, hidden: bool = False) -> str:
        """Let the question be shown and return the next line without its end, '' where the terminal has no more.

        With `hidden`, what is typed is not shown. Raises Interrupted once stopped; the terminal then is as it was.
        """
        with self._hidden() if hidden else contextlib.nullcontext():
            question()
            return self._line().decode(errors="replace").rstrip("\r\n")

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select((self._terminal, self._stopped), (), ())
            if self._stopped in ready:
                raise stopped()
            try:
                read = os.read(self._terminal, _MOST_BYTES)
            except OSError:
                return b""  # the terminal is gone, and nobody says yes
            if not read:
                return line
            line += read
        return line

    @contextlib.contextmanager
    def _hidden(self) -> Iterator[None]:
        before = termios.tcgetattr(self._terminal)
        silent = [*before]
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(self._terminal, termios.TCSAFLUSH, silent)
        try:
            yield
        finally:
            with contextlib.suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(self._terminal, termios.TCSAFLUSH, before)
