"""``ManualClock``."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ManualClock:
    """A clock that a test moves: ``engine.clock.Clock``. Seconds since the epoch.

    clock = ManualClock()
    Engine(MyFlow, executor=fake, clock=clock)
    clock.advance(120)          # calls what is due by then, in order
    """

    def __init__(self, start: float = 1_000_000_000.0) -> None:
        self._now = start
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._order = count()

    def now(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], object]) -> ManualTimer:
        timer = ManualTimer(when, callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    @property
    def next_due(self) -> float | None:
        """When the next callback is due; None where none is waiting."""
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def advance(self, seconds: float) -> None:
        """Lets ``seconds`` pass: what becomes due meanwhile is called at its time, what it asks for in turn too."""
        if seconds < 0:
            raise ValueError(f"time doesn't go back by {-seconds} seconds")
        end = self._now + seconds
        while (due := self.next_due) is not None and due <= end:
            timer = heapq.heappop(self._timers)[2]
            self._now = max(self._now, due)
            timer.callback()
        self._now = end

    def advance_to_next(self) -> bool:
        """To the time of the next callback, which is called; False where none is waiting."""
        due = self.next_due
        if due is None:
            return False
        self.advance(max(0.0, due - self._now))
        return True


class ManualTimer:
    """A callback of a ``ManualClock`` that is still to come."""

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
