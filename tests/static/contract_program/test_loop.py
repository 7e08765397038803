"""The one bounded loop, on virtual time: success in a row, the deadline, what is said, and who is heard."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.waits.loop import Bounds, Look, Waited, wait_until
from productive_k3s_infra.rehearse.system import SimulatedSystem


class Waiting:
    """A wait whose looks are a function of the time; `said` has the seconds at which something was said."""

    def __init__(self, lacking: Callable[[float], str]) -> None:
        self.system = SimulatedSystem()
        self.lacking = lacking
        self.said: list[tuple[float, str]] = []
        self.looks = 0
        self.stop_at = float("inf")

    def until(self, bounds: Bounds) -> Waited[int]:
        async def look(seconds: float) -> Look[int]:
            self.looks += 1
            assert seconds == pytest.approx(self.system.clock.monotonic())
            return Look(self.looks, self.lacking(seconds))

        host = Host(self.system, lambda _: None, self._emit, self._stop)  # type: ignore[arg-type,return-value]
        return run_to_end(wait_until(host, look, bounds, "wait:x"))

    def _emit(self, kind: str, message: str, change: str = "") -> None:
        assert (kind, change) == ("waiting", "wait:x")
        self.said.append((self.system.clock.monotonic(), message))

    def _stop(self) -> str:
        return "SIGTERM" if self.system.clock.monotonic() >= self.stop_at else ""


def test_one_look_is_enough_where_nothing_lacks() -> None:
    waiting = Waiting(lambda _: "")
    assert waiting.until(Bounds(10.0, 1.0)) == Waited(1, "", 0.0, True)
    assert waiting.said == []


def test_success_must_hold_and_starts_anew_after_each_failure() -> None:
    waiting = Waiting(lambda seconds: "down" if 0.15 < seconds < 5.0 else "")
    waited = waiting.until(Bounds(60.0, 1.0, successes=3, sure_interval=0.1))
    assert waited.is_done
    assert 5.2 <= waited.seconds < 6.3


def test_the_deadline_ends_it_with_the_last_look() -> None:
    waiting = Waiting(lambda seconds: f"lacks since {seconds:.0f}")
    waited = waiting.until(Bounds(3.0, 1.0))
    assert (waited.is_done, waited.lacking, waited.found) == (False, "lacks since 3", 4)
    assert Waiting(lambda _: "lacks").until(Bounds(0.0, 1.0)).found == 1


def test_success_at_the_deadline_that_was_not_sure_yet_is_none() -> None:
    waited = Waiting(lambda seconds: "" if seconds >= 2.0 else "down").until(Bounds(2.0, 1.0, successes=3))
    assert (waited.is_done, waited.lacking) == (False, "")


def test_something_is_said_at_once_and_then_every_two_seconds() -> None:
    waiting = Waiting(lambda _: "lacks")
    waiting.until(Bounds(20.0, 0.25))
    times = [seconds for seconds, _ in waiting.said]
    assert times[0] == 0.0
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 2.0
    quiet = Waiting(lambda _: "lacks")
    quiet.until(Bounds(1.0, 0.25, say_first=False))
    assert quiet.said == []


def test_who_asks_to_stop_is_heard_unless_it_cleans_up() -> None:
    waiting = Waiting(lambda _: "lacks")
    waiting.stop_at = 2.0
    with pytest.raises(ContractError) as caught:
        waiting.until(Bounds(20.0, 0.5))
    assert (caught.value.failure.exit_code, waiting.system.clock.monotonic()) == (130, 2.0)
    cleaning = Waiting(lambda seconds: "" if seconds >= 5.0 else "lacks")
    cleaning.stop_at = 0.0
    assert cleaning.until(Bounds(20.0, 0.5, may_stop=False)).is_done


def test_a_look_that_sees_a_final_cause_ends_it() -> None:
    def lacking(seconds: float) -> str:
        if seconds >= 1.0:
            raise ContractError(Failure("k3s.no-token", "no waiting mends it"))
        return "lacks"

    waiting = Waiting(lacking)
    with pytest.raises(ContractError, match="no waiting"):
        waiting.until(Bounds(20.0, 0.5))
    assert waiting.looks == 3
