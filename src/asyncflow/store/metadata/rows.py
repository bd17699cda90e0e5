"""SQL statements, and records to rows and back."""

# ruff: noqa: S608 -- statements are put together from constants only

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from asyncflow.codec import decode_failure, encode_failure
from asyncflow.events import BlobRef, RunState
from asyncflow.protocols import AttemptRecord, RunRecord, TaskRecord
from asyncflow.store.metadata.projection import AttemptRow

_pack = msgspec.msgpack.Encoder().encode
_unpack_path = msgspec.msgpack.Decoder(tuple[int, ...]).decode

# -- runs ------------------------------------------------------------------------------------------

_RUN = (
    "flow_name, run_id, created, state, finished, heartbeat, epoch, username, graph, context, origin_run_id, "
    "failure, failed_task, metadata"
)
INSERT_RUN = f"INSERT INTO runs ({_RUN}) VALUES ({', '.join('?' * 14)})"
SELECT_RUNS = f"""SELECT {_RUN},
    (SELECT json_group_array(tag) FROM tags WHERE tags.run = runs.run AND system = 0),
    (SELECT json_group_array(tag) FROM tags WHERE tags.run = runs.run AND system = 1)
    FROM runs"""

INSERT_TAG = "INSERT INTO tags (run, tag, system) VALUES (?, ?, ?)"
FINISH_RUN = "UPDATE runs SET state = ?, finished = ?, heartbeat = ?, failure = ?, failed_task = ? WHERE run = ?"


def run_values(run: RunRecord) -> tuple[Any, ...]:
    return (
        run.flow_name,
        run.run_id,
        run.created,
        run.state.value,
        run.finished,
        run.heartbeat,
        run.epoch,
        run.username,
        run.graph,
        run.context,
        run.origin_run_id,
        None if run.first_failure is None else encode_failure(run.first_failure),
        run.first_failed_task,
        json.dumps(run.metadata),
    )


def run_record(row: tuple[Any, ...]) -> RunRecord:
    return RunRecord(
        flow_name=row[0],
        run_id=row[1],
        created=row[2],
        state=RunState(row[3]),
        finished=row[4],
        heartbeat=row[5],
        epoch=row[6],
        username=row[7],
        graph=row[8],
        context=row[9],
        origin_run_id=row[10],
        first_failure=None if row[11] is None else decode_failure(row[11]),
        first_failed_task=row[12],
        metadata=json.loads(row[13]),
        tags=tuple(sorted(json.loads(row[14]))),
        system_tags=tuple(sorted(json.loads(row[15]))),
    )


# -- tasks and attempts ----------------------------------------------------------------------------

_ATTEMPT = (
    "step, serial, number, path, state, created, started, ended, worker, manifest, manifest_size, failure, caught"
)
_VALUES = f"(run, {_ATTEMPT}) VALUES ({', '.join('?' * 14)})"
INSERT_STARTED = f"INSERT OR IGNORE INTO attempts {_VALUES}"
INSERT_ENDED = f"INSERT OR REPLACE INTO attempts {_VALUES}"

_SELECT = f"SELECT {_ATTEMPT}, origin FROM attempts WHERE run = (SELECT run FROM runs WHERE run_id = ?1)"
_ORDER = "ORDER BY serial DESC, number"
SELECT_TASK = f"{_SELECT} AND step = ?2 AND serial = ?3 {_ORDER}"
SELECT_TASKS = f"{_SELECT} AND step = ?2 {_ORDER} LIMIT ?3"
SELECT_NEWEST_TASKS = f"""{_SELECT} AND step = ?2 AND serial IN (
    SELECT DISTINCT serial FROM attempts WHERE run = (SELECT run FROM runs WHERE run_id = ?1) AND step = ?2
    ORDER BY serial DESC LIMIT ?3
) {_ORDER}"""
SELECT_MANIFESTS = """SELECT step, serial, number, manifest, manifest_size FROM attempts
    WHERE run = ? AND (step, serial, number) > (?, ?, ?) ORDER BY step, serial, number LIMIT 1000"""
# Jumps from step to step through the primary key instead of reading every task.
SELECT_STEPS = """WITH RECURSIVE
    this(run) AS (SELECT run FROM runs WHERE run_id = ?1),
    found(step) AS (
        SELECT min(step) FROM attempts WHERE run = (SELECT run FROM this)
        UNION ALL
        SELECT (SELECT min(step) FROM attempts WHERE run = (SELECT run FROM this) AND step > found.step)
        FROM found WHERE found.step IS NOT NULL
    )
    SELECT step, (
        SELECT created FROM attempts WHERE run = (SELECT run FROM this) AND attempts.step = found.step
        ORDER BY serial, number LIMIT 1
    ) AS first FROM found WHERE step IS NOT NULL ORDER BY first DESC, step DESC"""


def attempt_values(run: int, row: AttemptRow) -> tuple[Any, ...]:
    attempt = row.attempt
    task = attempt.task
    return (
        run,
        task.step,
        attempt.serial,
        attempt.number,
        _pack(task.path) if task.path else None,
        row.state,
        row.created,
        row.started,
        row.ended,
        row.worker or None,
        None if row.manifest is None else row.manifest.key,
        None if row.manifest is None else row.manifest.size,
        None if row.failure is None else encode_failure(row.failure),
        1 if row.caught else None,
    )


def task_records(run_id: str, step: str, found: Iterable[tuple[Any, ...]]) -> list[TaskRecord]:
    """Rows in the order of tasks, and within one in that of attempts."""
    tasks: list[TaskRecord] = []
    serial: int | None = None
    rows: list[tuple[Any, ...]] = []
    for row in found:
        if row[1] != serial and rows:
            tasks.append(_task_record(run_id, step, rows))
            rows = []
        serial = row[1]
        rows.append(row)
    if rows:
        tasks.append(_task_record(run_id, step, rows))
    return tasks


def _task_record(run_id: str, step: str, rows: list[tuple[Any, ...]]) -> TaskRecord:
    first = rows[0]
    return TaskRecord(
        run_id=run_id,
        step=step,
        serial=first[1],
        path=() if first[3] is None else _unpack_path(first[3]),
        created=first[5],
        attempts=tuple([_attempt_record(row) for row in rows]),
        origin=first[13],
    )


def _attempt_record(row: tuple[Any, ...]) -> AttemptRecord:
    return AttemptRecord(
        number=row[2],
        state=row[4],
        started=row[6],
        ended=row[7],
        worker=row[8] or "",
        manifest=None if row[9] is None else BlobRef(row[9], row[10]),
        failure=None if row[11] is None else decode_failure(row[11]),
        caught=bool(row[12]),
    )


# -- journal and logs ------------------------------------------------------------------------------

INSERT_EVENTS = "INSERT INTO journal (run, seq, events) VALUES (?, (SELECT coalesce(max(seq), 0) + 1 FROM journal WHERE run = ?), ?)"
SELECT_EVENTS = """SELECT seq, events FROM journal
    WHERE run = (SELECT run FROM runs WHERE run_id = ?) AND seq > ? ORDER BY seq LIMIT 16"""
INSERT_LOG = "INSERT OR REPLACE INTO logs (run, serial, offset, attempt, size) VALUES (?, ?, ?, ?, ?)"
SELECT_LOG_PAGE = """SELECT serial, offset, attempt, size FROM logs
    WHERE run = ? AND (serial, offset) > (?, ?) ORDER BY serial, offset LIMIT 1000"""
SELECT_LOGS = """SELECT attempt, offset, size FROM logs
    WHERE run = (SELECT run FROM runs WHERE run_id = ?) AND serial = ? AND (? IS NULL OR attempt = ?) ORDER BY offset"""
