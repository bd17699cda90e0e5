"""``Step``: the tasks of one step of a run."""

# The objects of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow.client.base import Container, MetaflowObject
from asyncflow.client.pathspec import serial_of
from asyncflow.client.task import Task, tasks_of
from asyncflow.client.times import local_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from asyncflow.client.run import Run


class Step(MetaflowObject, Container[Task]):
    """One step of a run: ``Step("MovieFlow/1795443591639920/work")``.

        step = run["work"]
        step.task.data.x                      # of its newest task
        [task.data.x for task in step]        # of all, newest first

    Raises ``MetaflowInvalidPathspec``, ``MetaflowNotFound``, ``MetaflowNamespaceMismatch``.
    """

    _DEPTH = 3

    @property
    def parent(self) -> Run:
        """The run."""
        from asyncflow.client.run import Run

        return Run._at(self._place, self._namespace, self._parts[:2])

    @property
    def created_at(self) -> datetime:
        """When its first task was made, in local time."""
        for name, created in self._reader.steps(self._parts[1]):
            if name == self.id:
                return local_time(created)
        raise self._not_found()

    @property
    def finished_at(self) -> datetime | None:
        """When the last of its tasks ended, well or badly; None while one runs."""
        ends = [task.finished_at for task in self]
        done = [end for end in ends if end is not None]
        return max(done) if done and len(done) == len(ends) else None

    @property
    def task(self) -> Task | None:
        """The newest task."""
        return next(self._tasks(limit=1), None)

    def tasks(self, *tags: str) -> Iterator[Task]:
        """Its tasks, newest first; none where the run lacks one of ``tags``."""
        if not tags or self.tags.issuperset(tags):
            yield from self._tasks()

    @property
    def origin_pathspec(self) -> str | None:
        """The step of the run that its run resumed."""
        origin = self.parent.origin_pathspec
        return None if origin is None else f"{origin}/{self.id}"

    # -- inside ------------------------------------------------------------------------------------

    def _tasks(self, limit: int | None = None) -> Iterator[Task]:
        records = self._reader.tasks(self._parts[1], self.id, limit=limit)
        return tasks_of(self._place, self._namespace, self._parts, records)

    def _require(self) -> None:
        super()._require()
        if self.task is None:
            raise self._not_found()

    def _children(self) -> Iterator[Task]:
        return self._tasks()

    def _child(self, name: str) -> Task | None:
        serial = serial_of(name)
        record = None if serial is None else self._reader.task(self._parts[1], self.id, serial)
        return None if record is None else next(tasks_of(self._place, self._namespace, self._parts, [record]))
