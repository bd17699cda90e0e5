"""Blobs in a directory: ``blobs/ab/abcd…``, each the content and a trailer.

A blob is written under ``tmp/``, flushed to the disk, and renamed: whole or absent, never half. Small
blobs live in the metadata database and are only read here, through ``small``.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from asyncflow.errors import BlobDamaged, BlobNotFound, StoreError
from asyncflow.events import BlobKey, BlobRef
from asyncflow.protocols import Blob
from asyncflow.settings import verify_always
from asyncflow.store.artifacts import SMALL

if TYPE_CHECKING:
    import asyncio

MAPPED = 64 << 20
"""Blobs of at least so many bytes come as copy-on-write mappings, and are checked by size and trailer only."""
READ_ONLY = 1 << 20
"""Blobs of at most so many bytes come as ``bytes``, which can be cached; larger ones in a buffer of their own."""
READ_AT_ONCE = 256
"""Small blobs asked of the database in one query."""

_TRAILER = struct.Struct("<8sQ32s")  # magic, size, key
TRAILER_MAGIC = b"AFblob1\n"
TRAILER_SIZE = _TRAILER.size
PIECE = 4 << 20
WRONG_HASH = "its content doesn't have the hash that its key says"

SmallReader = Callable[[Sequence[BlobKey]], dict[BlobKey, bytes]]
_serial = count()


class LocalBlobs:
    """The synchronous core, for any process and thread: ``protocols.BlobAccess``."""

    def __init__(self, root: str | os.PathLike[str], small: SmallReader) -> None:
        self.root = Path(root)
        self._blobs = os.path.join(root, "blobs")  # noqa: PTH118 -- strings: a Path for each blob costs more than its read
        self._tmp = os.path.join(root, "tmp")  # noqa: PTH118
        self._small = small

    def path(self, key: BlobKey) -> str:
        """Where the blob is, if it has a file."""
        name = key.hex()
        return f"{self._blobs}/{name[:2]}/{name}"

    # -- reading -----------------------------------------------------------------------------------

    def read(self, refs: Sequence[BlobRef]) -> Iterator[tuple[BlobRef, bytes | memoryview]]:
        for start in range(0, len(refs), READ_AT_ONCE):
            batch = refs[start : start + READ_AT_ONCE]
            small_keys = {ref.key for ref in batch if ref.size <= SMALL}
            small = self._small(list(small_keys)) if small_keys else {}
            for ref in batch:
                content = small.get(ref.key)
                if content is None:
                    yield ref, self._read_file(ref)
                else:
                    _check(ref, content, "the small blobs of the store's database")
                    yield ref, content

    def read_all(self, refs: Sequence[BlobRef]) -> list[tuple[BlobRef, bytes | memoryview]]:
        return list(self.read(refs))

    def read_part(self, ref: BlobRef, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` of a blob that has a file; its hash isn't checked."""
        file = self._open(ref)
        try:
            return os.pread(file, size, offset)
        finally:
            os.close(file)

    def _read_file(self, ref: BlobRef) -> bytes | memoryview:
        file = self._open(ref)
        try:
            self._check_trailer(file, ref)
            if ref.size >= MAPPED:
                content: bytes | memoryview = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_COPY))[: ref.size]
                if not verify_always():
                    return content
            else:
                content = _read_whole(file, ref.size)
        finally:
            os.close(file)
        _check(ref, content, self.path(ref.key))
        return content

    def _open(self, ref: BlobRef) -> int:
        path = self.path(ref.key)
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BlobNotFound(
                f"Blob {ref.key.hex()} ({ref.size} bytes) isn't in the store {self.root}: neither in its database nor "
                f"at {path}. It was deleted, or the artifact belongs to another store (ASYNCFLOW_STORE, --store)."
            ) from None
        except OSError as error:
            raise StoreError(f"Blob {ref.key.hex()} can't be read: {path}: {error.strerror}.") from error

    def _check_trailer(self, file: int, ref: BlobRef) -> None:
        size = os.fstat(file).st_size
        trailer = os.pread(file, TRAILER_SIZE, ref.size)
        if size != ref.size + TRAILER_SIZE or trailer != _trailer(ref.key, ref.size):
            raise BlobDamaged(
                _damaged(ref.key, self.path(ref.key), f"{size - TRAILER_SIZE} bytes instead of {ref.size}")
                if size != ref.size + TRAILER_SIZE
                else _damaged(ref.key, self.path(ref.key), "its last bytes are not what was written")
            )

    # -- writing -----------------------------------------------------------------------------------

    def write(self, blob: Blob) -> BlobRef:
        temporary = self.prepare(blob)
        if temporary is not None:
            try:
                file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                try:
                    for part in (*blob.parts, _trailer(blob.key, blob.size)):
                        _write_all(file, part)
                    os.fsync(file)
                finally:
                    os.close(file)
                self.publish(temporary, blob)
            except OSError as error:
                raise cannot_write(self.root, error) from error
            finally:
                _forget(temporary)  # there is one only where something failed
        return BlobRef(blob.key, blob.size)

    def prepare(self, blob: Blob) -> str | None:
        """Where to write the blob before it is published; None where it is there already, and durable."""
        target = self.path(blob.key)
        try:
            if _size(target) == blob.size + TRAILER_SIZE:  # another size: damaged, and written anew
                # Another process may be between its rename and this.
                _sync_directory(os.path.dirname(target))  # noqa: PTH120
                return None
            os.makedirs(self._tmp, exist_ok=True)  # noqa: PTH103
        except OSError as error:
            raise cannot_write(self.root, error) from error
        return f"{self._tmp}/{blob.key.hex()[:16]}.{os.getpid()}.{next(_serial)}"

    def publish(self, temporary: str, blob: Blob) -> None:
        """Give a file that is on the disk its name. Raises ``OSError``."""
        target = self.path(blob.key)
        directory = os.path.dirname(target)  # noqa: PTH120
        try:
            os.replace(temporary, target)  # noqa: PTH105
        except FileNotFoundError:
            os.makedirs(directory, exist_ok=True)  # noqa: PTH103
            _sync_directory(self._blobs)
            _sync_directory(str(self.root))
            os.replace(temporary, target)  # noqa: PTH105
        _sync_directory(directory)

    def write_all(self, blobs: Sequence[Blob]) -> list[BlobRef]:
        return [self.write(blob) for blob in blobs]

    def missing(self, keys: Sequence[BlobKey]) -> frozenset[BlobKey]:
        """Those that are neither a file nor in the database."""
        without_file = [key for key in keys if _size(self.path(key)) is None]
        return frozenset(without_file).difference(self._small(without_file))

    # -- for checks of the whole store ---------------------------------------------------------------

    def files(self) -> Iterator[tuple[str, BlobKey | None]]:
        """The paths of all files where blobs are, with their keys; None for what has no blob's name."""
        for directory, _, names in sorted(os.walk(self._blobs)):
            for name in sorted(names):
                path = f"{directory}/{name}"
                try:
                    key = bytes.fromhex(name)
                except ValueError:
                    yield path, None
                else:
                    yield path, key if path == self.path(key) and len(key) == 32 else None

    def check(self, key: BlobKey) -> None:
        """Hash a blob's file again, in pieces. Raises ``BlobDamaged`` and ``BlobNotFound``."""
        size = max(0, (_size(self.path(key)) or 0) - TRAILER_SIZE)
        ref = BlobRef(key, size)
        file = self._open(ref)
        try:
            self._check_trailer(file, ref)
            digest = sha256()
            for offset in range(0, size, PIECE):
                digest.update(os.pread(file, min(PIECE, size - offset), offset))
        finally:
            os.close(file)
        if digest.digest() != key:
            raise BlobDamaged(_damaged(key, self.path(key), WRONG_HASH))

    def sweep(self, older_than: float) -> None:
        """Remove what died while writing left under ``tmp/``: files older than so many seconds."""
        try:
            with os.scandir(self._tmp) as entries:
                for entry in entries:
                    if time.time() - entry.stat().st_mtime > older_than:
                        _forget(entry.path)
        except OSError:  # no such directory, or read-only: nothing to tidy
            return


class LocalBlobStore:
    """The same for the event loop, ``protocols.BlobStore``.

    What is small goes in one hop to a thread for a whole batch; large blobs are streamed in pieces, so that they
    take turns with other work and a cancelled ``put`` ends soon.
    """

    def __init__(self, core: LocalBlobs) -> None:
        self._core = core

    async def put(self, blobs: Sequence[Blob]) -> list[BlobRef]:
        import asyncio

        at_once = [blob for blob in blobs if blob.size < PIECE]
        if at_once:
            await asyncio.to_thread(self._core.write_all, at_once)
        for blob in blobs:
            if blob.size >= PIECE:
                await self._stream(blob)
        return [BlobRef(blob.key, blob.size) for blob in blobs]

    async def _stream(self, blob: Blob) -> None:
        """A cancellation ends it after the piece that is being written: a thread can't be stopped in the middle, and
        its file must not be closed before."""
        import asyncio

        stopping = asyncio.Event()
        writing = asyncio.ensure_future(self._write(blob, stopping))
        writing.add_done_callback(_looked_at)
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            stopping.set()
            await asyncio.wait((writing,))
            raise

    async def _write(self, blob: Blob, stopping: asyncio.Event) -> None:
        import asyncio

        import aiofiles

        core = self._core
        temporary = await asyncio.to_thread(core.prepare, blob)
        if temporary is None:
            return
        try:
            async with aiofiles.open(temporary, "xb", buffering=0) as file:
                for piece in _pieces(blob):
                    rest = piece
                    while rest and not stopping.is_set():
                        rest = rest[await file.write(rest) :]
                if not stopping.is_set():
                    await asyncio.to_thread(os.fsync, file.fileno())
            if not stopping.is_set():
                await asyncio.to_thread(core.publish, temporary, blob)
        except OSError as error:
            raise cannot_write(core.root, error) from error
        finally:
            # There is one only where it failed; removing a large one takes a while.
            await asyncio.to_thread(_forget, temporary)

    async def get(self, refs: Sequence[BlobRef]) -> AsyncIterator[tuple[BlobRef, bytes | memoryview]]:
        import asyncio

        for batch in _batches(refs):
            for found in await asyncio.to_thread(self._core.read_all, batch):
                yield found

    async def missing(self, keys: Sequence[BlobKey]) -> frozenset[BlobKey]:
        import asyncio

        return await asyncio.to_thread(self._core.missing, keys)


def _looked_at(writing: asyncio.Future[None]) -> None:
    """A caller that was cancelled hears of that, not of an error that came meanwhile."""
    if not writing.cancelled():
        writing.exception()


def _pieces(blob: Blob) -> Iterator[memoryview]:
    for part in (*blob.parts, _trailer(blob.key, blob.size)):
        view = memoryview(part).cast("B")
        for start in range(0, len(view), PIECE):
            yield view[start : start + PIECE]


def _batches(refs: Sequence[BlobRef]) -> Iterator[list[BlobRef]]:
    """Few enough that their content fits into memory well."""
    batch: list[BlobRef] = []
    size = 0
    for ref in refs:
        batch.append(ref)
        size += ref.size if ref.size < MAPPED else 0
        if size >= PIECE or len(batch) >= READ_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


# -- files -----------------------------------------------------------------------------------------


def _trailer(key: BlobKey, size: int) -> bytes:
    return _TRAILER.pack(TRAILER_MAGIC, size, key)


def _check(ref: BlobRef, content: bytes | memoryview, where: str) -> None:
    if len(content) != ref.size:
        raise BlobDamaged(_damaged(ref.key, where, f"{len(content)} bytes instead of {ref.size}"))
    if sha256(content).digest() != ref.key:
        raise BlobDamaged(_damaged(ref.key, where, WRONG_HASH))


def _damaged(key: BlobKey, where: str, what: str) -> str:
    return (
        f"Blob {key.hex()} is damaged: {where}: {what}. Restore the file from a backup, or delete it and run the "
        "task that made it again (`asyncflow verify` lists all that is damaged)."
    )


def _read_whole(file: int, size: int) -> bytes | memoryview:
    if size <= READ_ONLY:
        return os.pread(file, size, 0)
    buffer = memoryview(bytearray(size))
    with open(file, "rb", buffering=0, closefd=False) as reader:
        position = 0
        while done := reader.readinto(buffer[position:]):
            position += done
    return buffer


def _write_all(file: int, part: bytes | memoryview) -> None:
    view = memoryview(part).cast("B")
    while view:
        view = view[os.write(file, view) :]


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except FileNotFoundError:
        return None


def _sync_directory(path: str) -> None:
    """Make renames and new files in it durable."""
    directory = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _forget(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except OSError:
        return


def cannot_write(root: Path, error: OSError) -> StoreError:
    """What to tell the user when a file of the store can't be written."""
    where = error.filename or root
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"The disk of the store {root} is full ({error.strerror}). Free some space there, or choose another place "
            "with ASYNCFLOW_STORE or --store; what was reported as done is kept."
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreError(
            f"The store {root} can't be written ({where}: {error.strerror}). Make it writable, or choose another place "
            "with ASYNCFLOW_STORE or --store."
        )
    return StoreError(f"The store {root} can't be written: {where}: {error.strerror or error}.")
