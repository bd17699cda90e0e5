"""How the store's database is opened, and what is said of one that is damaged."""

from __future__ import annotations

import pytest

from asyncflow.store.metadata.connection import open_for_reading, open_for_writing

IN_MEMORY = 2


@pytest.mark.parametrize("open_it", [open_for_writing, open_for_reading])
def test_sqlite_needs_no_files_beside_the_store(tmp_path, open_it):
    open_for_writing(tmp_path / "asyncflow.db").close()
    connection = open_it(tmp_path / "asyncflow.db")
    try:
        assert connection.execute("PRAGMA temp_store").fetchone() == (IN_MEMORY,)
    finally:
        connection.close()
