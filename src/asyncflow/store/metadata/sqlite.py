"""Metadata in one SQLite database, shared by all runs, processes and readers of a store.

Readers are synchronous and lock nothing for longer than a query. Writes of one engine run in one thread of
their own, each a transaction (``BEGIN IMMEDIATE``) that is on the disk when it returns.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from asyncflow.codec import decode_events, encode_events, encode_failure
from asyncflow.errors import MetaflowNotFound, StaleEpoch, StoreError
from asyncflow.events import BlobKey, Event, Failure, RunId, RunState
from asyncflow.protocols import LogChunk, RunRecord, SmallBlob, TaskRecord
from asyncflow.store.metadata import rows
from asyncflow.store.metadata.projection import changed_tags, is_journaled, row_of
from asyncflow.store.metadata.schema import (
    MIGRATIONS,
    check_version,
    connect,
    exists,
    open_for_writing,
    transaction,
    translated,
)

_T = TypeVar("_T")
_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process: never used after the fork, and never closed, which could harm the parent's."""


class _Database:
    """A connection that is opened when it is needed and never crosses a fork; one thread at a time uses it."""

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self.path = path
        self._connect = connect
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """Errors of SQLite come out as ``StoreError``."""
        if self._pid != os.getpid():
            self._abandon()
        with self._lock, translated(self.path):
            if self._connection is None:
                self._connection = self._connect(self.path)
            yield self._connection

    def _abandon(self) -> None:
        if self._connection is not None:
            _inherited.append(self._connection)
        self._connection = None
        self._lock = threading.Lock()  # the parent's may have been held during the fork
        self._pid = os.getpid()

    def close(self) -> None:
        if self._pid != os.getpid():
            self._abandon()
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()


def _open_for_reading(path: Path) -> sqlite3.Connection:
    """Read-only where the directory is; never makes a database."""
    for mode in ("rw", "ro", "immutable"):
        try:
            connection = connect(path, mode=mode)
        except sqlite3.OperationalError:
            continue
        try:
            check_version(connection, path, len(MIGRATIONS))
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.OperationalError:
            connection.close()
            if mode == "immutable":
                raise
            continue
        except BaseException:
            connection.close()
            raise
        return connection
    raise sqlite3.OperationalError("unable to open database file")


class SqliteReader:
    """``protocols.MetadataReader``, for any thread and process. Where there is no database there is nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._database = _Database(self.path, _open_for_reading)

    def close(self) -> None:
        """Close the connection; a later query opens another."""
        self._database.close()

    def _select(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        if self._database._connection is None and not exists(self.path):
            return []
        with self._database.use() as connection:
            return connection.execute(statement, parameters).fetchall()

    def flows(self) -> list[str]:
        found = self._select("SELECT flow_name FROM runs GROUP BY flow_name ORDER BY max(created) DESC, flow_name")
        return [name for (name,) in found]

    def runs(
        self, flow_name: str | None = None, *, tags: Sequence[str] = (), limit: int | None = None
    ) -> list[RunRecord]:
        conditions = ["flow_name = ?"] if flow_name is not None else []
        parameters: list[Any] = [flow_name] if flow_name is not None else []
        for tag in tags:
            conditions.append("run IN (SELECT run FROM tags WHERE tag = ?)")
            parameters.append(tag)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        found = self._select(
            f"{rows.SELECT_RUNS}{where} ORDER BY created DESC, run DESC LIMIT ?",
            [*parameters, -1 if limit is None else limit],
        )
        return [rows.run_record(row) for row in found]

    def run(self, run_id: RunId) -> RunRecord | None:
        found = self._select(f"{rows.SELECT_RUNS} WHERE run_id = ?", (run_id,))
        return rows.run_record(found[0]) if found else None

    def steps(self, run_id: RunId) -> list[tuple[str, float]]:
        return self._select(rows.SELECT_STEPS, (run_id,))

    def tasks(self, run_id: RunId, step: str, *, limit: int | None = None) -> list[TaskRecord]:
        if limit is None:
            return rows.task_records(run_id, step, self._select(rows.SELECT_TASKS, (run_id, step, -1)))
        # A task may have several attempts: the serials are limited, not the rows.
        return rows.task_records(run_id, step, self._select(rows.SELECT_NEWEST_TASKS, (run_id, step, limit)))

    def task(self, run_id: RunId, step: str, serial: int) -> TaskRecord | None:
        found = rows.task_records(run_id, step, self._select(rows.SELECT_TASK, (run_id, step, serial)))
        return found[0] if found else None

    def logs(self, run_id: RunId, serial: int, attempt: int | None = None) -> list[LogChunk]:
        found = self._select(rows.SELECT_LOGS, (run_id, serial, attempt, attempt))
        return [LogChunk(serial, number, offset, size) for number, offset, size in found]

    def small_blobs(self, keys: Sequence[BlobKey]) -> dict[BlobKey, bytes]:
        if len(keys) == 1:
            return dict(self._select("SELECT key, content FROM blobs WHERE key = ?", keys))
        content: dict[BlobKey, bytes] = {}
        for start in range(0, len(keys), 500):
            batch = keys[start : start + 500]
            marks = ",".join("?" * len(batch))
            content.update(self._select(f"SELECT key, content FROM blobs WHERE key IN ({marks})", batch))
        return content

    def change_tags(self, run_id: RunId, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> tuple[str, ...]:
        if not exists(self.path):
            raise _no_run(self.path, run_id)
        with self._database.use() as connection, transaction(connection):
            run = _run_number(connection, self.path, run_id)
            found = connection.execute("SELECT tag, system FROM tags WHERE run = ?", (run,)).fetchall()
            tags = {tag for tag, system in found if not system}
            after = changed_tags(tags, (tag for tag, system in found if system), add, remove)
            connection.executemany(
                "DELETE FROM tags WHERE run = ? AND tag = ?", [(run, tag) for tag in tags.difference(after)]
            )
            connection.executemany(
                "INSERT INTO tags (run, tag, system) VALUES (?, ?, 0)", [(run, tag) for tag in set(after) - tags]
            )
        return after


class SqliteMetadataStore:
    """``protocols.MetadataStore``: one thread writes; the event loop waits for nothing but it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._database = _Database(self.path, open_for_writing)
        self._thread: Any = None

    async def create_run(self, run: RunRecord, blobs: Sequence[SmallBlob] = ()) -> None:
        await self._write(self._create_run, run, blobs)

    async def append(
        self,
        run_id: RunId,
        epoch: int,
        events: Sequence[Event],
        blobs: Sequence[SmallBlob] = (),
        logs: Sequence[LogChunk] = (),
    ) -> None:
        await self._write(self._append, run_id, epoch, events, blobs, logs)

    async def heartbeat(self, run_id: RunId, epoch: int, at: float) -> None:
        await self._write(self._update, run_id, epoch, "heartbeat = ?", (at,))

    async def finish_run(
        self, run_id: RunId, epoch: int, state: RunState, at: float, failure: Failure | None, failed_task: str | None
    ) -> None:
        values = (state.value, at, at, None if failure is None else encode_failure(failure), failed_task)
        assignments = "state = ?, finished = ?, heartbeat = ?, failure = ?, failed_task = ?"
        await self._write(self._update, run_id, epoch, assignments, values)

    async def claim_run(self, run_id: RunId) -> int:
        return await self._write(self._claim, run_id)

    async def journal(self, run_id: RunId) -> AsyncIterator[Event]:
        after = 0
        while found := await self._write(self._journal_page, run_id, after):
            for _, body in found:
                for event in decode_events(body):
                    yield event
            after = found[-1][0]

    # -- one thread --------------------------------------------------------------------------------

    async def _write(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Run ``function`` in the writing thread. Cancellation waits for it: what is written stays written."""
        import asyncio

        if self._thread is None:
            from concurrent.futures import ThreadPoolExecutor

            self._thread = ThreadPoolExecutor(1, thread_name_prefix="asyncflow-store")
        writing = asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait((writing,))
            if not writing.cancelled():
                writing.exception()  # seen: the caller is told of the cancellation
            raise

    def close(self) -> None:
        """Waits for the write under way; blocks for as long."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=True)
        self._database.close()

    async def aclose(self) -> None:
        """The same without blocking the event loop."""
        import asyncio

        await asyncio.to_thread(self.close)

    def _create_run(self, run: RunRecord, blobs: Sequence[SmallBlob]) -> None:
        with self._database.use() as connection, transaction(connection):
            number = connection.execute(rows.INSERT_RUN, rows.run_values(run)).lastrowid
            user_tags = set(run.tags) - set(run.system_tags)
            connection.executemany(
                "INSERT OR IGNORE INTO tags (run, tag, system) VALUES (?, ?, ?)",
                [(number, tag, 1) for tag in run.system_tags] + [(number, tag, 0) for tag in user_tags],
            )
            _insert_blobs(connection, blobs)

    def _append(
        self,
        run_id: RunId,
        epoch: int,
        events: Sequence[Event],
        blobs: Sequence[SmallBlob],
        logs: Sequence[LogChunk],
    ) -> None:
        journaled = [event for event in events if is_journaled(event)]
        body = encode_events(journaled) if journaled else None
        changes = [row for event in events if (row := row_of(event)) is not None]
        with self._database.use() as connection, transaction(connection):
            run = self._owned(connection, run_id, epoch)
            if body is not None:
                connection.execute(rows.INSERT_EVENTS, (run, run, body))
            connection.executemany(
                rows.INSERT_START, [rows.attempt_values(run, row) for row in changes if row.ended is None]
            )
            connection.executemany(
                rows.INSERT_ENDING, [rows.attempt_values(run, row) for row in changes if row.ended is not None]
            )
            _insert_blobs(connection, blobs)
            connection.executemany(rows.INSERT_LOG, [(run, c.serial, c.offset, c.attempt, c.size) for c in logs])

    def _owned(self, connection: sqlite3.Connection, run_id: RunId, epoch: int) -> int:
        found = connection.execute("SELECT run, epoch FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if found is None:
            raise _no_run(self.path, run_id)
        if found[1] != epoch:
            raise StaleEpoch(
                f"Run {run_id} was taken over by another engine (its epoch is {found[1]}, this engine's {epoch}). "
                "This engine stops; the other one goes on with the run."
            )
        return int(found[0])

    def _update(self, run_id: RunId, epoch: int, assignments: str, values: Sequence[Any]) -> None:
        with self._database.use() as connection, transaction(connection):
            run = self._owned(connection, run_id, epoch)
            connection.execute(f"UPDATE runs SET {assignments} WHERE run = ?", (*values, run))

    def _claim(self, run_id: RunId) -> int:
        with self._database.use() as connection, transaction(connection):
            run = _run_number(connection, self.path, run_id)
            connection.execute("UPDATE runs SET epoch = epoch + 1 WHERE run = ?", (run,))
            return int(connection.execute("SELECT epoch FROM runs WHERE run = ?", (run,)).fetchone()[0])

    def _journal_page(self, run_id: RunId, after: int) -> list[tuple[int, bytes]]:
        with self._database.use() as connection:
            return connection.execute(rows.SELECT_EVENTS, (run_id, after)).fetchall()


def _run_number(connection: sqlite3.Connection, path: Path, run_id: RunId) -> int:
    found = connection.execute("SELECT run FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if found is None:
        raise _no_run(path, run_id)
    return int(found[0])


def _no_run(path: Path, run_id: RunId) -> MetaflowNotFound:
    return MetaflowNotFound(f"There is no run {run_id} in the store {path}.")


def _insert_blobs(connection: sqlite3.Connection, blobs: Sequence[SmallBlob]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO blobs (key, content) VALUES (?, ?)", [(blob.key, blob.content) for blob in blobs]
    )
