"""What every blob store does, whatever it is made of. A new store starts by passing this."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from hashlib import sha256

import numpy as np
import pytest

from asyncflow.errors import BlobDamaged, BlobNotFound
from asyncflow.events import BlobRef, RunId
from asyncflow.protocols import Blob, RunRecord, SmallBlob
from asyncflow.store.artifacts import SMALL, PartialAccess
from asyncflow.store.blobs import local as local_blobs
from asyncflow.store.blobs.memory import MemoryBlobs, MemoryBlobStore
from asyncflow.store.local import LocalStore
from asyncflow.store.metadata.memory import MemoryMetadata
from asyncflow.store.serializers import blob_of, from_buffer, to_blob

pytestmark = pytest.mark.anyio

RUN: RunId = "1"


class Memory:
    """The stores in memory, put together as a local store is."""

    def __init__(self):
        self.metadata = self.reader = MemoryMetadata()
        self.blobs = MemoryBlobs(self.reader.small_blobs)
        self.blob_store = MemoryBlobStore(self.blobs)

    def close(self):
        pass


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["memory", "local"])
def store(request, tmp_path):
    store = Memory() if request.param == "memory" else LocalStore.open(tmp_path / ".asyncflow")
    yield store
    store.close()


async def put_small(store, *blobs):
    """Small blobs come into a store with what is written to its metadata."""
    small = [SmallBlob(blob.key, b"".join(blob.parts)) for blob in blobs]
    await store.metadata.create_run(RunRecord(flow_name="F", run_id=RUN, created=1.0), small)


async def gathered(answers):
    return [(ref, bytes(content)) async for ref, content in answers]


SIZES = [0, 1, SMALL, SMALL + 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000]


@pytest.mark.parametrize("size", SIZES)
async def test_a_blob_comes_back(store, size):
    body = os.urandom(size)
    blob = blob_of([body[: size // 2], memoryview(body)[size // 2 :]])
    (ref,) = await store.blob_store.put([blob])
    assert ref == BlobRef(sha256(body).digest(), size)
    assert await gathered(store.blob_store.get([ref])) == [(ref, body)]
    assert [(found, bytes(content)) for found, content in store.blobs.read([ref])] == [(ref, body)]


async def test_many_come_in_the_order_of_the_question(store):
    blobs = [blob_of([f"{i}".encode() * (1 if i % 3 else SMALL)]) for i in range(600)]
    small = [blob for blob in blobs if blob.size <= SMALL]
    await put_small(store, *small)
    await store.blob_store.put([blob for blob in blobs if blob.size > SMALL])
    refs = [BlobRef(blob.key, blob.size) for blob in reversed(blobs)]
    asked = [*refs, *refs[:5]]
    assert await gathered(store.blob_store.get(asked)) == [
        (ref, b"".join(blob.parts)) for ref, blob in zip(asked, [*blobs[::-1], *blobs[:-6:-1]], strict=True)
    ]


async def test_nothing_asked_is_nothing_found(store):
    assert await gathered(store.blob_store.get([])) == []
    assert await store.blob_store.put([]) == []
    assert await store.blob_store.missing([]) == frozenset()


async def test_putting_again_changes_nothing(store):
    blob = to_blob("x" * 50_000, "value")
    first = await store.blob_store.put([blob])
    assert await store.blob_store.put([blob, blob]) == first * 2
    assert store.blobs.write(blob) == first[0]
    assert await gathered(store.blob_store.get(first)) == [(first[0], b"".join(blob.parts))]


async def test_what_is_missing_is_known_and_named(store):
    here, small, absent = to_blob("x" * 50_000, "v"), to_blob(5, "v"), to_blob(6, "v")
    await put_small(store, small)
    await store.blob_store.put([here])
    assert await store.blob_store.missing([here.key, small.key, absent.key]) == {absent.key}
    for access in (
        lambda: list(store.blobs.read([BlobRef(absent.key, absent.size)])),
        lambda: list(store.blobs.read([BlobRef(absent.key, 50_000)])),
        lambda: store.blobs.read_part(BlobRef(absent.key, 50_000), 0, 5),
    ):
        with pytest.raises(BlobNotFound, match=absent.key.hex()):
            access()
    with pytest.raises(BlobNotFound):
        await gathered(store.blob_store.get([BlobRef(absent.key, absent.size)]))


async def test_what_was_found_before_a_missing_one_is_delivered(store):
    small = to_blob(5, "v")
    await put_small(store, small)
    answers = store.blobs.read([BlobRef(small.key, small.size), BlobRef(b"k" * 32, 3)])
    assert next(answers)[0].key == small.key
    with pytest.raises(BlobNotFound):
        next(answers)


async def test_a_ref_of_another_size_is_damage(store):
    small, large = to_blob(5, "v"), to_blob("x" * 50_000, "v")
    await put_small(store, small)
    await store.blob_store.put([large])
    for blob in (small, large):
        with pytest.raises(BlobDamaged, match=blob.key.hex()):
            list(store.blobs.read([BlobRef(blob.key, blob.size + 1)]))


async def test_a_key_that_is_not_the_hash_is_damage(store):
    for wrong in (Blob(b"k" * 32, (b"some content",)), Blob(b"l" * 32, (b"x" * 50_000,))):
        (ref,) = await store.blob_store.put([wrong])
        with pytest.raises(BlobDamaged, match=wrong.key.hex()):
            list(store.blobs.read([ref]))


async def test_a_part_can_be_read_alone(store):
    assert isinstance(store.blobs, PartialAccess)
    body = os.urandom(100_000)
    (ref,) = await store.blob_store.put([blob_of([body])])
    assert store.blobs.read_part(ref, 70_000, 10) == body[70_000:70_010]
    assert store.blobs.read_part(ref, 0, 100_000) == body


async def test_arrays_of_two_loads_are_independent_and_writable(store, monkeypatch):
    monkeypatch.setattr(local_blobs, "MAPPED", 4 << 20)  # both sides of it, without large files
    for length in (1000, 300_000, 800_000):
        (ref,) = await store.blob_store.put([to_blob(np.zeros(length), "v")])
        first, second = (from_buffer(next(iter(store.blobs.read([ref])))[1]) for _ in range(2))
        first += 1
        assert second.sum() == 0
        assert from_buffer(next(iter(store.blobs.read([ref])))[1]).sum() == 0


async def test_threads_and_tasks_write_and_read_at_once(store):
    blobs = [to_blob(bytes([i]) * 40_000, "v") for i in range(20)]
    errors = []

    def work():
        try:
            refs = [store.blobs.write(blob) for blob in blobs]
            assert [bytes(body) for _, body in store.blobs.read(refs)] == [b"".join(blob.parts) for blob in blobs]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    answers = await asyncio.gather(*(store.blob_store.put(blobs) for _ in range(4)))
    for thread in threads:
        thread.join()
    assert errors == []
    assert answers == [answers[0]] * 4


async def test_a_cancelled_put_leaves_whole_blobs_or_none(store):
    blobs = [to_blob(bytes([i]) * 40_000, "v") for i in range(20)]
    for pauses in range(4):
        putting = asyncio.ensure_future(store.blob_store.put(blobs))
        for _ in range(pauses):
            await asyncio.sleep(0)
        putting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await putting
        missing = await store.blob_store.missing([blob.key for blob in blobs])
        there = [BlobRef(blob.key, blob.size) for blob in blobs if blob.key not in missing]
        assert len(await gathered(store.blob_store.get(there))) == len(there)
    assert len(await store.blob_store.put(blobs)) == 20


async def test_a_large_put_that_is_cancelled_ends_soon_and_leaves_nothing_half(store, tmp_path):
    large = blob_of([os.urandom(1 << 20)] * 24)
    for pauses in (0, 1, 3, 10, 30):
        putting = asyncio.ensure_future(store.blob_store.put([large]))
        for _ in range(pauses):
            await asyncio.sleep(0.0005)  # lets it come some way; any way will do
        putting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await putting
        assert list(tmp_path.glob(".asyncflow/tmp/*")) == []
    (ref,) = await store.blob_store.put([large])
    assert await gathered(store.blob_store.get([ref])) == [(ref, b"".join(large.parts))]
