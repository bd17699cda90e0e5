"""``Metaflow`` (all flows) and ``Flow`` (all runs of one)."""

# The objects of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow.client import stores
from asyncflow.client.base import Container, MetaflowObject
from asyncflow.client.namespaces import get_namespace
from asyncflow.client.run import Run
from asyncflow.client.times import local_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


class Metaflow(Container["Flow"]):
    """All flows that have a run in the current namespace.

    for flow in Metaflow():
        print(flow, flow.latest_run)
    Metaflow()["MovieFlow"]
    """

    def __init__(self) -> None:
        self._place = stores.here()
        self._namespace = get_namespace()

    @property
    def flows(self) -> list[Flow]:
        return list(self._children())

    def __getitem__(self, name: str | int) -> Flow:
        """Raises ``MetaflowNotFound`` and ``MetaflowNamespaceMismatch``."""
        flow = self._flow(str(name))
        flow._require()
        flow._require_namespace()
        return flow

    def _flow(self, name: str) -> Flow:
        return Flow._at(self._place, self._namespace, (name,))

    def _children(self) -> Iterator[Flow]:
        if self._place.exists:
            flows = (self._flow(name) for name in self._place.reader.flows())
            yield from (flow for flow in flows if flow.is_in_namespace())

    def _child(self, name: str) -> Flow | None:
        flow = self._flow(name)
        return flow if self._place.exists and flow.is_in_namespace() else None

    def __repr__(self) -> str:
        return f"Metaflow() in namespace {self._namespace!r} of {self._place.root}"


class Flow(MetaflowObject, Container[Run]):
    """A flow, by its class's name: the runs of it that are in the current namespace, newest first.

        flow = Flow("MovieFlow")
        flow.latest_successful_run.data.ranking
        for run in flow.runs("experiment:3"):
            print(run.id, run.state)

    Raises ``MetaflowNotFound`` where there is no run of it, ``MetaflowNamespaceMismatch`` where all are in others.
    """

    _DEPTH = 1

    @property
    def parent(self) -> None:
        """None: a flow is the topmost."""

    @property
    def created_at(self) -> datetime:
        """When its first run was made, in local time."""
        runs = self._reader.runs(self.id)
        if not runs:
            raise self._not_found()
        return local_time(min(run.created for run in runs))

    @property
    def latest_run(self) -> Run | None:
        """The newest run in the namespace, in whatever state; None where there is none."""
        records = self._reader.runs(self.id, tags=self._filter(()), limit=1)
        return self._run(records[0].run_id) if records else None

    @property
    def latest_successful_run(self) -> Run | None:
        """The newest run in the namespace whose end task succeeded."""
        return next((run for run in self if run.successful), None)

    def runs(self, *tags: str) -> Iterator[Run]:
        """The runs in the namespace that have all of ``tags``, newest first."""
        for record in self._reader.runs(self.id, tags=self._filter(tags)):
            yield self._run(record.run_id)

    @property
    def tags(self) -> frozenset[str]:
        """None at all: runs have tags, flows haven't."""
        return frozenset()

    @property
    def user_tags(self) -> frozenset[str]:
        return frozenset()

    @property
    def system_tags(self) -> frozenset[str]:
        return frozenset()

    def is_in_namespace(self) -> bool:
        """Whether a run of it is in the namespace that this object was made in."""
        return bool(self._reader.runs(self.id, tags=self._filter(()), limit=1))

    # -- inside ------------------------------------------------------------------------------------

    def _filter(self, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tags if self._namespace is None else (self._namespace, *tags)

    def _run(self, run_id: str) -> Run:
        return Run._at(self._place, self._namespace, (self.id, run_id))

    def _require(self) -> None:
        if not self._reader.runs(self.id, limit=1):
            raise self._not_found()

    def _children(self) -> Iterator[Run]:
        return self.runs()

    def _child(self, name: str) -> Run | None:
        record = self._reader.run(name)
        if record is None or record.flow_name != self.id:
            return None
        return self._run(name)

    def __getitem__(self, name: str | int) -> Run:
        """The run of that id. Raises ``KeyError`` and ``MetaflowNamespaceMismatch``."""
        run = super().__getitem__(name)
        run._require_namespace()
        return run
