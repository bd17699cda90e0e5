"""What a worker prints: bytes of a pipe to the lines of the task that printed them.

After each task the worker writes a marker, its random tag and the task's number, to both streams. What stands before a
marker belongs to the task before it, whatever process wrote it and however late it is read here.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.events import Stream

CHUNK = 16 * 1024
"""Bytes that are read at a time; all lines of a chunk are given out in one go, and a line may have no more than its end."""
LONGEST = 1 << 20
"""Bytes of the longest line; what is longer becomes several."""
TAG = 18
"""Bytes of a tag: a zero byte, which text doesn't have, 16 random ones, and a colon."""
_ROOM_FOR_MARK = 64
_TAIL = 8 * 1024


def new_tag() -> bytes:
    """What marks the end of a task in a worker's output: nothing prints it by chance."""
    return b"\0" + os.urandom(16).replace(b"\n", b"\r") + b":"


class Output:
    """One of a worker's streams. ``line(seq, stream, at, text)`` gets its lines, without their ends.

    ``expect`` says whose output comes next; ``asks`` is called where output is there of a task that nobody has
    announced yet, and should read what the worker says.
    """

    def __init__(
        self,
        descriptor: int,
        stream: Stream,
        tag: bytes,
        *,
        line: Callable[[int, Stream, float, bytes], None],
        marked: Callable[[int], None],
        asks: Callable[[], None],
    ) -> None:
        self.descriptor = descriptor
        self.stream: Stream = stream
        self.tail = b""
        """The last of what was printed outside of any task: a worker that can't start says why."""
        self.ended = False
        """Nobody is left who could print."""
        self._tag = tag
        self._line = line
        self._marked = marked
        self._asks = asks
        self._tasks: deque[int] = deque()
        self._rest = b""
        self._reading = False

    def expect(self, seq: int) -> None:
        self._tasks.append(seq)

    def read(self) -> bool:
        """Take one chunk; whether there was one. Does nothing while it is at it already."""
        if self._reading:
            return False
        try:
            chunk = os.read(self.descriptor, CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self.ended = True
            return False
        self._reading = True
        self._feed(chunk)
        self._reading = False
        return True

    def drain(self) -> None:
        """After the worker's end: take all that is there, and give out the last line though it has no end."""
        for _ in range(256):  # a pipe holds a few chunks; a process that got away may still write
            if not self.read():
                break
        self._give([self._rest] if self._rest else [], time.time())
        self._rest = b""

    def _feed(self, chunk: bytes) -> None:
        at = time.time()
        buffer = self._rest + chunk if self._rest else chunk
        while (found := buffer.find(self._tag)) >= 0 and (end := buffer.find(b"\n", found + TAG)) >= 0:
            if found:
                lines = buffer[:found].split(b"\n")
                if not lines[-1]:
                    lines.pop()
                self._give(lines, at)
            self._mark(int(buffer[found + TAG : end]))
            buffer = buffer[end + 1 :]
        if buffer:
            lines = buffer.split(b"\n")
            buffer = lines.pop()
            self._give(lines, at)
        while len(buffer) > LONGEST + _ROOM_FOR_MARK:
            self._give([buffer[:LONGEST]], at)
            buffer = buffer[LONGEST:]
        self._rest = buffer

    def _give(self, lines: list[bytes], at: float) -> None:
        if not lines:
            return
        if not self._tasks:
            self._asks()
        if not self._tasks:
            self.tail = (self.tail + b"\n".join(lines) + b"\n")[-_TAIL:]
            return
        seq, stream, line = self._tasks[0], self.stream, self._line
        for text in lines:
            if len(text) > LONGEST:
                for begin in range(0, len(text), LONGEST):
                    line(seq, stream, at, text[begin : begin + LONGEST])
            else:
                line(seq, stream, at, text)

    def _mark(self, seq: int) -> None:
        if not self._tasks:
            self._asks()
        if self._tasks and self._tasks[0] == seq:
            self._tasks.popleft()
            self._marked(seq)
