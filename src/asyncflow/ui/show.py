"""The pump between a run's event stream and a view."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from asyncflow.events import StreamItem
    from asyncflow.ui.view import View


async def show(
    items: AsyncIterator[StreamItem],
    view: View,
    *,
    now: Callable[[], float] = time.time,
    watch: Awaitable[None] | None = None,
) -> Exception | None:
    """Show ``items`` until they end; then everything has been drawn and the terminal given back.

    When ``watch`` is over first, what is being drawn is left to itself: nobody reads it.
    Returns the error that made the display stop early, if there was one: a run is worth more than its display.
    """
    pump = _Pump(view, now)
    drawing = asyncio.create_task(pump.draw(), name="asyncflow-display")
    watching = None if watch is None else asyncio.create_task(_leave(drawing, watch), name="asyncflow-display-watch")
    try:
        async for item in items:
            pump.take(item)
            pump.news.set()
            if view.full and not drawing.done():
                await pump.room()
    finally:
        pump.end()
        await asyncio.wait([drawing])
        if watching is not None:
            watching.cancel()
        if not drawing.cancelled():
            view.close()
    return pump.error


async def _leave(drawing: asyncio.Task[None], watch: Awaitable[None]) -> None:
    await watch
    drawing.cancel()  # the thread that it waits for goes on


class _Pump:
    """Asks the view for frames, at most one at a time, and has them drawn in a thread."""

    def __init__(self, view: View, now: Callable[[], float]) -> None:
        self._view = view
        self._now = now
        self._drawn = asyncio.Event()
        self.news = asyncio.Event()
        self.ended = asyncio.Event()
        self.error: Exception | None = None
        self._deaf = False

    def take(self, item: StreamItem) -> None:
        """Go on counting when drawing has failed, but not when counting has."""
        if not self._deaf:
            try:
                self._view.take(item)
            except Exception as error:
                self.error, self._deaf = error, True

    def end(self) -> None:
        """The stream is over: draw what is left."""
        self.ended.set()
        self.news.set()

    async def room(self) -> None:
        """Until the view has room again, or draws no more."""
        while self._view.full and self.error is None:
            self._drawn.clear()
            await self._drawn.wait()

    async def draw(self) -> None:
        try:
            last = False
            while not last and self.error is None:
                last = self.ended.is_set()
                frame = self._view.frame(self._now(), last=last)
                if frame is not None:
                    await asyncio.to_thread(frame)
                self._drawn.set()
                if not last:
                    await self._pause()
        except Exception as error:
            self.error = error
        finally:
            self._drawn.set()

    async def _pause(self) -> None:
        """Until there is news, but at least ``period`` and at most ``idle``; the end of the stream cuts it short."""
        await _within(self.ended, self._view.period)
        if not self.ended.is_set():
            await _within(self.news, self._view.idle)
        self.news.clear()


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
