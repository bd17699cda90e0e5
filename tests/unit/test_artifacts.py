"""Manifests, and the loader: what it reads, what it keeps, and what it says when that fails."""

from __future__ import annotations

import pytest

from asyncflow.errors import BlobDamaged, BlobNotFound, StoreError, StoreVersionError
from asyncflow.events import BlobRef
from asyncflow.store.artifacts import SMALL, WHOLE, ArtifactLoader, Manifest
from asyncflow.store.blobs.memory import MemoryBlobs
from asyncflow.store.serializers import pack_items, to_blob


class CountingBlobs(MemoryBlobs):
    """Counts what is asked of it."""

    def __init__(self):
        super().__init__()
        self.reads = []
        self.parts = []

    def read(self, refs):
        self.reads.append(len(refs))
        return super().read(refs)

    def read_part(self, ref, offset, size):
        self.parts.append(size)
        return super().read_part(ref, offset, size)


@pytest.fixture
def blobs():
    return CountingBlobs()


def stored(blobs, value):
    return blobs.write(to_blob(value, "value"))


def test_a_manifest_comes_back():
    manifest = Manifest({"a": BlobRef(b"k" * 32, 5), "items[]": BlobRef(b"l" * 32, 1 << 40, "pack", 7)})
    assert Manifest.decode(manifest.encode()) == manifest
    assert manifest.to_blob().parts == (manifest.encode(),)
    with pytest.raises(StoreVersionError, match="manifest has version 7"):
        Manifest.decode(b"\x07" + manifest.encode()[1:])


def test_every_load_gives_a_value_of_its_own(blobs):
    ref = stored(blobs, {"a": [1]})
    loader = ArtifactLoader(blobs)
    loader.load(ref, "x")["a"].append(2)
    assert loader.load(ref, "x") == {"a": [1]}
    assert blobs.reads == [1]


def test_prefetch_reads_in_one_go_what_is_small_and_not_there(blobs):
    refs = [stored(blobs, value) for value in range(5)]
    large = stored(blobs, b"x" * (SMALL + 1))
    loader = ArtifactLoader(blobs)
    loader.load(refs[0], "x")
    loader.prefetch([*refs, large])
    assert [loader.load(ref, "x") for ref in refs] == list(range(5))
    assert blobs.reads == [1, 4]


def test_manifests_are_read_in_one_go_and_in_order(blobs):
    manifests = [Manifest({f"a{i}": BlobRef(b"k" * 32, i)}) for i in range(5)]
    refs = [blobs.write(manifest.to_blob()) for manifest in manifests]
    assert ArtifactLoader(blobs).manifests([*refs, refs[0]]) == [*manifests, manifests[0]]
    assert len(blobs.reads) == 1


def test_what_is_kept_is_bounded(blobs):
    refs = [stored(blobs, f"{i:1000}") for i in range(100)]
    loader = ArtifactLoader(blobs, capacity=20_000)
    for ref in refs:
        loader.load(ref, "x")
    assert loader._recent._size <= 20_000
    blobs.reads.clear()
    loader.load(refs[-1], "x")
    assert blobs.reads == []
    loader.load(refs[0], "x")
    assert blobs.reads == [1]


def test_an_item_of_a_small_list_is_read_from_what_is_kept(blobs):
    ref = blobs.write(pack_items(list("abc"), "items"))
    loader = ArtifactLoader(blobs)
    assert [loader.load_item(ref, "items", i) for i in range(3)] == list("abc")
    assert loader.item_count(ref, "items") == 3
    assert blobs.reads == [1]


def test_an_item_of_a_large_list_is_read_alone(blobs):
    ref = blobs.write(pack_items([f"{i:1000}" for i in range(2000)], "items"))
    assert ref.size > WHOLE
    loader = ArtifactLoader(blobs)
    assert loader.load_item(ref, "items", 1234) == f"{1234:1000}"
    assert loader.item_count(ref, "items") == 2000
    assert blobs.reads == []
    assert sum(blobs.parts) < 2000
    with pytest.raises(IndexError):
        loader.load_item(ref, "items", 2000)


def test_errors_name_the_artifact_and_the_blob(blobs):
    ref = BlobRef(b"k" * 32, 5)
    with pytest.raises(BlobNotFound, match=f"Artifact 'model' \\(blob {ref.key.hex()}\\) can't be loaded: .*isn't in"):
        ArtifactLoader(blobs).load(ref, "model")
    good = stored(blobs, 5)
    blobs.content[good.key] = b"x" * good.size
    with pytest.raises(BlobDamaged, match="Artifact 'model'"):
        ArtifactLoader(blobs).load(good, "model")


class Vanishing:
    def __reduce__(self):
        return (vanish, ())


def vanish():
    raise AttributeError("module 'sklearn' has no attribute 'Vanished'")


def test_an_error_of_unpickling_says_what_it_was(blobs):
    ref = stored(blobs, [Vanishing()])
    with pytest.raises(StoreError, match=r"Artifact 'model' .* unpickling raised AttributeError: module 'sklearn'"):
        ArtifactLoader(blobs).load(ref, "model")


def test_an_index_error_of_unpickling_is_no_index_error_of_ours(blobs):
    ref = stored(blobs, 5)
    with pytest.raises(StoreError):
        ArtifactLoader(blobs).load_item(ref, "items", 0)
