"""Connections to a store's SQLite database: opened late, never used across a fork, errors translated."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from asyncflow.errors import StoreError, StoreVersionError
from asyncflow.store.metadata.schema import APPLICATION_ID, MIGRATIONS, Migration

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process's write."""
CHECKPOINT_PAGES = 8_000
"""Pages (4 KiB) in the write-ahead log before they are moved into the database: random pages meet there once."""
CACHE_KIB = 16 * 1024

_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process: never used here, and never closed, which could harm the parent's."""


class NotYet(Exception):
    """There is no database, or it is just being made."""


class Database:
    """One connection, opened when it is needed. Any thread may use it, one at a time; a forked process gets its own."""

    def __init__(self, path: Path, opener: Callable[[Path], sqlite3.Connection]) -> None:
        self.path = path
        self._opener = opener
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def use(self) -> Generator[sqlite3.Connection]:
        """Errors of SQLite come out as ``StoreError``. Raises ``NotYet``."""
        if self._pid != os.getpid():
            self._abandon()
        with self._lock, translated(self.path):
            if self._connection is None:
                self._connection = self._opener(self.path)
            yield self._connection

    def _abandon(self) -> None:
        if self._connection is not None:
            _inherited.append(self._connection)
        self._connection = None
        self._lock = threading.Lock()  # the parent's may have been held during the fork
        self._pid = os.getpid()

    def close(self) -> None:
        """A later use opens another connection."""
        if self._pid != os.getpid():
            self._abandon()
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def __del__(self) -> None:
        if self._pid == os.getpid():
            self.close()


# -- opening ---------------------------------------------------------------------------------------


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in autocommit mode. ``mode`` is ``rwc``, ``rw``, ``ro`` or ``ro&immutable=1``."""
    # Path.as_uri would import urllib and ipaddress.
    quoted = os.fspath(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file:{quoted}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )
    # Sorting and savepoints would use files in TMPDIR: that it is full would be said of the store's disk.
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def open_for_writing(path: Path, migrations: Sequence[Migration] | None = None) -> sqlite3.Connection:
    """Opens the database, making it or bringing it up to date where needed."""
    if migrations is None:
        migrations = MIGRATIONS
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = connect(path, "rwc")
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        _upgrade(connection, path, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def _upgrade(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Run the migrations that are missing, all in one transaction."""
    if check_version(connection, path, len(migrations)) == len(migrations):
        return
    if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
        raise StoreError(f"The store {path} is on a file system that SQLite can't share it on. Choose another place.")
    with transaction(connection):
        # Another process may have done it in the meantime.
        version = check_version(connection, path, len(migrations))
        for migration in migrations[version:]:
            migration(connection)
        connection.execute(f"PRAGMA user_version={len(migrations)}")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")


def check_version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """The database's version; 0 where it is empty. Raises ``StoreVersionError`` where it is newer than ``newest``."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID and (
        version or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    ):
        raise StoreError(
            f"{path} is a database, but not one of asyncflow. Move it away, or choose another place with "
            "ASYNCFLOW_STORE or --store."
        )
    if version > newest:
        raise StoreVersionError(
            f"The store {path} has version {version}, but this asyncflow knows versions up to {newest}: "
            "it was written by a newer asyncflow. Upgrade asyncflow (pip install --upgrade asyncflow), or choose "
            "another store with ASYNCFLOW_STORE or --store."
        )
    return version


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Opens it as far as the directory's permissions let: a reader of a WAL database wants to write, too.

    Never makes a database: raises ``NotYet`` where there is none.
    """
    if not path.exists():
        raise NotYet
    try:
        return _open_for_reading(path, "rw")
    except sqlite3.OperationalError as error:
        if not _is_forbidden(error):
            raise
    try:
        return _open_for_reading(path, "ro")
    except sqlite3.OperationalError as error:
        log = path.with_name(path.name + "-wal")
        # Without its log the database would be read as it was some time ago.
        if not _is_forbidden(error) or (log.exists() and log.stat().st_size > 0):
            raise
    return _open_for_reading(path, "ro&immutable=1")


def _open_for_reading(path: Path, mode: str) -> sqlite3.Connection:
    connection = connect(path, mode)
    try:
        _ensure_readable(connection, path, mode)
    except BaseException:
        connection.close()
        raise
    return connection


def _ensure_readable(connection: sqlite3.Connection, path: Path, mode: str) -> None:
    version = check_version(connection, path, len(MIGRATIONS))
    if version == 0:
        raise NotYet
    if version < len(MIGRATIONS):
        if mode != "rw":
            raise StoreVersionError(
                f"The store {path} has version {version} and must be brought up to {len(MIGRATIONS)}, but it can't "
                "be written. Make it writable, or read it with an older asyncflow."
            )
        _upgrade(connection, path, MIGRATIONS)


def _is_forbidden(error: sqlite3.Error) -> bool:
    return _code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


# -- transactions and errors -----------------------------------------------------------------------


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
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
def translated(path: Path) -> Generator[None]:
    """Foreign errors become ours here."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(_explain(path, error)) from error
    except (UnicodeDecodeError, sqlite3.Warning) as error:
        # Names and messages that quote the file's own bytes.
        raise damaged(path, error) from error
    except OSError as error:
        from asyncflow.store.blobs.local import cannot_write

        raise cannot_write(path.parent, error) from error


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


_ELSEWHERE = "choose another place with ASYNCFLOW_STORE or --store"
_REMEDIES = {
    sqlite3.SQLITE_FULL: "The disk of the store {path} is full. Free some space there, or " + _ELSEWHERE + "; what was "
    "reported as done is kept",
    sqlite3.SQLITE_READONLY: "The store {path} can't be written. Make it and its directory writable, or " + _ELSEWHERE,
    sqlite3.SQLITE_CANTOPEN: "The store {path} can't be opened or can't be written. Make it and its directory readable and writable, or "
    + _ELSEWHERE,
    sqlite3.SQLITE_BUSY: "The store {path} is busy: another program held it for over "
    f"{BUSY_TIMEOUT:.0f} seconds. Let that end (`fuser` names it), then try again",
    sqlite3.SQLITE_NOTADB: "{path} isn't a store of asyncflow, or is damaged. Move it away, or " + _ELSEWHERE,
    sqlite3.SQLITE_CORRUPT: "The store {path} is damaged. Restore it from a backup, or save what can be read with "
    "`sqlite3 {path} .recover`",
    sqlite3.SQLITE_IOERR: "The disk of the store {path} failed. The system's log may say why; a quota can be the cause",
}


def damaged(path: Path, error: Exception) -> StoreError:
    """What to tell the user where the file holds what was never written."""
    return StoreError(f"{_REMEDIES[sqlite3.SQLITE_CORRUPT].replace('{path}', str(path))} ({error}).")


def _explain(path: Path, error: sqlite3.Error) -> str:
    remedy = _REMEDIES.get(_code(error), "The store {path} failed").replace("{path}", str(path))
    return f"{remedy} (SQLite: {error})."
