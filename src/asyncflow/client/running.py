"""The task that this code runs in, which may not be written down yet.

An engine writes a task as running once it has run for a second, so as not to write short tasks twice. To
the task itself it is running from the start.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from asyncflow.client.choices import running_task
from asyncflow.protocols import AttemptRecord, TaskRecord

if TYPE_CHECKING:
    from asyncflow.current import TaskValues


def with_running_attempt(
    record: TaskRecord | None, parts: tuple[str, ...], earlier: TaskRecord | None
) -> TaskRecord | None:
    """``record`` of the task at ``parts``, with the attempt that runs this code, if it is one of it.

    ``earlier`` is what this gave before: the time that it began stays the same.
    """
    task = running_task()
    if task is None or not is_it(task, parts):
        return record
    attempts = () if record is None else record.attempts
    if any(attempt.number == task.retry_count for attempt in attempts):
        return record
    if earlier is not None and earlier.attempts and earlier.attempts[-1].number == task.retry_count:
        return earlier
    now = time.time()
    running = AttemptRecord(number=task.retry_count, state="running", started=now)
    if record is not None:
        return replace(record, attempts=(*attempts, running))
    serial = int(task.task_id)
    return TaskRecord(
        run_id=task.run_id, step=task.step_name, serial=serial, path=task.path, created=now, attempts=(running,)
    )


def is_it(task: TaskValues, parts: tuple[str, ...]) -> bool:
    """Whether the task at ``parts`` is ``task``; of a shorter path, whether it is in there."""
    return parts == (task.flow_name, task.run_id, task.step_name, task.task_id)[: len(parts)]
