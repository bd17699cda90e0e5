"""The tables of the SQLite database, and the steps that bring an older one up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from asyncflow.store.metadata import smallblobs

APPLICATION_ID = 0x41464C57  # "AFLW"

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
    # A tag that the system gave can't be a user's, too.
    """CREATE TABLE tags (
        run INTEGER NOT NULL,
        tag TEXT NOT NULL,
        system INTEGER NOT NULL,
        PRIMARY KEY (run, tag)
    ) WITHOUT ROWID""",
    "CREATE INDEX runs_of_tag ON tags (tag, run)",
    # One row for each append, with all of its events: a journal is only ever read whole.
    """CREATE TABLE journal (
        run INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        events BLOB NOT NULL,
        PRIMARY KEY (run, seq)
    ) WITHOUT ROWID""",
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
    *smallblobs.SCHEMA,
)

MIGRATIONS: list[Migration] = [_first]
"""Each brings a database from the version that is its index to the next, inside one transaction."""
