"""The SQLite database: how it is opened, its tables, and how an older one is brought up to date."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from asyncflow.errors import StoreError, StoreVersionError

APPLICATION_ID = 0x41464C57  # "AFLW"
BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process's write."""

Migration = Callable[[sqlite3.Connection], None]


def _first(connection: sqlite3.Connection) -> None:
    for statement in _FIRST:
        connection.execute(statement)


_FIRST = (
    """CREATE TABLE runs (
        run INTEGER PRIMARY KEY,
        run_id TEXT NOT NULL UNIQUE,
        flow_name TEXT NOT NULL,
        created REAL NOT NULL,
        state TEXT NOT NULL,
        finished REAL,
        heartbeat REAL NOT NULL,
        epoch INTEGER NOT NULL,
        username TEXT NOT NULL,
        graph BLOB NOT NULL,
        context BLOB NOT NULL,
        origin_run_id TEXT,
        failure BLOB,
        failed_task TEXT,
        metadata TEXT NOT NULL
    )""",
    "CREATE INDEX runs_of_flow ON runs (flow_name, created)",
    "CREATE INDEX runs_by_age ON runs (created)",
    # A tag of a user and one of the system may have the same name only while the user's is hidden by it.
    "CREATE TABLE tags (run INTEGER NOT NULL, tag TEXT NOT NULL, system INTEGER NOT NULL, "
    "PRIMARY KEY (run, tag)) WITHOUT ROWID",
    "CREATE INDEX runs_of_tag ON tags (tag, run)",
    # One row for each append, with all of its events: a journal is only ever read whole.
    "CREATE TABLE journal (run INTEGER NOT NULL, seq INTEGER NOT NULL, events BLOB NOT NULL, "
    "PRIMARY KEY (run, seq)) WITHOUT ROWID",
    # A task is the rows that share run, step and serial.
    """CREATE TABLE attempts (
        run INTEGER NOT NULL,
        step TEXT NOT NULL,
        serial INTEGER NOT NULL,
        number INTEGER NOT NULL,
        path BLOB,
        state TEXT NOT NULL,
        created REAL NOT NULL,
        started REAL,
        ended REAL,
        worker TEXT,
        manifest BLOB,
        manifest_size INTEGER,
        failure BLOB,
        caught INTEGER,
        origin TEXT,
        PRIMARY KEY (run, step, serial, number)
    ) WITHOUT ROWID""",
    """CREATE TABLE logs (
        run INTEGER NOT NULL,
        serial INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        size INTEGER NOT NULL,
        PRIMARY KEY (run, serial, offset)
    ) WITHOUT ROWID""",
    "CREATE TABLE blobs (key BLOB PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID",
)

MIGRATIONS: list[Migration] = [_first]
"""Each brings a database from the version that is its index to the next, inside one transaction."""


def connect(path: Path, *, mode: str) -> sqlite3.Connection:
    """A connection in autocommit mode. ``mode`` is ``rwc``, ``rw``, ``ro`` or ``immutable``."""
    query = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )


def open_for_writing(path: Path, migrations: Sequence[Migration] | None = None) -> sqlite3.Connection:
    """Opens the database, making it or bringing it up to date where needed. Raises ``StoreError``."""
    with translated(path):
        is_new = not path.exists()
        if is_new:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = connect(path, mode="rwc")
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA wal_autocheckpoint=8000")
            upgrade(connection, path, MIGRATIONS if migrations is None else migrations)
        except BaseException:
            connection.close()
            raise
    return connection


def upgrade(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Run the migrations that are missing, all in one transaction."""
    if check_version(connection, path, len(migrations)) == len(migrations):
        return
    with transaction(connection):
        # Another process may have done it in the meantime.
        version = check_version(connection, path, len(migrations))
        for migration in migrations[version:]:
            migration(connection)
        connection.execute(f"PRAGMA user_version={len(migrations)}")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")


def check_version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """The database's version. Raises ``StoreVersionError`` where it is newer than ``newest``."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > newest:
        raise StoreVersionError(
            f"The store {path} has version {version}, but this asyncflow knows versions up to {newest}: "
            "it was written by a newer asyncflow. Upgrade asyncflow (pip install --upgrade asyncflow), or choose "
            "another store with ASYNCFLOW_STORE or --store."
        )
    return version


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, as the only writer."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back after some errors
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors become ours here, and only here."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(_explain(path, error)) from error
    except OSError as error:
        from asyncflow.store.blobs.local import cannot_write

        raise cannot_write(path.parent, error) from error


def _explain(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    remedies = {
        sqlite3.SQLITE_FULL: f"The disk of the store {path} is full. Free some space there, or choose another place "
        "with ASYNCFLOW_STORE or --store; what was reported as done is kept",
        sqlite3.SQLITE_READONLY: f"The store {path} can't be written. Make it writable, or choose another place "
        "with ASYNCFLOW_STORE or --store",
        sqlite3.SQLITE_CANTOPEN: f"The store {path} can't be opened. Make its directory readable and writable, or "
        "choose another place with ASYNCFLOW_STORE or --store",
        sqlite3.SQLITE_BUSY: f"The store {path} is busy: another program held it for over {BUSY_TIMEOUT:.0f} s. "
        "Find it (`fuser` names it), then try again",
        sqlite3.SQLITE_NOTADB: f"{path} isn't a store of asyncflow. Move it away, or choose another place with "
        "ASYNCFLOW_STORE or --store",
        sqlite3.SQLITE_CORRUPT: f"The store {path} is damaged. Restore it from a backup, or save what can be read with "
        "`sqlite3 asyncflow.db .recover`",
        sqlite3.SQLITE_IOERR: f"The disk of the store {path} failed. Look into the system's log; a full disk or a quota "
        "can be the cause",
    }
    return f"{remedies.get(code, f'The store {path} failed')} (SQLite says: {error})."


def exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 -- on the readers' hot path
