"""Blobs in memory: for tests, and for what must leave no trace on a disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from hashlib import sha256

from asyncflow.errors import BlobDamaged, BlobNotFound
from asyncflow.events import BlobKey, BlobRef
from asyncflow.protocols import Blob

SmallReader = Callable[[Sequence[BlobKey]], dict[BlobKey, bytes]]


def _nothing(_: Sequence[BlobKey]) -> dict[BlobKey, bytes]:
    return {}


class MemoryBlobs:
    """``protocols.BlobAccess`` in this process; ``small`` reads those that live in the metadata."""

    def __init__(self, small: SmallReader = _nothing) -> None:
        self.content: dict[BlobKey, bytes] = {}
        self._small = small

    def read(self, refs: Sequence[BlobRef]) -> Iterator[tuple[BlobRef, bytes | memoryview]]:
        for ref in refs:
            content = self.content.get(ref.key)
            if content is None:
                content = self._small((ref.key,)).get(ref.key)
            if content is None:
                raise BlobNotFound(f"Blob {ref.key.hex()} ({ref.size} bytes) isn't in this store in memory.")
            if len(content) != ref.size or sha256(content).digest() != ref.key:
                raise BlobDamaged(f"Blob {ref.key.hex()} is damaged: its content isn't what its key says.")
            yield ref, content

    def read_part(self, ref: BlobRef, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``; the hash isn't checked."""
        try:
            return self.content[ref.key][offset : offset + size]
        except KeyError:
            raise BlobNotFound(f"Blob {ref.key.hex()} ({ref.size} bytes) isn't in this store in memory.") from None

    def write(self, blob: Blob) -> BlobRef:
        content = b"".join(blob.parts)
        self.content[blob.key] = content
        return BlobRef(blob.key, len(content))

    def missing(self, keys: Sequence[BlobKey]) -> frozenset[BlobKey]:
        """Those that are neither here nor in the metadata."""
        absent = [key for key in keys if key not in self.content]
        return frozenset(absent).difference(self._small(absent))


class MemoryBlobStore:
    """``protocols.BlobStore`` over the same blobs."""

    def __init__(self, core: MemoryBlobs) -> None:
        self._core = core

    async def put(self, blobs: Sequence[Blob]) -> list[BlobRef]:
        return [self._core.write(blob) for blob in blobs]

    async def get(self, refs: Sequence[BlobRef]) -> AsyncIterator[tuple[BlobRef, bytes | memoryview]]:
        for found in self._core.read(refs):
            yield found

    async def missing(self, keys: Sequence[BlobKey]) -> frozenset[BlobKey]:
        return self._core.missing(keys)
