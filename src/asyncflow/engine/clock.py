"""Time, injected: the engine asks a clock, so that tests need no waiting."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Protocol):
    """A callback that is still to come."""

    def cancel(self) -> None:
        """It won't be called any more. Without effect when it has been."""
        ...


class Clock(Protocol):
    """Tells the time and calls back at a time. Seconds since the epoch."""

    def now(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Calls ``callback`` once, on the loop's thread, at ``when`` or soon after it."""
        ...


class LoopClock:
    """The wall clock, with the timers of the running event loop."""

    def now(self) -> float:
        return time.time()

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(max(0.0, when - time.time()), callback)
