"""Event streams: any number of readers of one run, none of which can slow it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from asyncflow.events import EventsDropped, RunFinished, TaskLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asyncflow.events import StreamItem

ROOM = 20_000
"""How many items wait for a slow reader before the oldest are dropped."""


class Subscription:
    """One reader's bounded queue. The last item, ``RunFinished``, is never dropped."""

    def __init__(self, *, logs: bool, room: int = ROOM, left: Callable[[Subscription], None] | None = None) -> None:
        """``left`` is called when the reader has broken off or come to the end."""
        self._logs = logs
        self._left = left
        self._room = room
        self._items: deque[StreamItem] = deque()
        self._dropped = 0
        self._more = asyncio.Event()
        self._ended = False

    def push(self, item: StreamItem) -> None:
        if isinstance(item, TaskLog) and not self._logs:
            return
        if len(self._items) >= self._room:
            self._items.popleft()
            self._dropped += 1
        self._items.append(item)
        self._more.set()

    def end(self) -> None:
        """No more items will come; what waits is still delivered."""
        self._ended = True
        self._more.set()

    async def __aiter__(self) -> AsyncIterator[StreamItem]:
        try:
            while True:
                while self._dropped or self._items:
                    if self._dropped:
                        count, self._dropped = self._dropped, 0
                        yield EventsDropped(count)
                        continue
                    item = self._items.popleft()
                    yield item
                    if isinstance(item, RunFinished):
                        return
                if self._ended:
                    return
                self._more.clear()
                await self._more.wait()
        finally:
            if self._left is not None:
                self._left(self)


class Broadcast:
    """The shell's side: ``publish`` goes to every reader."""

    def __init__(self) -> None:
        self._readers: set[Subscription] = set()
        self._finished: RunFinished | None = None
        self._ended = False

    def subscribe(self, *, logs: bool) -> Subscription:
        reader = Subscription(logs=logs, left=self._readers.discard)
        self._readers.add(reader)
        if self._finished is not None:
            reader.push(self._finished)
        if self._ended:
            reader.end()
        return reader

    def publish(self, item: StreamItem) -> None:
        if isinstance(item, RunFinished):
            self._finished = item
        for reader in self._readers:
            reader.push(item)

    def end(self) -> None:
        self._ended = True
        for reader in self._readers:
            reader.end()
