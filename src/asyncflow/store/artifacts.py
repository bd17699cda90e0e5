"""Manifests, and the loader that turns their entries back into values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from asyncflow.codec import decode_versioned, encode_versioned
from asyncflow.errors import AsyncflowError, StoreError
from asyncflow.events import BlobKey, BlobRef
from asyncflow.protocols import Blob, BlobAccess
from asyncflow.store.serializers import (
    ITEMS_HEAD_SIZE,
    blob_of,
    from_buffer,
    item_count,
    read_item,
    read_item_from,
)

SMALL = 16 * 1024
"""Blobs of at most so many bytes travel with a task's ending and live in the metadata database."""
WHOLE = 1 << 20
"""Packed lists of at most so many bytes are read, checked and kept as a whole."""
COMPANION = "[]"
"""``items[]`` is the packed form of ``items``: internal, hidden from readers."""


class Manifest(Struct, frozen=True, array_like=True):
    """All artifacts of a task by name, those it inherited included."""

    artifacts: dict[str, BlobRef]

    def encode(self) -> bytes:
        return encode_versioned(self)

    @classmethod
    def decode(cls, body: bytes | memoryview) -> Manifest:
        """Raises ``StoreError`` and ``StoreVersionError``."""
        return decode_versioned(body, _decode_manifest, "manifest")

    def to_blob(self) -> Blob:
        return blob_of([self.encode()])


_decode_manifest = msgspec.msgpack.Decoder(Manifest).decode


@runtime_checkable
class PartialAccess(Protocol):
    """A blob access that can also read a piece of a blob, whose hash is then not checked."""

    def read_part(self, ref: BlobRef, offset: int, size: int) -> bytes: ...


class _Recent:
    """The content of blobs used of late, up to so many bytes. Content only, never values: they can be changed."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._size = 0
        self._content: OrderedDict[BlobKey, bytes] = OrderedDict()

    def get(self, key: BlobKey) -> bytes | None:
        content = self._content.get(key)
        if content is not None:
            self._content.move_to_end(key)
        return content

    def keep(self, key: BlobKey, content: bytes) -> None:
        if len(content) > self._capacity // 4 or key in self._content:
            return
        self._content[key] = content
        self._size += len(content) + 200
        while self._size > self._capacity:
            _, dropped = self._content.popitem(last=False)
            self._size -= len(dropped) + 200


class ArtifactLoader:
    """Loads manifests and artifacts; keeps the content of small blobs that were used of late.

    Not for several threads at once. Errors name the artifact, the blob's key and where it was looked for.
    """

    def __init__(self, blobs: BlobAccess, *, capacity: int = 8 << 20) -> None:
        self._blobs = blobs
        self._recent = _Recent(capacity)

    def manifest(self, ref: BlobRef) -> Manifest:
        return Manifest.decode(self._content(ref))

    def manifests(self, refs: Sequence[BlobRef]) -> list[Manifest]:
        """In the order of ``refs``, read in one go."""
        self.prefetch(refs)
        return [self.manifest(ref) for ref in refs]

    def prefetch(self, refs: Iterable[BlobRef]) -> None:
        """Read the small ones among ``refs`` in one go, for the calls that follow."""
        wanted = [ref for ref in refs if ref.size <= SMALL and self._recent.get(ref.key) is None]
        for ref, content in self._blobs.read(wanted):
            self._recent.keep(ref.key, bytes(content))

    def load(self, ref: BlobRef, name: str) -> Any:
        """The value of artifact ``name``; a new one with each call."""
        with _Naming(ref, name):
            return from_buffer(self._content(ref))

    def load_item(self, ref: BlobRef, name: str, index: int) -> Any:
        """Item ``index`` of the packed list ``ref``; the others aren't read where the store can help it.

        Raises ``IndexError``, too.
        """
        with _Naming(ref, name, passing=IndexError):
            if ref.size > WHOLE and isinstance(self._blobs, PartialAccess):
                access = self._blobs
                return read_item_from(lambda offset, size: access.read_part(ref, offset, size), index)
            return read_item(self._content(ref), index)

    def item_count(self, ref: BlobRef, name: str) -> int:
        """The number of items of the packed list ``ref``."""
        with _Naming(ref, name):
            if ref.size > WHOLE and isinstance(self._blobs, PartialAccess):
                return item_count(self._blobs.read_part(ref, 0, ITEMS_HEAD_SIZE))
            return item_count(self._content(ref))

    def _content(self, ref: BlobRef) -> bytes | memoryview:
        content = self._recent.get(ref.key)
        if content is not None:
            return content
        found: bytes | memoryview = next(iter(self._blobs.read((ref,))))[1]
        if isinstance(found, bytes) and ref.size <= WHOLE:
            self._recent.keep(ref.key, found)
        return found


class _Naming:
    """Says in an error which artifact couldn't be loaded."""

    __slots__ = ("_name", "_passing", "_ref")

    def __init__(self, ref: BlobRef, name: str, *, passing: type[Exception] | tuple[()] = ()) -> None:
        self._ref = ref
        self._name = name
        self._passing = passing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, self._passing):
            return
        about = f"Artifact {self._name!r} (blob {self._ref.key.hex()}) can't be loaded"
        if isinstance(error, AsyncflowError):
            raise type(error)(f"{about}: {error}") from error
        raise StoreError(
            f"{about}: unpickling raised {type(error).__name__}: {error}. Its classes must be importable here, "
            "in a version that fits the one it was written with."
        ) from error
