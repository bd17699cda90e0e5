"""Values to blobs and back.

A blob holds one value::

    magic 4 | format 1 | name length 1 | buffer count 4 | body length 8 | serializer's name
    buffer table: 8 bytes each, the length; the top bit says that the buffer was read-only
    body (the pickle)
    buffers, each at a multiple of 64 bytes

Pickle protocol 5 hands large buffers (numpy arrays, Arrow columns) over without a copy: they stand behind
the pickle as they are, so that a reader gets them as views of a memory-mapped file. What pickle can't do,
cloudpickle does: lambdas, functions, classes that live in ``__main__``.

Another form of a type is a ``Serializer`` under ``register``. Its name stands in the blob, so a reader
finds it again.
"""

from __future__ import annotations

import pickle
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias, cast
from zlib import crc32

from asyncflow.errors import BlobDamaged, StoreError, StoreVersionError, UnserializableArtifact
from asyncflow.protocols import Blob

Buffer: TypeAlias = bytes | bytearray | memoryview
Part: TypeAlias = bytes | memoryview

MAGIC = b"AFv\n"
FORMAT = 1
ALIGNMENT = 64
OUT_OF_BAND = 16 * 1024
"""Buffers of fewer bytes stand inside the pickle: copying them costs less than a table entry and a page."""

_HEAD = struct.Struct("<4sBBIQ")
_READ_ONLY = 1 << 63
_PADDING = bytes(ALIGNMENT)


class Serializer(NamedTuple):
    """One way to turn values into a body and buffers.

    ``dump(value)`` gives the body and the buffers that stand outside of it; ``load(body, buffers)`` is the
    reverse. ``body`` comes as a view of which nothing may be kept; buffers may be kept, and are writable
    where they were.
    """

    name: str
    dump: Callable[[Any], tuple[Buffer, Sequence[memoryview]]]
    load: Callable[[Buffer, Sequence[memoryview]], Any]


# -- the built-in serializers ----------------------------------------------------------------------


def _dump_pickle(value: Any) -> tuple[bytes, list[memoryview]]:
    buffers: list[memoryview] = []

    def take(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous: pickle copies it
            return True
        if view.nbytes < OUT_OF_BAND:
            return True
        buffers.append(view)
        return False

    try:
        body = pickle.dumps(value, 5, buffer_callback=take)
        # A class or function of __main__ would be looked up in the reader's own __main__.
        if b"__main__" not in body:
            return body, buffers
    except Exception:  # noqa: S110 -- cloudpickle tries next, and its error is the one that counts
        pass
    buffers.clear()
    return cloudpickle().dumps(value, 5, buffer_callback=take), buffers


def cloudpickle() -> Any:
    """The module, imported where it is needed first."""
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    return cloudpickle


def _load_pickle(body: Buffer, buffers: Sequence[memoryview]) -> Any:
    return pickle.loads(body, buffers=buffers) if buffers else pickle.loads(body)


def _dump_bytes(value: bytes) -> tuple[Buffer, Sequence[memoryview]]:
    return value, ()


def _load_bytes(body: Buffer, _: Sequence[memoryview]) -> bytes:
    return bytes(body)


PICKLE = Serializer("pickle", _dump_pickle, _load_pickle)
BYTES = Serializer("bytes", _dump_bytes, _load_bytes)

_by_type: dict[type, Serializer] = {bytes: BYTES}
_by_name: dict[bytes, Serializer] = {b"pickle": PICKLE, b"bytes": BYTES}


def register(serializer: Serializer, *types: type) -> None:
    """Use ``serializer`` for values of exactly these types. Readers must have registered it too."""
    name = serializer.name.encode("ascii")
    if not 0 < len(name) < 256:
        raise ValueError(f"A serializer's name has 1 to 255 ASCII characters, not {len(name)}.")
    _by_name[name] = serializer
    for type_ in types:
        _by_type[type_] = serializer


# -- values and blobs ------------------------------------------------------------------------------


def to_blob(value: object, name: str) -> Blob:
    """``value`` as a blob; its large buffers are not copied, so they must not change before it is written.

    Raises ``UnserializableArtifact``, which names the artifact ``name`` and the member at fault.
    """
    serializer = _by_type.get(type(value), PICKLE)
    try:
        body, buffers = serializer.dump(value)
    except Exception as error:
        from asyncflow.store.unserializable import explain

        raise UnserializableArtifact(explain(value, name, error)) from error
    return blob_of(_layout(serializer.name.encode("ascii"), body, buffers))


def _layout(name: bytes, body: Buffer, buffers: Sequence[memoryview]) -> list[Part]:
    head = _HEAD.pack(MAGIC, FORMAT, len(name), len(buffers), len(body)) + name
    if not buffers:
        if len(body) <= OUT_OF_BAND:
            return [head + body]
        return [head, body if isinstance(body, bytes) else memoryview(body)]
    table = array("Q", (view.nbytes | (_READ_ONLY if view.readonly else 0) for view in buffers))
    parts: list[Part] = [head + _little_endian(table), body if isinstance(body, bytes) else memoryview(body)]
    position = len(parts[0]) + len(body)
    for view in buffers:
        padding = -position % ALIGNMENT
        if padding:
            parts.append(_PADDING[:padding])
        parts.append(view)
        position += padding + view.nbytes
    return parts


def _little_endian(table: array[int]) -> bytes:
    if sys.byteorder == "big":
        table = table[:]
        table.byteswap()
    return table.tobytes()


def blob_of(parts: Sequence[Part]) -> Blob:
    """Content in parts, under the key that its hash gives."""
    digest = sha256(parts[0])
    for part in parts[1:]:
        digest.update(part)
    return Blob(digest.digest(), tuple(parts))


def from_buffer(buffer: Buffer) -> Any:
    """The value of a blob's content.

    Where ``buffer`` is writable (a copy-on-write mapping, a ``bytearray``), large arrays in the value are
    views of it: load a second value from a second buffer. Where it is read-only they are copies, so that
    they are as writable as they were.

    Raises ``StoreError`` for what isn't a value's blob; what unpickling raises comes as it is.
    """
    if len(buffer) < _HEAD.size or bytes(buffer[:4]) != MAGIC:
        raise StoreError("This blob doesn't hold a value: it doesn't begin as one.")
    _, form, name_length, count, body_length = _HEAD.unpack_from(buffer)
    if form != FORMAT:
        raise StoreVersionError(
            f"This value has format {form}, but this asyncflow reads format {FORMAT}: "
            "it was written by a newer asyncflow. Upgrade asyncflow, then try again."
        )
    start = _HEAD.size + name_length
    name = bytes(buffer[_HEAD.size : start])
    serializer = _by_name.get(name)
    if serializer is None:
        raise StoreError(
            f"This value was written by the serializer {name.decode('ascii', 'replace')!r}, which isn't registered "
            "here: import the package that registers it, then try again."
        )
    view = memoryview(buffer)
    body_start = start + 8 * count
    position = body_start + body_length
    body = view[body_start:position]
    if len(body) != body_length:
        raise BlobDamaged("This value is cut short.")
    buffers = _buffers(view, start, count, position) if count else ()
    return serializer.load(body, buffers)


def _buffers(view: memoryview, start: int, count: int, position: int) -> list[memoryview]:
    buffers: list[memoryview] = []
    for (entry,) in struct.iter_unpack("<Q", view[start : start + 8 * count]):
        size = entry & ~_READ_ONLY
        position += -position % ALIGNMENT
        part = view[position : position + size]
        if len(part) != size:
            raise BlobDamaged("This value is cut short.")
        position += size
        if entry & _READ_ONLY:
            buffers.append(part.toreadonly())
        else:
            buffers.append(memoryview(bytearray(part)) if part.readonly else part)
    return buffers


# -- packed items: the frozen list of a fan-out ----------------------------------------------------

ITEMS_MAGIC = b"AFi\n"
_ITEMS_HEAD = struct.Struct("<4sBBxxQ")  # magic, format, bytes of an offset, number of items
ITEMS_HEAD_SIZE = _ITEMS_HEAD.size
_CHECKSUM = struct.Struct("<I")
BLOW_UP = 4
ALLOWANCE = 1 << 20
FOR_EACH = 32
"""Bytes that standing alone costs an item of any size: a pickle's frame, a checksum, an offset."""


def pack_items(items: Sequence[Any], name: str) -> Blob | None:
    """A list from which ``read_item`` takes one item without reading or unpickling the others.

    ::

        magic 4 | format 1 | offset width 1 (4 or 8) | 2 unused | count 8
        count + 1 offsets from the first item's beginning
        the items: CRC-32 4 | one pickle, for an item is read without the blob's hash being checked

    None where that costs too much: where the items share large objects, which would be written with each
    of them (more than 4 times the list as a whole, plus 32 bytes for each item and 1 MiB).
    Raises ``UnserializableArtifact``, which names the item.
    """
    records: list[bytes] = []
    offsets = array("Q", [0])
    total, limit = 0, ALLOWANCE
    is_measured = False
    for index, item in enumerate(items):
        body = _dump_item(item, name, index)
        total += len(body) + _CHECKSUM.size
        if total > limit and not is_measured:
            is_measured = True
            limit = BLOW_UP * _pickled_size(items) + FOR_EACH * len(items) + ALLOWANCE
        if total > limit:
            return None
        records += (_CHECKSUM.pack(crc32(body)), body)
        offsets.append(total)
    width = 4 if total < 1 << 32 else 8
    table = _little_endian(array("I", offsets) if width == 4 else offsets)
    head = _ITEMS_HEAD.pack(ITEMS_MAGIC, FORMAT, width, len(offsets) - 1)
    return blob_of([b"".join((head, table, *records))])


def _dump_item(item: Any, name: str, index: int) -> bytes:
    try:
        body = pickle.dumps(item, 5)
        if b"__main__" not in body:
            return body
    except Exception:  # noqa: S110 -- cloudpickle tries next, and its error is the one that counts
        pass
    try:
        return cast("bytes", cloudpickle().dumps(item, 5))
    except Exception as error:
        from asyncflow.store.unserializable import explain

        raise UnserializableArtifact(explain(item, f"{name}[{index}]", error)) from error


def _pickled_size(value: Any) -> int:
    """Bytes of ``value`` as one pickle, without holding them."""
    counter = _Counter()
    try:
        pickle.Pickler(counter, 5).dump(value)
    except Exception:
        counter = _Counter()
        cloudpickle().CloudPickler(counter, 5).dump(value)
    return counter.size


class _Counter:
    """A file that keeps only its length."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, part: Any) -> int:
        size = memoryview(part).nbytes
        self.size += size
        return size


def item_count(buffer: Buffer) -> int:
    """How many items a packed list has. Its first ``ITEMS_HEAD_SIZE`` bytes are enough."""
    return _items_head(buffer)[1]


def _items_head(buffer: Buffer) -> tuple[int, int]:
    if len(buffer) < ITEMS_HEAD_SIZE or bytes(buffer[:4]) != ITEMS_MAGIC:
        raise StoreError("This blob isn't a packed list: it doesn't begin as one.")
    _, form, width, count = _ITEMS_HEAD.unpack_from(buffer)
    if form != FORMAT:
        raise StoreVersionError(
            f"This packed list has format {form}, but this asyncflow reads format {FORMAT}: "
            "it was written by a newer asyncflow. Upgrade asyncflow, then try again."
        )
    return width, count


def read_item(buffer: Buffer, index: int) -> Any:
    """Item ``index`` (from 0) of a packed list. Raises ``IndexError`` and ``BlobDamaged``."""
    return read_item_from(lambda offset, size: memoryview(buffer)[offset : offset + size], index)


def read_item_from(read: Callable[[int, int], Buffer], index: int) -> Any:
    """Likewise, of a packed list of which ``read(offset, size)`` gives parts."""
    width, count = _items_head(read(0, ITEMS_HEAD_SIZE))
    if not 0 <= index < count:
        raise IndexError(f"item {index} of a packed list of {count}")
    entry = read(ITEMS_HEAD_SIZE + index * width, 2 * width)
    if len(entry) != 2 * width:
        raise BlobDamaged("This packed list is cut short.")
    start, end = struct.unpack("<II" if width == 4 else "<QQ", entry)
    record = read(ITEMS_HEAD_SIZE + (count + 1) * width + start, end - start)
    body = memoryview(record)[_CHECKSUM.size :]
    if len(record) != end - start or _CHECKSUM.pack(crc32(body)) != record[: _CHECKSUM.size]:
        raise BlobDamaged(f"Item {index} of this packed list is damaged.")
    return pickle.loads(body)
