"""What all ways of showing a run have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.events import StreamItem
    from asyncflow.ui.tally import Tally

ROOM = 4 << 20
"""Characters that may wait for a slow reader. Past it, lines are counted and not kept."""


class View(Protocol):
    """Shows one run. ``take`` is called on the event loop and only gathers; a ``Frame`` is drawn in a thread.

    At most one frame is being drawn at a time, so a slow terminal slows neither the loop nor the run.
    """

    tally: Tally
    period: float
    """Seconds between frames while there is something new."""
    idle: float
    """Seconds after which a frame is asked for even when nothing is new."""

    tells_the_end: bool
    """Whether its last frame says how the run ended, so that nobody else needs to."""

    @property
    def full(self) -> bool:
        """Whether ``take`` should wait until the next frame is drawn, because nothing may be left out."""
        ...

    def take(self, item: StreamItem) -> None: ...

    def note(self, text: str) -> None:
        """A message of the command line itself, such as ``Stopping 3 tasks``."""
        ...

    def frame(self, now: float, *, last: bool) -> Callable[[], None] | None:
        """What has gathered, as something that draws it; None when there is nothing to draw."""
        ...

    def close(self) -> None:
        """Give the terminal back. Called once, whatever happened, also after an error of ours."""
        ...


class Backlog:
    """Lines that wait to be drawn, bounded."""

    def __init__(self, room: int = ROOM) -> None:
        self._lines: list[str] = []
        self._room = room
        self._size = 0
        self.left_out = 0

    def __bool__(self) -> bool:
        return bool(self._lines or self.left_out)

    tells_the_end: bool
    """Whether its last frame says how the run ended, so that nobody else needs to."""

    @property
    def full(self) -> bool:
        return self._size >= self._room

    def add(self, line: str) -> None:
        """Keep ``line``, or count it when there is no room."""
        if self._size >= self._room:
            self.left_out += 1
            return
        self._lines.append(line)
        self._size += len(line)

    def empty(self) -> tuple[str, int]:
        """All lines as one text, and how many were left out after them."""
        text, left_out = "".join(self._lines), self.left_out
        self._lines, self._size, self.left_out = [], 0, 0
        return text, left_out
