"""What the store does when the disk, another process or a kill gets in the way: nothing that was reported is lost,
no wrong value is given, and the error says what to do."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time

import numpy as np
import pytest
from store_rig import finished, journal, python, record, ref_of, small, succeeded

from asyncflow.errors import BlobDamaged, StoreError
from asyncflow.events import BlobRef
from asyncflow.protocols import LogLine
from asyncflow.store.artifacts import ArtifactLoader, Manifest
from asyncflow.store.blobs import local as local_blobs
from asyncflow.store.blobs.local import TRAILER_SIZE
from asyncflow.store.local import ABANDONED, DATABASE, LocalStore
from asyncflow.store.serializers import to_blob
from asyncflow.store.verify import verify_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def root(tmp_path):
    return tmp_path / ".asyncflow"


@pytest.fixture
def store(root):
    with LocalStore.open(root) as store:
        yield store


@pytest.fixture
def disk(tmp_path):
    """A disk of 1 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", os.fspath(place)]
    try:
        subprocess.run(mounting, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk of one's own can only be mounted by root")

    yield place
    subprocess.run(["umount", "-l", os.fspath(place)], check=True)


def remount(disk, option):
    subprocess.run(["mount", "-o", f"remount,{option}", os.fspath(disk)], check=True, capture_output=True)


# -- damage ----------------------------------------------------------------------------------------


def flip(path, position):
    with open(path, "r+b") as file:
        file.seek(position, os.SEEK_SET if position >= 0 else os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def cut(path, size):
    os.truncate(path, os.path.getsize(path) - size)


DAMAGES = {
    "a bit in the middle": lambda path: flip(path, 30_000),
    "a bit in the trailer": lambda path: flip(path, -1),
    "one byte less": lambda path: cut(path, 1),
    "no trailer": lambda path: cut(path, TRAILER_SIZE),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: os.truncate(path, os.path.getsize(path) + 1),
    "zeros at the end": lambda path: (cut(path, 4096), os.truncate(path, os.path.getsize(path) + 4096)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mapped"])
def test_a_damaged_blob_is_an_error_that_names_artifact_key_and_file(store, damage, mapped, monkeypatch):
    if mapped:
        monkeypatch.setattr(local_blobs, "MAPPED", 1000)
        if damage == "a bit in the middle":
            # The hash of a mapping is checked on request only.
            monkeypatch.setenv("ASYNCFLOW_VERIFY", "always")
    ref = store.blobs.write(to_blob(np.arange(10_000), "model"))
    path = store.blobs.path(ref.key)
    DAMAGES[damage](path)
    with pytest.raises(BlobDamaged) as caught:
        ArtifactLoader(store.blobs).load(ref, "model")
    for part in ("Artifact 'model'", ref.key.hex(), path, "is damaged", "asyncflow verify"):
        assert part in str(caught.value)
    (found,) = verify_store(store)
    assert found.where == path


def test_writing_a_damaged_blob_again_repairs_it(store):
    blob = to_blob("x" * 50_000, "v")
    ref = store.blobs.write(blob)
    cut(store.blobs.path(ref.key), 100)
    assert store.blobs.write(blob) == ref
    assert ArtifactLoader(store.blobs).load(ref, "v") == "x" * 50_000


async def test_a_damaged_small_blob_is_an_error(store):
    blob = to_blob({"a": "long enough to be found"}, "v")
    await store.metadata.create_run(record(), [small(blob)])
    with sqlite3.connect(store.root / DATABASE) as database:
        database.execute("UPDATE blobs SET content = CAST(replace(content, 'long', 'lung') AS BLOB)")
    database.close()
    with pytest.raises(BlobDamaged, match=rf"Artifact 'v'.*{blob.key.hex()} is damaged: the small blobs of"):
        ArtifactLoader(store.blobs).load(ref_of(blob), "v")
    assert [damage.problem for damage in verify_store(store)] == [
        f"Small blob {blob.key.hex()} doesn't have the hash that its key says."
    ]


async def test_verify_finds_what_tasks_refer_to_and_is_not_there(store):
    here, gone = to_blob("x" * 50_000, "here"), to_blob("y" * 50_000, "gone")
    tiny = to_blob(5, "tiny")
    manifest = Manifest({"here": ref_of(here), "gone": ref_of(gone), "tiny": ref_of(tiny)}).to_blob()
    await store.blob_store.put([here, gone])
    await store.metadata.create_run(record(), [small(manifest), small(tiny)])
    await store.metadata.append("1", 1, [succeeded(1, ref_of(manifest)), succeeded(2, ref_of(manifest))])
    assert list(verify_store(store)) == []
    os.unlink(store.blobs.path(gone.key))
    lost = BlobRef(b"q" * 32, 99)
    await store.metadata.append("1", 1, [succeeded(3, lost)])
    (store.root / "blobs/ab").mkdir()
    (store.root / "blobs/ab/stray").write_text("")
    assert {(damage.where, damage.problem.split(":")[0]) for damage in verify_store(store)} == {
        (str(store.root / "blobs/ab/stray"), "This file isn't a blob"),
        ("1/work/1/gone", f"The blob {gone.key.hex()} is missing or damaged."),
        ("1/work/2/gone", f"The blob {gone.key.hex()} is missing or damaged."),
        ("1/work/3", f"The manifest {lost.key.hex()} is missing or damaged"),
    }


def test_an_empty_store_has_no_damage(store):
    assert list(verify_store(store)) == []


async def test_a_damaged_journal_is_an_error_and_is_found(store):
    await store.metadata.create_run(record())
    await store.metadata.append("1", 1, [succeeded(1)])
    with sqlite3.connect(store.root / DATABASE) as database:
        database.execute("UPDATE journal SET events = x'01c1'")
    database.close()
    with pytest.raises(StoreError, match="journal can't be decoded"):
        await journal(store)
    assert next(damage.where for damage in verify_store(store)) == "run 1"


# -- disks that are read-only or full --------------------------------------------------------------


@pytest.mark.parametrize("inside", ["", "deeper/still"])
def test_a_store_under_a_file_is_refused_with_its_path(tmp_path, inside):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=rf"can't be a store at {tmp_path}/file.*: {tmp_path}/file is a file"):
        LocalStore.open(tmp_path / "file" / inside)


async def test_a_database_under_a_file_is_refused_with_its_path(tmp_path):
    (tmp_path / "file").write_text("")
    store = LocalStore(tmp_path / "file/store")
    with pytest.raises(StoreError, match=rf"The store {tmp_path}/file/store can't be written"):
        await store.metadata.create_run(record())
    with pytest.raises(StoreError, match=rf"The store {tmp_path}/file/store can't be written"):
        store.blobs.write(to_blob(5, "v"))
    assert store.reader.runs() == []
    store.close()


def test_a_store_that_is_not_there_is_not_made_for_reading(root):
    with pytest.raises(StoreError, match=r"There is no store at .*Run a flow there first"):
        LocalStore.open(root, create=False)
    assert LocalStore(root).reader.flows() == []
    assert not root.exists()


async def test_a_read_only_store_can_be_read_and_says_that_it_cannot_be_written(disk):
    large = to_blob("x" * 50_000, "v")
    with LocalStore.open(disk / ".asyncflow") as store:
        await store.metadata.create_run(record(), [small(to_blob(5, "v"))])
        await store.metadata.append("1", 1, [succeeded(1)])
        ref = store.blobs.write(large)
    remount(disk, "ro")
    with LocalStore.open(disk / ".asyncflow") as store:
        assert store.reader.run("1").run_id == "1"
        assert len(store.reader.tasks("1", "work")) == 1
        assert ArtifactLoader(store.blobs).load(ref_of(to_blob(5, "v")), "v") == 5
        assert ArtifactLoader(store.blobs).load(ref, "v") == "x" * 50_000
        for writing in (
            lambda: store.blobs.write(to_blob("y" * 50_000, "v")),
            lambda: store.reader.change_tags("1", add=["a"]),
            lambda: store.logs.writer("1").append(1, 0, [LogLine("stdout", 1.0, b"x")]),
        ):
            with pytest.raises(StoreError, match=r"can't be written.*(W|w)ritable, or choose another place"):
                writing()
        with pytest.raises(StoreError, match="can't be written"):
            await store.metadata.append("1", 1, [succeeded(2)])
    with pytest.raises(StoreError, match="can't be written"):
        LocalStore.open(disk / "another")


async def test_a_full_disk_loses_nothing_that_was_reported_and_the_store_goes_on(disk):
    content = iter(range(10**9))
    with LocalStore.open(disk / ".asyncflow") as store:
        await store.metadata.create_run(record())
        reported = []
        with pytest.raises(StoreError, match="is full"):
            while True:
                blob = to_blob(os.urandom(10_000), "v")
                serial = next(content)
                await store.metadata.append("1", 1, [succeeded(serial)], [small(blob)])
                reported.append((serial, ref_of(blob)))
        assert len(reported) > 5
        with pytest.raises(StoreError, match=r"disk of the store .* is full.*Free some space"):
            store.blobs.write(to_blob(os.urandom(500_000), "v"))
        with pytest.raises(StoreError, match=r"disk of the store .* is full.*Free some space"):
            await store.blob_store.put([to_blob(os.urandom(5_000_000), "v")])
        assert list((disk / ".asyncflow/tmp").iterdir()) == []
        remount(disk, "size=8m")
        await store.metadata.append("1", 1, [succeeded(next(content))])
        serials = [event.attempt.serial for event in await journal(store)]
        assert serials[:-1] == [serial for serial, _ in reported]
        assert len(list(store.blobs.read([ref for _, ref in reported]))) == len(reported)
        assert store.reader.integrity() == []


LIMITED = """
import resource, sys
from asyncflow.errors import StoreError
from asyncflow.store.local import LocalStore
from asyncflow.store.serializers import to_blob
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = LocalStore.open(sys.argv[1])
store.blobs.write(to_blob(b"x" * 50_000, "v"))
try:
    store.blobs.write(to_blob(b"y" * 200_000, "v"))
except StoreError as error:
    print(error)
"""


def test_a_file_that_may_not_grow_further_leaves_nothing_half(store):
    out = finished(python(LIMITED, store.root))
    assert f"The store {store.root} can't be written: " in out
    assert list((store.root / "tmp").iterdir()) == []
    assert len(list(store.blobs.files())) == 1
    assert list(verify_store(store)) == []


def test_what_killed_writers_left_is_swept_after_a_day(root):
    with LocalStore.open(root) as store:
        store.blobs.write(to_blob("x" * 50_000, "v"))
        for name, age in (("old", ABANDONED + 60), ("new", 60)):
            (root / "tmp" / name).write_text("half")
            os.utime(root / "tmp" / name, times=(time.time() - age,) * 2)
    LocalStore.open(root).close()
    assert [path.name for path in (root / "tmp").iterdir()] == ["new"]
