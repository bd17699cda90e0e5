"""Where text goes: a stream that may be slow, may close, and must never end in a traceback."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


class Output:
    """Writes text to a stream. Once the reader is gone (``| head``), it writes no more and that is no error.

    ``write`` blocks while the reader is slow, so the event loop calls it in a thread. It raises ``OSError`` when the
    disk is full; with ``forgiving`` that is only noted in ``error``.
    """

    def __init__(self, stream: TextIO | None, *, forgiving: bool = False) -> None:
        """``stream`` is None where there is none at all: ``>&-`` in a shell."""
        self._forgiving = forgiving
        self._stream = stream
        self._file = None if stream is None else _file_of(stream)
        self.error: OSError | None = BrokenPipeError() if stream is None else None
        """Why nothing is written any more."""

    @property
    def encoding(self) -> str:
        return (self._stream.encoding if self._stream is not None else None) or "utf-8"

    @property
    def is_terminal(self) -> bool:
        return is_terminal(self._stream)

    def write(self, text: str) -> None:
        """All of ``text``, at once. What the stream's encoding lacks is shown as ``?``."""
        if self.error is not None or not text:
            return
        self.write_bytes(text.encode(self.encoding, "replace"))

    def write_bytes(self, content: bytes) -> None:
        if self.error is not None or self._stream is None:
            return
        try:
            self._stream.flush()
            if self._file is None:
                self._stream.buffer.write(content)
                self._stream.buffer.flush()
            else:
                _write_all(self._file, content)
        except OSError as error:
            self._give_up(error)
            if not self._forgiving and not isinstance(error, BrokenPipeError):
                raise

    def _give_up(self, error: OSError) -> None:
        """The stream can't be written; the interpreter's own flush at exit mustn't fail on it either."""
        self.error = error
        if self._stream is not None:
            silence(self._stream)


def _file_of(stream: TextIO) -> int | None:
    """None for what only looks like a file."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _write_all(file: int, content: bytes) -> None:
    """Past the stream's own buffers, which in Python's unbuffered mode may write a part and call it done."""
    left = memoryview(content)
    while left:
        try:
            left = left[os.write(file, left) :]
        except BlockingIOError:  # somebody who shares the terminal has made it so
            select.select((), (file,), ())


def silence(stream: TextIO) -> None:
    """Let everything that is still written to ``stream`` go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at ``stream`` in a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def say(text: str) -> None:
    """One message of the command line itself, on stderr, whatever state that is in."""
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison] - None without a console
        return
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text.encode(sys.stderr.encoding or "utf-8", "replace").decode(sys.stderr.encoding or "utf-8"))
        sys.stderr.write("\n")
        sys.stderr.flush()
