"""Metadata in memory: for tests of the engine and the client, and of whatever else asks a metadata store."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from asyncflow.codec import decode_event, encode_event
from asyncflow.errors import MetaflowNotFound, RunExists
from asyncflow.events import BlobKey, Event, Failure, RunId, RunState
from asyncflow.protocols import AttemptRecord, LogChunk, RunRecord, SmallBlob, TaskRecord
from asyncflow.store.metadata.projection import AttemptRow, changed_tags, check_epoch, is_journaled, row_of


@dataclass(slots=True)
class _Run:
    record: RunRecord
    journal: list[bytes] = field(default_factory=list[bytes])
    rows: dict[str, dict[int, dict[int, AttemptRow]]] = field(
        default_factory=dict[str, dict[int, dict[int, AttemptRow]]]
    )
    """By step, serial and attempt."""
    logs: list[LogChunk] = field(default_factory=list[LogChunk])


class MemoryMetadata:
    """``protocols.MetadataStore`` and ``protocols.MetadataReader`` in one; usable from any thread."""

    def __init__(self) -> None:
        self._runs: dict[RunId, _Run] = {}
        self._blobs: dict[BlobKey, bytes] = {}
        self._lock = threading.Lock()

    # -- the engine's side ---------------------------------------------------------------------------

    async def create_run(self, run: RunRecord, blobs: Sequence[SmallBlob] = ()) -> None:
        """Raises ``RunExists``."""
        with self._lock:
            if run.run_id in self._runs:
                raise RunExists(f"There is a run {run.run_id} already.")
            system = tuple(sorted(set(run.system_tags)))
            tags = tuple(sorted(set(run.tags).difference(system)))
            self._runs[run.run_id] = _Run(replace(run, tags=tags, system_tags=system))
            self._blobs.update({blob.key: blob.content for blob in blobs})

    async def append(
        self,
        run_id: RunId,
        epoch: int,
        events: Sequence[Event],
        blobs: Sequence[SmallBlob] = (),
        logs: Sequence[LogChunk] = (),
    ) -> None:
        with self._lock:
            run = self._owned(run_id, epoch)
            run.journal += [encode_event(event) for event in events if is_journaled(event)]
            for row in filter(None, map(row_of, events)):
                attempts = run.rows.setdefault(row.attempt.task.step, {}).setdefault(row.attempt.serial, {})
                if row.ended is not None or row.attempt.number not in attempts:
                    attempts[row.attempt.number] = row
            self._blobs.update({blob.key: blob.content for blob in blobs})
            run.logs += logs

    async def heartbeat(self, run_id: RunId, epoch: int, at: float) -> None:
        with self._lock:
            run = self._owned(run_id, epoch)
            run.record = replace(run.record, heartbeat=at)

    async def finish_run(
        self, run_id: RunId, epoch: int, state: RunState, at: float, failure: Failure | None, failed_task: str | None
    ) -> None:
        with self._lock:
            run = self._owned(run_id, epoch)
            run.record = replace(
                run.record,
                state=state,
                finished=at,
                heartbeat=at,
                first_failure=failure,
                first_failed_task=failed_task,
            )

    async def claim_run(self, run_id: RunId) -> int:
        with self._lock:
            run = self._existing(run_id)
            run.record = replace(run.record, epoch=run.record.epoch + 1)
            return run.record.epoch

    async def journal(self, run_id: RunId) -> AsyncIterator[Event]:
        run = self._runs.get(run_id)
        for body in () if run is None else tuple(run.journal):
            yield decode_event(body)

    # -- the readers' side ---------------------------------------------------------------------------

    def flows(self) -> list[str]:
        return list(dict.fromkeys(run.flow_name for run in self.runs()))

    def runs(
        self, flow_name: str | None = None, *, tags: Sequence[str] = (), limit: int | None = None
    ) -> list[RunRecord]:
        with self._lock:
            records = [run.record for run in reversed(self._runs.values())]
        records.sort(key=lambda record: record.created, reverse=True)
        found = [
            record
            for record in records
            if (flow_name is None or record.flow_name == flow_name) and set(tags) <= {*record.tags, *record.system_tags}
        ]
        return found[:limit]

    def run(self, run_id: RunId) -> RunRecord | None:
        run = self._runs.get(run_id)
        return None if run is None else run.record

    def steps(self, run_id: RunId) -> list[tuple[str, float]]:
        with self._lock:
            run = self._runs.get(run_id)
            steps = {} if run is None else {step: tasks[min(tasks)] for step, tasks in run.rows.items()}
            found = [(step, attempts[min(attempts)].created) for step, attempts in steps.items()]
        return sorted(found, key=lambda item: (item[1], item[0]), reverse=True)

    def tasks(self, run_id: RunId, step: str, *, limit: int | None = None) -> list[TaskRecord]:
        with self._lock:
            run = self._runs.get(run_id)
            tasks = {} if run is None else run.rows.get(step, {})
            return [_record(run_id, tasks[serial]) for serial in sorted(tasks, reverse=True)[:limit]]

    def task(self, run_id: RunId, step: str, serial: int) -> TaskRecord | None:
        with self._lock:
            run = self._runs.get(run_id)
            attempts = None if run is None else run.rows.get(step, {}).get(serial)
            return None if attempts is None else _record(run_id, attempts)

    def logs(self, run_id: RunId, serial: int, attempt: int | None = None) -> list[LogChunk]:
        with self._lock:
            run = self._runs.get(run_id)
            chunks = [] if run is None else run.logs
            return [c for c in chunks if c.serial == serial and (attempt is None or c.attempt == attempt)]

    def change_tags(self, run_id: RunId, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> tuple[str, ...]:
        with self._lock:
            run = self._existing(run_id)
            after = changed_tags(run.record.tags, run.record.system_tags, add, remove)
            run.record = replace(run.record, tags=after)
            return after

    def small_blobs(self, keys: Sequence[BlobKey]) -> dict[BlobKey, bytes]:
        with self._lock:
            return {key: self._blobs[key] for key in keys if key in self._blobs}

    def _existing(self, run_id: RunId) -> _Run:
        run = self._runs.get(run_id)
        if run is None:
            raise MetaflowNotFound(f"There is no run {run_id} in this store in memory.")
        return run

    def _owned(self, run_id: RunId, epoch: int) -> _Run:
        run = self._existing(run_id)
        check_epoch(run_id, epoch, run.record.epoch)
        return run


def _record(run_id: RunId, attempts: dict[int, AttemptRow]) -> TaskRecord:
    rows = [attempts[number] for number in sorted(attempts)]
    first = rows[0]
    return TaskRecord(
        run_id=run_id,
        step=first.attempt.task.step,
        serial=first.attempt.serial,
        path=first.attempt.task.path,
        created=first.created,
        attempts=tuple([_attempt(row) for row in rows]),
    )


def _attempt(row: AttemptRow) -> AttemptRecord:
    return AttemptRecord(
        number=row.attempt.number,
        state=row.state,
        started=row.started,
        ended=row.ended,
        worker=row.worker,
        manifest=row.manifest,
        failure=row.failure,
        caught=row.caught,
    )
