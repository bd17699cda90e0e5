"""Metadata in one SQLite database, shared by all runs, processes and readers of a store.

Readers are synchronous and lock nothing for longer than a query. Writes of one engine run in one thread of
their own, each a transaction (``BEGIN IMMEDIATE``) that is on the disk when it returns.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import MsgspecError

from asyncflow.codec import decode_events, encode_events, encode_failure
from asyncflow.errors import MetaflowNotFound, RunExists
from asyncflow.events import BlobKey, BlobRef, Event, Failure, RunId, RunState
from asyncflow.protocols import LogChunk, RunRecord, SmallBlob, TaskRecord
from asyncflow.store.metadata import rows, smallblobs
from asyncflow.store.metadata.connection import (
    Database,
    NotYet,
    damaged,
    open_for_reading,
    open_for_writing,
    transaction,
)
from asyncflow.store.metadata.projection import changed_tags, check_epoch, is_journaled, row_of

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

_T = TypeVar("_T")
LARGEST = 2**63 - 1
"""The largest integer that SQLite knows."""


class SqliteReader:
    """``protocols.MetadataReader``, for any thread and process. Where there is no database there is nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._database = Database(self.path, open_for_reading)

    def close(self) -> None:
        """Close the connection; a later query opens another."""
        self._database.close()

    def _select(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            with self._database.use() as connection:
                return connection.execute(statement, parameters).fetchall()
        except NotYet:
            return []

    def _read(self, convert: Callable[[], _T]) -> _T:
        """What a function that reads rows returns; rows that were never written so are damage."""
        try:
            return convert()
        except (ValueError, TypeError, MsgspecError) as error:
            raise damaged(self.path, error) from error

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
            [*parameters, -1 if limit is None else min(limit, LARGEST)],
        )
        return self._read(lambda: [rows.run_record(row) for row in found])

    def run(self, run_id: RunId) -> RunRecord | None:
        found = self._select(f"{rows.SELECT_RUNS} WHERE run_id = ?", (run_id,))
        return self._read(lambda: rows.run_record(found[0])) if found else None

    def steps(self, run_id: RunId) -> list[tuple[str, float]]:
        return self._select(rows.SELECT_STEPS, (run_id,))

    def tasks(self, run_id: RunId, step: str, *, limit: int | None = None) -> list[TaskRecord]:
        if limit is None:
            found = self._select(rows.SELECT_TASKS, (run_id, step, -1))
        else:
            # A task may have several attempts: the serials are limited, not the rows.
            found = self._select(rows.SELECT_NEWEST_TASKS, (run_id, step, min(limit, LARGEST)))
        return self._read(lambda: rows.task_records(run_id, step, found))

    def task(self, run_id: RunId, step: str, serial: int) -> TaskRecord | None:
        if serial > LARGEST:
            return None
        found = self._select(rows.SELECT_TASK, (run_id, step, serial))
        tasks = self._read(lambda: rows.task_records(run_id, step, found))
        return tasks[0] if tasks else None

    def logs(self, run_id: RunId, serial: int, attempt: int | None = None) -> list[LogChunk]:
        if serial > LARGEST:
            return []
        found = self._select(rows.SELECT_LOGS, (run_id, serial, attempt, attempt))
        return [LogChunk(serial, number, offset, size) for number, offset, size in found]

    def small_blobs(self, keys: Sequence[BlobKey]) -> dict[BlobKey, bytes]:
        try:
            with self._database.use() as connection:
                return smallblobs.select(connection, keys)
        except NotYet:
            return {}

    def change_tags(self, run_id: RunId, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> tuple[str, ...]:
        """Raises ``MetaflowTaggingError`` (see ``projection.changed_tags``) and ``MetaflowNotFound``."""
        try:
            with self._database.use() as connection, transaction(connection):
                run = _number_of(connection, self.path, run_id)
                return _change_tags(connection, run, add, remove)
        except NotYet:
            raise _no_run(self.path, run_id) from None

    # -- for checks of the whole store ---------------------------------------------------------------

    def manifests(self) -> Iterator[tuple[str, BlobRef]]:
        """Every manifest that a task's attempt refers to, with ``run/step/task``; in pages, so memory stays flat."""
        for run, run_id in self._select("SELECT run, run_id FROM runs ORDER BY run"):
            after: tuple[str, int, int] = ("", -1, -1)
            while found := self._select(rows.SELECT_MANIFESTS, (run, *after)):
                for step, serial, _, key, size in found:
                    if key is not None:
                        yield f"{run_id}/{step}/{serial}", BlobRef(key, size)
                after = found[-1][:3]

    def all_small_blobs(self) -> Iterator[tuple[BlobKey, bytes]]:
        """In the order of writing."""
        after = 0
        while found := self._select(smallblobs.SELECT_PAGE, (after,)):
            for _, key, content in found:
                yield key, content
            after = found[-1][0]

    def journal_pages(self) -> Iterator[tuple[RunId, bytes]]:
        """Every run's journal, encoded, batch by batch."""
        for (run_id,) in self._select("SELECT run_id FROM runs ORDER BY run"):
            after = 0
            while found := self._select(rows.SELECT_EVENTS, (run_id, after)):
                for _, body in found:
                    yield run_id, body
                after = found[-1][0]

    def log_pages(self) -> Iterator[tuple[RunId, list[LogChunk]]]:
        """Every chunk of every run's log, in pages."""
        for run, run_id in self._select("SELECT run, run_id FROM runs ORDER BY run"):
            after: tuple[int, int] = (-1, -1)
            while found := self._select(rows.SELECT_LOG_PAGE, (run, *after)):
                yield run_id, [LogChunk(serial, number, offset, size) for serial, offset, number, size in found]
                after = found[-1][:2]

    def is_empty(self) -> bool:
        """Whether there is no database, or one without any table."""
        try:
            with self._database.use():
                return False
        except NotYet:
            return True

    def integrity(self) -> list[str]:
        """What SQLite's own check finds wrong with the file; reads all of it."""
        found = [text for (text,) in self._select("PRAGMA quick_check")]
        return [] if found == ["ok"] else found


def _change_tags(
    connection: sqlite3.Connection, run: int, add: Sequence[str], remove: Sequence[str]
) -> tuple[str, ...]:
    found = connection.execute("SELECT tag, system FROM tags WHERE run = ?", (run,)).fetchall()
    tags = {tag for tag, system in found if not system}
    after = changed_tags(tags, (tag for tag, system in found if system), add, remove)
    gone, new = tags.difference(after), set(after) - tags
    connection.executemany("DELETE FROM tags WHERE run = ? AND tag = ?", [(run, tag) for tag in gone])
    connection.executemany(rows.INSERT_TAG, [(run, tag, 0) for tag in new])
    return after


class SqliteMetadataStore:
    """``protocols.MetadataStore``: one thread writes, and the event loop waits for it without being blocked.

    Cancelling a method while its write is under way waits for the write: a batch is there as a whole or not
    at all, and what the caller did before stays in order.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._writer = _Writer(self.path)
        self._thread: ThreadPoolExecutor | None = None

    async def create_run(self, run: RunRecord, blobs: Sequence[SmallBlob] = ()) -> None:
        """Raises ``RunExists`` and ``StoreError``."""
        await self._in_thread(self._writer.create_run, run, blobs)

    async def append(
        self,
        run_id: RunId,
        epoch: int,
        events: Sequence[Event],
        blobs: Sequence[SmallBlob] = (),
        logs: Sequence[LogChunk] = (),
    ) -> None:
        await self._in_thread(self._writer.append, run_id, epoch, events, blobs, logs)

    async def heartbeat(self, run_id: RunId, epoch: int, at: float) -> None:
        await self._in_thread(self._writer.heartbeat, run_id, epoch, at)

    async def finish_run(
        self, run_id: RunId, epoch: int, state: RunState, at: float, failure: Failure | None, failed_task: str | None
    ) -> None:
        await self._in_thread(self._writer.finish_run, run_id, epoch, state, at, failure, failed_task)

    async def claim_run(self, run_id: RunId) -> int:
        return await self._in_thread(self._writer.claim_run, run_id)

    async def journal(self, run_id: RunId) -> AsyncIterator[Event]:
        after = 0
        while found := await self._in_thread(self._writer.journal_page, run_id, after):
            for _, body in found:
                for event in decode_events(body):
                    yield event
            after = found[-1][0]

    async def _in_thread(self, function: Callable[..., _T], *arguments: Any) -> _T:
        import asyncio

        if self._thread is None:
            from concurrent.futures import ThreadPoolExecutor

            self._thread = ThreadPoolExecutor(1, thread_name_prefix="asyncflow-store")
        writing = asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        writing.add_done_callback(_looked_at)
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait((writing,))
            raise

    def close(self) -> None:
        """Waits for the write under way; blocks for as long. A later call of another method opens it again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=True)
        self._writer.close()

    async def aclose(self) -> None:
        """The same without blocking the event loop."""
        import asyncio

        await asyncio.to_thread(self.close)


def _looked_at(writing: asyncio.Future[Any]) -> None:
    """A caller that was cancelled hears of that, not of an error that came meanwhile."""
    if not writing.cancelled():
        writing.exception()


class _Writer:
    """The synchronous half: each method is one transaction, durable when it returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = Database(path, open_for_writing)
        self._small = smallblobs.SmallBlobWriter()

    def close(self) -> None:
        self._database.close()

    def create_run(self, run: RunRecord, blobs: Sequence[SmallBlob]) -> None:
        with self._database.use() as connection, transaction(connection):
            try:
                number = connection.execute(rows.INSERT_RUN, rows.run_values(run)).lastrowid
            except sqlite3.IntegrityError as error:
                raise RunExists(f"There is a run {run.run_id} in the store {self._path} already.") from error
            system = set(run.system_tags)
            connection.executemany(rows.INSERT_TAG, [(number, tag, 1) for tag in system])
            connection.executemany(rows.INSERT_TAG, [(number, tag, 0) for tag in set(run.tags) - system])
            self._small.insert(connection, blobs)
        self._small.committed()

    def append(
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
            started = [rows.attempt_values(run, row) for row in changes if row.ended is None]
            ended = [rows.attempt_values(run, row) for row in changes if row.ended is not None]
            connection.executemany(rows.INSERT_STARTED, started)
            connection.executemany(rows.INSERT_ENDED, ended)
            connection.executemany(rows.INSERT_LOG, [(run, c.serial, c.offset, c.attempt, c.size) for c in logs])
            self._small.insert(connection, blobs)
        self._small.committed()

    def heartbeat(self, run_id: RunId, epoch: int, at: float) -> None:
        with self._database.use() as connection, transaction(connection):
            run = self._owned(connection, run_id, epoch)
            connection.execute("UPDATE runs SET heartbeat = ? WHERE run = ?", (at, run))

    def finish_run(
        self, run_id: RunId, epoch: int, state: RunState, at: float, failure: Failure | None, failed_task: str | None
    ) -> None:
        encoded = None if failure is None else encode_failure(failure)
        with self._database.use() as connection, transaction(connection):
            run = self._owned(connection, run_id, epoch)
            connection.execute(rows.FINISH_RUN, (state.value, at, at, encoded, failed_task, run))

    def claim_run(self, run_id: RunId) -> int:
        with self._database.use() as connection, transaction(connection):
            run = _number_of(connection, self._path, run_id)
            connection.execute("UPDATE runs SET epoch = epoch + 1 WHERE run = ?", (run,))
            return int(connection.execute("SELECT epoch FROM runs WHERE run = ?", (run,)).fetchone()[0])

    def journal_page(self, run_id: RunId, after: int) -> list[tuple[int, bytes]]:
        with self._database.use() as connection:
            return connection.execute(rows.SELECT_EVENTS, (run_id, after)).fetchall()

    def _owned(self, connection: sqlite3.Connection, run_id: RunId, epoch: int) -> int:
        """The run's number. Raises ``StaleEpoch`` where another engine owns the run."""
        found = connection.execute("SELECT run, epoch FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if found is None:
            raise _no_run(self._path, run_id)
        check_epoch(run_id, epoch, found[1])
        return int(found[0])


def _number_of(connection: sqlite3.Connection, path: Path, run_id: RunId) -> int:
    found = connection.execute("SELECT run FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if found is None:
        raise _no_run(path, run_id)
    return int(found[0])


def _no_run(path: Path, run_id: RunId) -> MetaflowNotFound:
    return MetaflowNotFound(f"There is no run {run_id} in the store {path}.")
