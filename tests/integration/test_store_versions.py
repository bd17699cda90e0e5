"""Databases of other versions and of other programs: brought up to date, refused, or left alone."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from store_rig import journal, made, record, succeeded

from asyncflow.errors import StoreError, StoreVersionError
from asyncflow.store.artifacts import ArtifactLoader
from asyncflow.store.local import DATABASE, LocalStore
from asyncflow.store.metadata import connection as connections
from asyncflow.store.metadata.schema import APPLICATION_ID, MIGRATIONS
from asyncflow.store.serializers import to_blob
from asyncflow.store.verify import verify_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def root(tmp_path):
    return tmp_path / ".asyncflow"


def pragma(root, statement):
    database = sqlite3.connect(root / DATABASE)
    database.execute(statement)
    database.commit()
    database.close()


async def test_a_newer_store_is_refused_by_reader_and_writer(root):
    await made(root)
    pragma(root, f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    message = rf"has version {len(MIGRATIONS) + 1}, but this asyncflow knows versions up to {len(MIGRATIONS)}.*Upgrade"
    with LocalStore.open(root) as store:
        with pytest.raises(StoreVersionError, match=message):
            store.reader.runs()
        with pytest.raises(StoreVersionError, match=message):
            await store.metadata.append("1", 1, [succeeded(2)])
        assert [message for _, message in verify_store(store)] != []


def second(database):
    database.execute("ALTER TABLE runs ADD COLUMN mood TEXT NOT NULL DEFAULT 'fine'")


def broken(database):
    second(database)
    database.execute("ALTER TABLE nowhere ADD COLUMN x")


@pytest.mark.parametrize("opener", [connections.open_for_writing, connections.open_for_reading])
async def test_an_older_store_is_brought_up_to_date_with_what_it_holds(root, opener, monkeypatch):
    await made(root)
    monkeypatch.setattr(connections, "MIGRATIONS", [*MIGRATIONS, second])
    database = opener(root / DATABASE)
    assert database.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    assert database.execute("SELECT run_id, mood FROM runs").fetchall() == [("1", "fine")]
    database.close()
    with LocalStore.open(root) as store:
        assert len(await journal(store)) == 1
        assert len(store.reader.tasks("1", "work")) == 1


async def test_an_upgrade_that_fails_changes_nothing(root, monkeypatch):
    await made(root)
    monkeypatch.setattr(connections, "MIGRATIONS", [*MIGRATIONS, broken])
    with LocalStore.open(root) as store, pytest.raises(StoreError, match="no such table: nowhere"):
        await store.metadata.append("1", 1, [succeeded(2)])
    monkeypatch.undo()
    with LocalStore.open(root) as store:
        assert len(await journal(store)) == 1
        await store.metadata.append("1", 1, [succeeded(2)])


def test_another_programs_database_is_left_alone(root):
    root.mkdir()
    pragma(root, "CREATE TABLE songs (title TEXT)")
    before = (root / DATABASE).read_bytes()
    with LocalStore.open(root) as store:
        for use in (store.reader.runs, lambda: asyncio.run(store.metadata.create_run(record()))):
            with pytest.raises(StoreError, match=r"not one of asyncflow\. Move it away"):
                use()
    assert (root / DATABASE).read_bytes() == before
    pragma(root, "PRAGMA user_version=1")
    with LocalStore.open(root) as store, pytest.raises(StoreError, match="not one of asyncflow"):
        store.reader.runs()


def test_a_file_that_is_no_database_is_said_to_be_none(root):
    root.mkdir()
    (root / DATABASE).write_text("This is a letter. " * 100)
    with LocalStore.open(root) as store:
        with pytest.raises(StoreError, match="isn't a store of asyncflow, or is damaged"):
            store.reader.runs()
        with pytest.raises(StoreError, match="isn't a store of asyncflow, or is damaged"):
            asyncio.run(store.metadata.create_run(record()))


async def test_a_database_that_is_just_being_made_is_empty(root):
    root.mkdir()
    (root / DATABASE).touch()
    with LocalStore.open(root) as store:
        assert store.reader.runs() == []
        assert store.reader.small_blobs([b"k" * 32]) == {}
        await store.metadata.create_run(record())
        assert len(store.reader.runs()) == 1
    assert APPLICATION_ID.to_bytes(4) == b"AFLW"


async def test_paths_with_unusual_characters_work(tmp_path):
    root = tmp_path / "a b?c#d%20é" / ".asyncflow"
    await made(root)
    with LocalStore.open(root) as store:
        ref = store.blobs.write(to_blob("x" * 50_000, "v"))
        assert ArtifactLoader(store.blobs).load(ref, "v") == "x" * 50_000
        assert len(store.reader.runs()) == 1


async def test_a_store_that_another_program_holds_is_said_to_be_busy(root, monkeypatch):
    monkeypatch.setattr(connections, "BUSY_TIMEOUT", 0.05)
    await made(root)
    other = sqlite3.connect(root / DATABASE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with LocalStore.open(root) as store:
        with pytest.raises(StoreError, match="is busy: another program held it"):
            await store.metadata.append("1", 1, [succeeded(2)])
        assert len(store.reader.tasks("1", "work")) == 1, "readers don't wait for writers"
        other.execute("ROLLBACK")
        await store.metadata.append("1", 1, [succeeded(2)])
    other.close()
