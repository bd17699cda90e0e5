"""What is noted down about a task beside its artifacts, under Metaflow's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from asyncflow.client.times import local_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from asyncflow.client.task import Task
    from asyncflow.protocols import AttemptRecord, RunRecord, TaskRecord


class Metadata(NamedTuple):
    """One fact about a task."""

    name: str
    value: str
    created_at: datetime
    type: str
    task: Task


def metadata_of(task: Task, run: RunRecord, record: TaskRecord, attempt: AttemptRecord | None) -> list[Metadata]:
    """All facts about ``task``, whose attempt ``attempt`` is shown."""
    facts = [
        *((name, value, record.created) for name, value in run.metadata.items()),
        ("origin-run-id", str(run.origin_run_id), record.created),
    ]
    if record.origin is not None:
        facts.append(("origin-task-id", record.origin.rpartition("/")[2], record.created))
    if attempt is not None:
        facts.extend(_of_attempt(record, attempt))
    return [Metadata(name, value, local_time(at), name, task) for name, value, at in facts]


def _of_attempt(record: TaskRecord, attempt: AttemptRecord) -> Iterator[tuple[str, str, float]]:
    started = record.created if attempt.started is None else attempt.started
    yield "attempt", str(attempt.number), started
    if attempt.worker:
        yield "worker", attempt.worker, started
    if attempt.ended is not None:
        yield "attempt_ok", str(attempt.state == "succeeded" and not attempt.caught), attempt.ended
        yield "attempt-done", str(attempt.number), attempt.ended
