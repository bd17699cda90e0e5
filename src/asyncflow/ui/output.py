"""Where text goes: a stream that may be slow, may close, and must never end in a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

PIECE = 64 << 10
"""Bytes written at once, so that a slow reader is told from one that doesn't read at all."""


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
        self.written = 0
        """Bytes so far, for those who watch whether it goes on."""
        self.abandoned = False

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
                self._write_all(self._file, content)
        except OSError as error:
            self._give_up(error)
            if not self._forgiving and not isinstance(error, BrokenPipeError):
                raise

    def abandon(self) -> None:
        """Write no more, for nobody reads. A thread that is in ``write`` may stay there for as long as the process lives."""
        self.abandoned = True
        self._give_up(OSError(errno.ETIMEDOUT, "nobody reads it"))

    def show_cursor(self) -> None:
        """In a terminal, whose cursor a display may have hidden; not where that would have to wait."""
        if self.is_terminal and self._file is not None and _takes(self._file, 0):
            with contextlib.suppress(OSError):
                os.write(self._file, b"\x1b[?25h\n")

    def _write_all(self, file: int, content: bytes) -> None:
        """Past the stream's own buffers, which in Python's unbuffered mode may write a part and call it done."""
        left = memoryview(content)
        while left and not self.abandoned:
            try:
                count = os.write(file, left[:PIECE])
            except BlockingIOError:  # somebody who shares the terminal has made it so
                _takes(file, None)
            else:
                left = left[count:]
                self.written += count

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


def _takes(file: int, seconds: float | None) -> bool:
    """Wait, at most ``seconds``, until a little can be written to ``file`` without waiting."""
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def silence(stream: TextIO) -> None:
    """Let everything that is still written to ``stream`` go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at ``stream`` in a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


_patience: float | None = None
"""Seconds that ``say`` waits for a reader of stderr; None is for as long as it takes."""
SMALL = 512
"""Bytes that a pipe takes at once when it takes anything (POSIX's least PIPE_BUF)."""


def hurry(seconds: float) -> None:
    """From now on ``say`` leaves out what nobody has read within ``seconds``: the process is to end."""
    global _patience  # noqa: PLW0603 - stderr is the process's too
    _patience = seconds


def say(text: str) -> None:
    """One message of the command line itself, on stderr, whatever state that is in."""
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison] - None without a console
        return
    encoding = sys.stderr.encoding or "utf-8"
    content = f"{text}\n".encode(encoding, "replace")
    with contextlib.suppress(OSError, ValueError):
        file = _file_of(sys.stderr)
        if _patience is None or file is None:
            sys.stderr.write(content.decode(encoding))
            sys.stderr.flush()
            return
        for start in range(0, len(content), SMALL):
            if not _takes(file, _patience):
                hurry(0)  # nor does anybody wait for what comes after it
                return
            os.write(file, content[start : start + SMALL])
