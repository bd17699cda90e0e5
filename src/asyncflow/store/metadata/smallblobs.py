"""Small blobs in SQLite: content in the order of writing, found through an index that grows in levels.

Keys are hashes, so an index by key takes its entries all over: with one table of hundreds of thousands of
keys every insert dirties a page of its own, and the write-ahead log grows by 4 KiB for an entry of 13 bytes.
So new entries go to a small table, which is poured into the next larger one, in order, when it is full. Some
five times fewer pages are written (docs/adr/0020). A look-up asks all of the levels.
"""

# ruff: noqa: S608 -- statements are put together from constants only

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from struct import Struct

from asyncflow.events import BlobKey
from asyncflow.protocols import SmallBlob

CAPACITIES = (4_000, 64_000)
"""Entries of all levels but the last."""
REMEMBERED = 16_384
"""Keys that a writer knows to be there, so that what many siblings store alike is stored once."""

SCHEMA = (
    "CREATE TABLE blobs (id INTEGER PRIMARY KEY, key BLOB NOT NULL, content BLOB NOT NULL)",
    *(
        f"CREATE TABLE blob_index_{level} (prefix INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (prefix, id)) "
        "WITHOUT ROWID"
        for level in range(len(CAPACITIES) + 1)
    ),
)

_LEVELS = range(len(CAPACITIES) + 1)
_ONE = " UNION ALL ".join(f"SELECT id FROM blob_index_{level} WHERE prefix = ?1" for level in _LEVELS)
_SELECT_ONE = f"SELECT key, content FROM blobs WHERE id IN ({_ONE}) AND key = ?2 LIMIT 1"
_MANY = " UNION ALL ".join(f"SELECT id FROM wanted JOIN blob_index_{level} USING (prefix)" for level in _LEVELS)
_SELECT_MANY = f"""WITH wanted (prefix) AS (SELECT value FROM json_each(?1))
    SELECT key, content FROM blobs WHERE id IN ({_MANY})"""
TOGETHER = 256
"""Keys asked for in one statement: less than half the time of one statement each."""
SELECT_PAGE = "SELECT id, key, content FROM blobs WHERE id > ? ORDER BY id LIMIT 256"
_prefix = Struct(">q").unpack_from


def select(connection: sqlite3.Connection, keys: Sequence[BlobKey]) -> dict[BlobKey, bytes]:
    """The content of those of ``keys`` that are there."""
    if len(keys) == 1:
        return dict(connection.execute(_SELECT_ONE, (_prefix(keys[0])[0], keys[0])).fetchall())
    found: dict[BlobKey, bytes] = {}
    wanted = frozenset(keys)
    for start in range(0, len(keys), TOGETHER):
        prefixes = json.dumps([_prefix(key)[0] for key in keys[start : start + TOGETHER]])
        rows = connection.execute(_SELECT_MANY, (prefixes,))
        found.update((key, content) for key, content in rows if key in wanted)
    return found


class SmallBlobWriter:
    """Inserts inside the caller's transaction; ``committed`` afterwards, so that the keys can be remembered."""

    def __init__(self) -> None:
        self._young: set[BlobKey] = set()
        self._old: set[BlobKey] = set()
        self._pending: dict[BlobKey, bytes] = {}

    def insert(self, connection: sqlite3.Connection, blobs: Sequence[SmallBlob]) -> None:
        self._pending = {
            blob.key: blob.content for blob in blobs if blob.key not in self._young and blob.key not in self._old
        }
        if not self._pending:
            return
        first = (connection.execute("SELECT max(id) FROM blobs").fetchone()[0] or 0) + 1
        numbered = list(enumerate(self._pending.items(), first))
        connection.executemany(
            "INSERT INTO blobs (id, key, content) VALUES (?, ?, ?)", [(id_, key, body) for id_, (key, body) in numbered]
        )
        connection.executemany(
            "INSERT INTO blob_index_0 (prefix, id) VALUES (?, ?)",
            sorted((_prefix(key)[0], id_) for id_, (key, _) in numbered),
        )
        _pour(connection)

    def committed(self) -> None:
        self._young.update(self._pending)
        self._pending = {}
        if len(self._young) >= REMEMBERED:
            self._old, self._young = self._young, set()


def _pour(connection: sqlite3.Connection) -> None:
    """Empty each full level into the next."""
    for level, capacity in enumerate(CAPACITIES):
        if connection.execute(f"SELECT count(*) FROM blob_index_{level}").fetchone()[0] < capacity:
            return
        connection.execute(f"INSERT INTO blob_index_{level + 1} SELECT * FROM blob_index_{level} ORDER BY prefix, id")
        connection.execute(f"DELETE FROM blob_index_{level}")
