"""``Run``: one execution of a flow."""

# The objects of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from asyncflow.client import tags as tagging
from asyncflow.client.base import Container, MetaflowObject
from asyncflow.client.graphs import graph_of
from asyncflow.client.namespaces import get_namespace
from asyncflow.client.step import Step
from asyncflow.client.stores import Place
from asyncflow.client.task import Task
from asyncflow.client.times import local_time, local_time_or_none
from asyncflow.events import RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from asyncflow.client.data import MetaflowData
    from asyncflow.client.flow import Flow
    from asyncflow.events import Failure
    from asyncflow.store.local import LocalStore

LOST_AFTER = 30.0
"""Seconds without a heartbeat after which a running run is called lost; the engine beats every 5 s."""


class Run(MetaflowObject, Container[Step]):
    """One run of a flow: ``Run("MovieFlow/1795443591639920")``.

        run = Flow("MovieFlow").latest_run
        run.state, run.successful, run.finished_at
        run.data.ranking            # the artifacts of the end task
        run["work"].task.data.x     # those of a task of a step
        for step in run: ...        # newest first

    Raises ``MetaflowInvalidPathspec``, ``MetaflowNotFound``, ``MetaflowNamespaceMismatch``.
    """

    _DEPTH = 2

    @classmethod
    def of_store(cls, store: LocalStore, run_id: str) -> Self:
        """The run ``run_id`` in ``store``, whatever the namespace; it stays readable when ``store`` is closed."""
        place = Place(str(store.root))
        record = place.reader.run(run_id)
        new = cls._at(place, get_namespace(), ("?" if record is None else record.flow_name, run_id))
        if record is None:
            raise new._not_found()
        return new

    @property
    def parent(self) -> Flow:
        """The flow."""
        from asyncflow.client.flow import Flow

        return Flow._at(self._place, self._namespace, self._parts[:1])

    # -- how it is ---------------------------------------------------------------------------------

    @property
    def state(self) -> RunState:
        """``running succeeded failed cancelled lost``. Lost is a run whose engine died: its heartbeat stopped."""
        record = self._run_record()
        if record.state is RunState.RUNNING and time.time() - max(record.heartbeat, record.created) > LOST_AFTER:
            return RunState.LOST
        return record.state

    @property
    def successful(self) -> bool:
        """Whether the end task succeeded."""
        task = self.end_task
        return task is not None and task.successful

    @property
    def finished(self) -> bool:
        """Whether the end task is done. False for a failed run, which has ``finished_at`` all the same."""
        task = self.end_task
        return task is not None and task.finished

    @property
    def created_at(self) -> datetime:
        return local_time(self._run_record().created)

    @property
    def finished_at(self) -> datetime | None:
        """When it ended, in whatever state; None while it runs and for a lost run."""
        record = self._run_record()
        if record.finished is None and (task := self.end_task) is not None and task.finished:
            return task.finished_at  # done, and the engine is about to write that down
        return local_time_or_none(record.finished)

    @property
    def first_failure(self) -> Failure | None:
        """What failed first, with ``.kind``, ``.message`` and ``.traceback``; None where nothing has."""
        return self._run_record().first_failure

    @property
    def first_failed_task(self) -> Task | None:
        """The task that failed first."""
        where = self._run_record().first_failed_task
        return None if where is None else Task._at(self._place, self._namespace, (*self._parts, *where.split("/")))

    @property
    def origin_pathspec(self) -> str | None:
        """The run that this one resumed."""
        origin = self._run_record().origin_run_id
        return None if origin is None else f"{self._parts[0]}/{origin}"

    # -- what it has -------------------------------------------------------------------------------

    @property
    def end_task(self) -> Task | None:
        """The task of the last step; None where it hasn't begun."""
        end = self._child(graph_of(self._place, self.id).end)
        return None if end is None else end.task

    @property
    def data(self) -> MetaflowData | None:
        """The artifacts of the end task; None where it hasn't begun."""
        task = self.end_task
        return None if task is None else task.data

    def steps(self, *tags: str) -> Iterator[Step]:
        """The steps that have begun, newest first; none where the run lacks one of ``tags``."""
        if not tags or self.tags.issuperset(tags):
            for name, _ in self._reader.steps(self.id):
                if not name.startswith("_"):
                    yield self._step(name)

    # -- tags --------------------------------------------------------------------------------------

    def add_tag(self, tag: str | Iterable[str]) -> None:
        """Add a tag: 1 to 500 characters; a run has at most 50. Raises ``MetaflowTaggingError``."""
        tagging.change(self._reader, self.id, add=tag)

    def add_tags(self, tags: str | Iterable[str]) -> None:
        """Add several tags at once. Raises ``MetaflowTaggingError``."""
        tagging.change(self._reader, self.id, add=tags)

    def remove_tag(self, tag: str | Iterable[str]) -> None:
        """Remove a tag, if the run has it. Raises ``MetaflowTaggingError`` for a system tag."""
        tagging.change(self._reader, self.id, remove=tag)

    def remove_tags(self, tags: str | Iterable[str]) -> None:
        """Remove several tags at once. Raises ``MetaflowTaggingError`` for a system tag."""
        tagging.change(self._reader, self.id, remove=tags)

    def replace_tag(self, tag_to_remove: str | Iterable[str], tag_to_add: str | Iterable[str]) -> None:
        """Remove one and add another in one step. Raises ``MetaflowTaggingError``."""
        tagging.change(self._reader, self.id, add=tag_to_add, remove=tag_to_remove)

    def replace_tags(self, tags_to_remove: str | Iterable[str], tags_to_add: str | Iterable[str]) -> None:
        """Remove and add several in one step, removals first. Raises ``MetaflowTaggingError``."""
        tagging.change(self._reader, self.id, add=tags_to_add, remove=tags_to_remove)

    # -- inside ------------------------------------------------------------------------------------

    def _step(self, name: str) -> Step:
        return Step._at(self._place, self._namespace, (*self._parts, name))

    def _children(self) -> Iterator[Step]:
        return self.steps()

    def _child(self, name: str) -> Step | None:
        return self._step(name) if self._reader.tasks(self.id, name, limit=1) else None
