"""The log of a run: one file to which records are appended.

A record is its length (4 bytes, little-endian) and msgpack ``[serial, attempt, [line…]]``. Where the lines
of an attempt stand is kept as ``LogChunk``s in the metadata; the file alone tells it too. It is written as
lines come and flushed to the disk when it is closed: the death of the engine loses nothing, a power cut
perhaps the last seconds.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from asyncflow.errors import StoreError
from asyncflow.events import RunId
from asyncflow.protocols import LogChunk, LogLine
from asyncflow.store.blobs.local import cannot_write

MAX_LINE = 1 << 20
"""Longer lines are split."""
MAX_RECORD = 1 << 20
"""A record is closed once its lines are longer: so readers need no more memory than this and one line."""

_LENGTH = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, int, list[LogLine]]).decode


class LogWriter:
    """Appends to the log of one run; blocks, so the event loop calls it in a thread."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._file: int | None = None

    def append(self, serial: int, attempt: int, lines: Sequence[LogLine]) -> LogChunk:
        """All ``lines`` in one write. Raises ``StoreError`` when the disk is full or read-only."""
        return self.append_groups([(serial, attempt, lines)])[0]

    def append_groups(self, groups: Sequence[tuple[int, int, Sequence[LogLine]]]) -> list[LogChunk]:
        """The lines of several attempts in one write: ``(serial, attempt, lines)`` each."""
        parts: list[bytes] = []
        places: list[tuple[int, int, int, int]] = []
        size = 0
        for serial, attempt, lines in groups:
            start = size
            for record in _records(serial, attempt, lines):
                parts += (_LENGTH.pack(len(record)), record)
                size += _LENGTH.size + len(record)
            places.append((serial, attempt, start, size - start))
        base = self._write(b"".join(parts))
        return [LogChunk(serial, attempt, base + start, length) for serial, attempt, start, length in places]

    def _write(self, content: bytes) -> int:
        """Returns the offset in the file. Another process may append at the same time."""
        try:
            if self._file is None:
                self._file = self._open()
            view = memoryview(content)
            while view:
                view = view[os.write(self._file, view) :]
            return os.lseek(self._file, 0, os.SEEK_CUR) - len(content)
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            file = os.open(self._path, flags, 0o666)
        except FileNotFoundError:
            os.makedirs(self._path.parent, exist_ok=True)  # noqa: PTH103
            file = os.open(self._path, flags, 0o666)
        os.lseek(file, 0, os.SEEK_END)
        return file

    def close(self) -> None:
        """Flush to the disk and close. May be called twice; a later ``append`` opens the file again."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            os.fsync(file)
        except OSError as error:
            raise cannot_write(self._path, error) from error
        finally:
            os.close(file)


def _records(serial: int, attempt: int, lines: Iterable[LogLine]) -> Iterator[bytes]:
    waiting: list[LogLine] = []
    size = 0
    for line in _split(lines):
        waiting.append(line)
        size += len(line.line) + 16
        if size >= MAX_RECORD:
            yield _encode((serial, attempt, waiting))
            waiting, size = [], 0
    if waiting:
        yield _encode((serial, attempt, waiting))


def _split(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    for line in lines:
        if len(line.line) <= MAX_LINE:
            yield line
        else:
            for start in range(0, len(line.line), MAX_LINE):
                yield LogLine(line.stream, line.at, line.line[start : start + MAX_LINE])


def read_chunks(path: str | os.PathLike[str], chunks: Iterable[LogChunk]) -> Iterator[LogLine]:
    """The lines of ``chunks`` in their order, one record in memory at a time.

    What a power cut took from the end of the file is passed over.
    Raises ``StoreError`` where the file is gone or something else stands at a chunk's place.
    """
    chunks = iter(chunks)
    first = next(chunks, None)
    if first is None:
        return
    try:
        file = open(path, "rb")  # noqa: PTH123, SIM115 -- closed below, also when the caller stops early
    except OSError as error:
        raise StoreError(f"The log {os.fspath(path)} can't be read: {error.strerror}.") from error
    with file:
        yield from _chunk(file, first)
        for chunk in chunks:
            yield from _chunk(file, chunk)


def _chunk(file: Any, chunk: LogChunk) -> Iterator[LogLine]:
    file.seek(chunk.offset)
    end = chunk.offset + chunk.size
    position = chunk.offset
    while position < end:
        head = file.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return
        (length,) = _LENGTH.unpack(head)
        position += _LENGTH.size + length
        if position > end:
            raise _damaged(file, chunk)
        record = file.read(length)
        if len(record) < length:
            return
        try:
            serial, attempt, lines = _decode(record)
        except msgspec.MsgspecError:
            raise _damaged(file, chunk) from None
        if (serial, attempt) != (chunk.serial, chunk.attempt):
            raise _damaged(file, chunk)
        yield from lines


def _damaged(file: Any, chunk: LogChunk) -> StoreError:
    return StoreError(
        f"The log {file.name} is damaged at byte {chunk.offset}: there are no lines of task {chunk.serial}, "
        f"attempt {chunk.attempt}, as there should be. The other tasks' logs can still be read."
    )


class LocalLogs:
    """The log files of a store, one a run: ``logs/<run_id>.log``."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root)

    def path(self, run_id: RunId) -> Path:
        return self._root / "logs" / f"{run_id}.log"

    def writer(self, run_id: RunId) -> LogWriter:
        """Opens the file with the first ``append``; the caller closes it."""
        return LogWriter(self.path(run_id))

    def read(self, run_id: RunId, chunks: Iterable[LogChunk]) -> Iterator[LogLine]:
        """See ``read_chunks``."""
        return read_chunks(self.path(run_id), chunks)

    def damage(self, run_id: RunId, chunks: Iterable[LogChunk]) -> Iterator[str]:
        """A sentence for each chunk that can't be read whole, or one for a file that can't be opened."""
        try:
            file = self.path(run_id).open("rb")
        except OSError as error:
            yield f"The log can't be read: {error.strerror}."
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            for chunk in chunks:
                if chunk.offset + chunk.size > size:
                    yield (
                        f"The log has {size} bytes, but lines of task {chunk.serial}, attempt {chunk.attempt}, end at "
                        f"byte {chunk.offset + chunk.size}."
                    )
                    continue
                try:
                    for _ in _chunk(file, chunk):
                        pass
                except StoreError as error:
                    yield str(error)
