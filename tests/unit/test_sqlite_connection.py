"""How the store's database is opened, and what is said of one that is damaged."""

from __future__ import annotations

import asyncio

import pytest

from asyncflow.errors import StoreError
from asyncflow.protocols import RunRecord
from asyncflow.store.metadata.connection import open_for_reading, open_for_writing
from asyncflow.store.metadata.sqlite import SqliteMetadataStore, SqliteReader

IN_MEMORY = 2


@pytest.mark.parametrize("open_it", [open_for_writing, open_for_reading])
def test_sqlite_needs_no_files_beside_the_store(tmp_path, open_it):
    open_for_writing(tmp_path / "asyncflow.db").close()
    connection = open_it(tmp_path / "asyncflow.db")
    try:
        assert connection.execute("PRAGMA temp_store").fetchone() == (IN_MEMORY,)
    finally:
        connection.close()


@pytest.fixture
def reader(tmp_path):
    store = SqliteMetadataStore(tmp_path / "asyncflow.db")
    asyncio.run(store.create_run(RunRecord(flow_name="F", run_id="1", created=10.0)))
    store.close()
    reader = SqliteReader(tmp_path / "asyncflow.db")
    yield reader
    reader.close()


def change(reader, old, new):
    """In the file itself, as a failing disk does."""
    content = reader.path.read_bytes()
    assert old in content
    reader.path.write_bytes(content.replace(old, new))


def test_a_schema_that_is_no_text_is_damage(reader):
    change(reader, b"CREATE TABLE attempts", b"CREATE \xe1ABLE attempts")
    with pytest.raises(StoreError, match=r"is damaged\. Restore it from a backup"):
        reader.runs()


@pytest.mark.parametrize("value", ["'sucXeeded'", "x'e1'"])
@pytest.mark.parametrize("column", ["state", "failure", "metadata"])
def test_a_row_that_was_never_written_so_is_damage(reader, column, value):
    connection = open_for_writing(reader.path)
    connection.execute(f"UPDATE runs SET {column} = {value}")
    connection.close()
    for read in (reader.runs, lambda: reader.run("1")):
        with pytest.raises(StoreError):
            read()


def test_numbers_larger_than_a_database_knows_find_what_there_is(reader):
    huge = 10**23
    assert [run.run_id for run in reader.runs(limit=huge)] == ["1"]
    assert reader.tasks("1", "start", limit=huge) == []
    assert reader.task("1", "start", huge) is None
    assert reader.logs("1", huge) == []
