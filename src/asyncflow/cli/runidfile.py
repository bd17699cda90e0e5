"""``--run-id-file``: where the id of a run is written, for those who wait for it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from asyncflow.errors import AsyncflowError, UsageError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class RunIdFile:
    """A file that is replaced whole by ``write``; a pipe or a device, which is opened at once and written into.

    A symlink stays, and what it leads to is written. Leaving the block without ``write`` leaves all as it was.
    """

    def __init__(self, path: str) -> None:
        """Raises ``UsageError`` where nothing can be written: whoever waits for the id shouldn't wait in vain."""
        self._path = path
        self._new: str | None = None
        self._target = os.path.realpath(path)
        folder = os.path.dirname(self._target)  # noqa: PTH120 - pathlib is an import
        try:
            found = _status(path)
            ours = None if found is None else _standard(found)
            if ours is not None:
                self._file = os.dup(ours)
                return
            if found is not None and not stat.S_ISREG(found.st_mode):
                # Without waiting: opening a pipe would wait for its reader.
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
                return
            if not path:
                raise UsageError("--run-id-file: name a file.")
            if not os.path.isdir(folder):  # noqa: PTH112 - likewise
                raise UsageError(f"--run-id-file: there is no folder {folder}.")
            new = os.path.join(folder, f".run-id-{os.getpid()}.new")  # noqa: PTH118 - likewise
            self._file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
            self._new = new
        except OSError as error:
            why = "nobody reads from it" if error.errno == errno.ENXIO else error.strerror
            raise UsageError(f"--run-id-file: {path} can't be written: {why}.") from None

    def write(self, text: str) -> None:
        """The file has its whole content or isn't there. Raises ``AsyncflowError`` where it can't be written now."""
        try:
            os.write(self._file, text.encode())
            if self._new is not None:
                os.replace(self._new, self._target)  # noqa: PTH105 - likewise
                self._new = None
        except OSError as error:
            raise AsyncflowError(f"--run-id-file: {self._path} can't be written: {error.strerror}.") from None
        finally:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if self._new is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._new)  # noqa: PTH108 - likewise

    def _close(self) -> None:
        """A reader of a pipe sees the end as soon as the id is written."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _status(path: str) -> os.stat_result | None:
    """Of what ``path`` leads to; None where nothing is there yet."""
    try:
        return os.stat(path)  # noqa: PTH116 - likewise
    except (FileNotFoundError, NotADirectoryError):
        return None


def _standard(found: os.stat_result) -> int | None:
    """Stdout or stderr where this is what it goes to, as ``/dev/stdout`` is: a file that was opened again would be
    written at another place, and one that is replaced would be lost."""
    for number in (1, 2):
        with contextlib.suppress(OSError):
            if os.path.samestat(found, os.fstat(number)):
                return number
    return None
