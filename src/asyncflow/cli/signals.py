"""SIGINT, SIGTERM and SIGHUP: asked once, a run stops in order; asked again, at once. SIGQUIT ends it as it is."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from asyncflow.ui.output import hurry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from asyncflow.engine.runner import RunHandle


OUTPUT_PATIENCE = 2.0
"""Seconds without a byte read from the output after which, once a run was stopped, it isn't waited for."""


class _Shows(Protocol):
    def note(self, text: str) -> None: ...


class Stopper:
    """Hands signals on to the run.

    ``last_resort`` is called when two weren't enough, or with SIGQUIT, and must end the process.
    """

    def __init__(self, last_resort: Callable[[signal.Signals], None]) -> None:
        self._last_resort = last_resort
        self._handle: RunHandle | None = None
        self._view: _Shows | None = None
        self._running: Callable[[], int] = lambda: 0
        self.times = 0
        self._news = asyncio.Event()

    @property
    def asked(self) -> bool:
        return self.times > 0

    async def again(self, times: int) -> None:
        """Wait until it was asked more than ``times``."""
        while self.times <= times:
            self._news.clear()
            await self._news.wait()

    def attach(self, handle: RunHandle, view: _Shows, running: Callable[[], int]) -> None:
        """From now on there is a run to stop; ``running`` counts its tasks under way."""
        self._handle, self._view, self._running = handle, view, running

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take the signals until the block is left."""
        loop = asyncio.get_running_loop()
        waiting = asyncio.current_task()
        assert waiting is not None
        numbers = [signal.SIGINT, signal.SIGTERM]
        # A run under nohup goes on when its terminal is closed.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._take, number, waiting)
        if signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL:
            numbers.append(signal.SIGQUIT)
            loop.add_signal_handler(signal.SIGQUIT, self._last_resort, signal.SIGQUIT)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _take(self, number: signal.Signals, waiting: asyncio.Task[None]) -> None:
        self.times += 1
        self._news.set()
        hurry(OUTPUT_PATIENCE)
        if self._handle is None or self._view is None:
            waiting.cancel()  # nothing has started yet
        elif self.times == 1:
            self._view.note(_stopping(self._running(), number))
            self._handle.cancel(number.name)
        elif self.times == 2:
            self._view.note("Killing what still runs.")
            self._handle.cancel(number.name)
        else:
            self._last_resort(number)


def _stopping(running: int, number: signal.Signals) -> str:
    what = {0: "Stopping the run", 1: "Stopping 1 task"}.get(running, f"Stopping {running:,} tasks")
    again = "Ctrl-C" if number is signal.SIGINT else number.name
    return f"{what}… ({again} again to kill at once)"
