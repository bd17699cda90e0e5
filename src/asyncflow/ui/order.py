"""A task's start before its first line.

Lines are published as they come, events only once they are durable: so the first lines of a short task overtake
its start. Whoever shows a run wants to know first which task, on which worker, is speaking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow.events import EventsDropped, RunFinished, TaskCancelled, TaskFailed, TaskLog, TaskStarted, TaskSucceeded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncflow.events import StreamItem

ROOM = 10_000
"""Lines held back at most; past it they come as they are."""


class Order:
    """Holds the lines of an attempt back until its ``TaskStarted``, or whatever else shows that none will come."""

    def __init__(self) -> None:
        self._speaking: set[int] = set()
        """Serials of tasks that have started and not ended."""
        self._held: dict[int, list[StreamItem]] = {}
        self._count = 0
        self._gap = False
        """Some starts are missing for good."""

    def sort(self, item: StreamItem) -> Iterable[StreamItem]:
        """What may be shown now that ``item`` has come."""
        match item:
            case TaskLog():
                return self._line(item)
            case TaskStarted():
                self._speaking.add(item.attempt.serial)
                return (item, *self._release(item.attempt.serial)) if self._held else (item,)
            case TaskSucceeded() | TaskFailed() | TaskCancelled():
                self._speaking.discard(item.attempt.serial)
                return (*self._release(item.attempt.serial), item) if self._held else (item,)
            case EventsDropped() | RunFinished():
                self._gap = True
                return (*(line for serial in list(self._held) for line in self._release(serial)), item)
            case _:
                return (item,)

    def _line(self, line: TaskLog) -> Iterable[StreamItem]:
        serial = line.attempt.serial
        if self._gap or serial in self._speaking or self._count >= ROOM:
            return (*self._release(serial), line) if self._held else (line,)
        self._held.setdefault(serial, []).append(line)
        self._count += 1
        return ()

    def _release(self, serial: int) -> list[StreamItem]:
        lines = self._held.pop(serial, [])
        self._count -= len(lines)
        return lines
