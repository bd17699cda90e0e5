"""From executors' lines to the run's log file: grouped, bounded, written before the ending they belong to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asyncflow.protocols import LogLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.engine.stream import Broadcast
    from asyncflow.events import TaskLog
    from asyncflow.protocols import LogChunk
    from asyncflow.store.logs import LogWriter

ROOM = 4 << 20
"""Bytes of lines that may wait; past it executors stop reading their pipes."""
PATIENCE = 0.1
"""Seconds that lines wait for an ending to share a commit with."""


class LogSink:
    """Takes lines at once (``take`` is an executor's ``EmitLog``), writes them when the shell says ``flush``."""

    def __init__(self, writer: LogWriter, stream: Broadcast) -> None:
        self.wake: Callable[[], None] = _nobody
        """Called when what waits should be flushed; the shell puts its own here."""
        self._writer = writer
        self._stream = stream
        self._waiting: list[TaskLog] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, log: TaskLog) -> bool:
        self._stream.publish(log)
        self._waiting.append(log)
        self._bytes += len(log.line) + 64
        if self._bytes >= ROOM:
            self.wake()
            return False
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self.wake)
        return True

    async def flush(self) -> list[LogChunk]:
        """Write what waits; the answer says where it stands, and goes into the next commit."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return []
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        groups: dict[tuple[int, int], list[LogLine]] = {}
        for log in waiting:
            key = (log.attempt.serial, log.attempt.number)
            groups.setdefault(key, []).append(LogLine(log.stream, log.at, log.line))
        return await asyncio.to_thread(
            self._writer.append_groups, [(serial, number, lines) for (serial, number), lines in groups.items()]
        )

    def close(self) -> None:
        """Flush the file to the disk; blocks."""
        self._writer.close()


def _nobody() -> None:
    """Nobody is there to be woken yet."""
