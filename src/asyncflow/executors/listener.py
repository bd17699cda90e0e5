"""Many descriptors, one reader of the event loop.

The loop watches one descriptor, that of a selector of ours, and one callback looks after all that is ready: a worker's
messages cost no loop iteration, no handle and no task each. Works on asyncio's loops and on uvloop.
"""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

TURN = 0.01
"""Seconds after which a turn ends though more is ready; the loop comes back to it after its other work."""


class Listener:
    """Calls each descriptor's callback while it is ready, on ``loop``.

    ``after`` is called at the end of each turn; ``broken`` with what a callback raised, after which nothing is
    listened to any more.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, after: Callable[[], None], broken: Callable[[BaseException], None]
    ) -> None:
        self._loop = loop
        self._after = after
        self._broken = broken
        self._selector = selectors.DefaultSelector()
        self._fileno: int = self._selector.fileno()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._writable: dict[int, Callable[[], None]] = {}
        self._open = True
        loop.add_reader(self._fileno, self._turn)

    def add(self, descriptor: int, callback: Callable[[], None]) -> None:
        if not self._open:
            return
        self._callbacks[descriptor] = callback
        self._selector.register(descriptor, selectors.EVENT_READ)

    def remove(self, descriptor: int) -> None:
        """Before it is closed. Nothing if it isn't listened to."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._writable.pop(descriptor, None)
            self._selector.unregister(descriptor)

    def when_writable(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when there is room in a descriptor that was added."""
        if not self._open:
            return
        self._writable[descriptor] = callback
        self._selector.modify(descriptor, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fileno)
            self._callbacks.clear()
            self._selector.close()

    def _turn(self) -> None:
        try:
            until = time.monotonic() + TURN
            for key, events in self._selector.select(0):
                self._call(key.fd, events)
                if not self._open:
                    return
                if time.monotonic() > until:
                    break
            self._after()
        except BaseException as error:
            self.close()
            self._broken(error)
            if not isinstance(error, Exception):
                raise

    def _call(self, descriptor: int, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            room = self._writable.pop(descriptor, None)
            if room is not None:
                self._selector.modify(descriptor, selectors.EVENT_READ)
                room()
        if events & selectors.EVENT_READ:
            # Gone if a callback before it in this turn removed it.
            callback = self._callbacks.get(descriptor)
            if callback is not None:
                callback()
