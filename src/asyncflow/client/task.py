"""``Task``: one task of a run, with its attempts."""

# The objects of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, overload

from asyncflow.client.artifact import DataArtifact
from asyncflow.client.base import Container, MetaflowObject
from asyncflow.client.data import MetaflowArtifacts, MetaflowData
from asyncflow.client.facts import metadata_of
from asyncflow.client.failures import exception_of
from asyncflow.client.graphs import graph_of
from asyncflow.client.pathspec import serial_of
from asyncflow.client.running import with_running_attempt
from asyncflow.client.siblings import TOGETHER, Siblings
from asyncflow.client.times import local_time, local_time_or_none
from asyncflow.errors import MetaflowNotFound, StoreError
from asyncflow.store.artifacts import COMPANION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from asyncflow.client.facts import Metadata
    from asyncflow.client.step import Step
    from asyncflow.client.stores import Place
    from asyncflow.errors import MetaflowExceptionWrapper
    from asyncflow.events import BlobRef, Stream
    from asyncflow.protocols import AttemptRecord, TaskRecord


class Task(MetaflowObject, Container[DataArtifact]):
    """One task: ``Task("MovieFlow/1795443591639920/work/3")``; ``attempt=0`` shows its first attempt.

    Without ``attempt`` it shows the last one that has begun.

        task.data.x                     # the value of the artifact x
        task["x"].size, "x" in task
        task.finished, task.successful, task.exception
        print(task.stdout)

    Raises ``MetaflowInvalidPathspec``, ``MetaflowNotFound``, ``MetaflowNamespaceMismatch``.
    """

    _DEPTH = 4
    _record: TaskRecord | None = None
    _siblings: Siblings | None = None

    def __init__(self, pathspec: str, attempt: int | None = None, *, _namespace_check: bool = True) -> None:
        if attempt is not None:
            self._attempt = attempt
        super().__init__(pathspec, _namespace_check=_namespace_check)

    @property
    def parent(self) -> Step:
        """The step."""
        from asyncflow.client.step import Step

        return Step._at(self._place, self._namespace, self._parts[:3])

    # -- how it is ---------------------------------------------------------------------------------

    @property
    def successful(self) -> bool:
        """Whether the attempt succeeded. False where ``@catch`` caught what it raised."""
        attempt = self._attempt_record()
        return attempt is not None and attempt.state == "succeeded" and not attempt.caught

    @property
    def finished(self) -> bool:
        """Whether the task is done: it succeeded, or ``@catch`` caught what it raised. False for a failed one."""
        attempt = self._attempt_record()
        return attempt is not None and attempt.state == "succeeded"

    @property
    def created_at(self) -> datetime:
        return local_time(self._task_record().created)

    @property
    def finished_at(self) -> datetime | None:
        """When the attempt ended, well or badly, in local time; None while it runs."""
        attempt = self._attempt_record()
        return None if attempt is None else local_time_or_none(attempt.ended)

    @property
    def current_attempt(self) -> int:
        """The number of the attempt that is shown, from 0."""
        attempt = self._attempt_record()
        return 0 if attempt is None else attempt.number

    @property
    def exception(self) -> MetaflowExceptionWrapper | None:
        """Why the attempt failed, with ``.type``, ``.exception`` and ``.stacktrace``; None where it didn't."""
        attempt = self._attempt_record()
        if attempt is None or attempt.failure is None or attempt.caught:
            return None
        return exception_of(attempt.failure)

    @property
    def index(self) -> int | None:
        """Which item of the innermost foreach it got, from 0; None outside of a foreach."""
        path = self._task_record().path
        if not path:
            return None
        node = graph_of(self._place, self._parts[1]).nodes.get(self._parts[2])
        if node is not None and node.is_recursive:  # the last one counts its iterations
            path = path[:-1]
        return path[-1] if path else None

    @property
    def runtime_name(self) -> str | None:
        """What ran it: ``dev`` for a run from a command line or from Python."""
        names = [tag for tag in self.system_tags if tag.startswith("runtime:")]
        return names[0].partition(":")[2] if names else None

    @property
    def origin_pathspec(self) -> str | None:
        """The task that this one was cloned from."""
        return self._task_record().origin

    @property
    def metadata(self) -> list[Metadata]:
        """What was noted down about the task, one ``Metadata(name, value, created_at, type, task)`` for each fact."""
        return metadata_of(self, self._run_record(), self._task_record(), self._attempt_record())

    @property
    def metadata_dict(self) -> dict[str, str]:
        """The same as a mapping: ``attempt``, ``attempt_ok``, ``python_version``, ``script-name`` ..."""
        return {fact.name: fact.value for fact in self.metadata}

    # -- artifacts ---------------------------------------------------------------------------------

    @property
    def data(self) -> MetaflowData:
        """The artifacts' values as attributes, loaded one by one when used: ``task.data.x``."""
        manifest, refs = self._artifacts()
        return MetaflowData(self, manifest, _visible(refs))

    @property
    def artifacts(self) -> MetaflowArtifacts:
        """The artifacts themselves as attributes: ``task.artifacts.x.size``."""
        return MetaflowArtifacts({artifact.id: artifact for artifact in self})

    # -- output ------------------------------------------------------------------------------------

    @property
    def stdout(self) -> str:
        """All that the attempt printed so far."""
        return self._output("stdout")

    @property
    def stderr(self) -> str:
        return self._output("stderr")

    @property
    def stdout_size(self) -> int:
        """Bytes of ``stdout``."""
        return self._output_size("stdout")

    @property
    def stderr_size(self) -> int:
        """Bytes of ``stderr``."""
        return self._output_size("stderr")

    @overload
    def loglines(self, stream: Stream, as_unicode: Literal[True] = True) -> Iterator[tuple[datetime, str]]: ...
    @overload
    def loglines(self, stream: Stream, as_unicode: Literal[False]) -> Iterator[tuple[datetime, bytes]]: ...
    def loglines(self, stream: Stream, as_unicode: bool = True) -> Iterator[tuple[datetime, str | bytes]]:
        """``(time, line)`` of each line of ``stdout`` or ``stderr``, without line ends, as they were printed.

        Output that isn't UTF-8 has replacement characters, or comes as it was with ``as_unicode=False``.
        Memory doesn't grow with the output. Raises ``ValueError`` for another stream.
        """
        if stream not in ("stdout", "stderr"):
            raise ValueError(f"The streams of a task are 'stdout' and 'stderr', not {stream!r}.")
        return self._lines(stream, as_unicode)

    # -- inside ------------------------------------------------------------------------------------

    def _lines(self, stream: Stream, as_unicode: bool) -> Iterator[tuple[datetime, str | bytes]]:
        run_id, serial = self._parts[1], self._task_record().serial
        chunks = self._reader.logs(run_id, serial, self.current_attempt)
        for line in self._place.store.logs.read(run_id, chunks):
            if line.stream == stream:
                yield local_time(line.at), line.line.decode(errors="replace") if as_unicode else line.line

    def _output(self, stream: Stream) -> str:
        return "".join(f"{line}\n" for _, line in self.loglines(stream))

    def _output_size(self, stream: Stream) -> int:
        return sum(len(line) + 1 for _, line in self.loglines(stream, as_unicode=False))

    def _task_record(self) -> TaskRecord:
        """Read again until there is nothing more to come: after an attempt that succeeded there is no other."""
        record = self._record
        if record is None or not record.attempts or record.attempts[-1].state != "succeeded":
            serial = serial_of(self.id)
            found = None if serial is None else self._reader.task(self._parts[1], self._parts[2], serial)
            record = with_running_attempt(found, self._parts, record)
            if record is None:
                raise self._not_found()
            self._record = record
        return record

    def _attempt_record(self) -> AttemptRecord | None:
        """The attempt that is shown; None where none has begun."""
        attempts = self._task_record().attempts
        if self._attempt is None:
            return attempts[-1] if attempts else None
        for attempt in attempts:
            if attempt.number == self._attempt:
                return attempt
        known = ", ".join(str(attempt.number) for attempt in attempts) or "none"
        raise MetaflowNotFound(f"{self!r} does not exist. The attempts of the task are: {known}.")

    def _require(self) -> None:
        super()._require()
        self._attempt_record()

    def _artifacts(self) -> tuple[BlobRef | None, dict[str, BlobRef]]:
        """The manifest and what is in it, without companions; None and nothing where there is none (yet)."""
        attempt = self._attempt_record()
        if attempt is None or attempt.manifest is None:
            return None, {}
        ref, loader = attempt.manifest, self._place.loader
        try:
            manifest = self._siblings.manifest(loader, ref) if self._siblings else loader.manifest(ref)
        except StoreError as error:
            raise type(error)(f"The artifacts of {self!r} can't be read: {error}") from error
        return ref, {name: found for name, found in manifest.artifacts.items() if not name.endswith(COMPANION)}

    def _load(self, manifest: BlobRef, ref: BlobRef, name: str) -> Any:
        """The value of artifact ``name`` at ``ref`` of ``manifest``."""
        label, loader = f"{self.pathspec}/{name}", self._place.loader
        if self._siblings:
            return self._siblings.load(loader, manifest, ref, name, label)
        return loader.load(ref, label)

    def _artifact(self, name: str, manifest: BlobRef, ref: BlobRef) -> DataArtifact:
        return DataArtifact._of_task(self, name, manifest, ref)

    def _children(self) -> Iterator[DataArtifact]:
        manifest, refs = self._artifacts()
        if manifest is not None:
            for name, ref in _visible(refs).items():
                yield self._artifact(name, manifest, ref)

    def _child(self, name: str) -> DataArtifact | None:
        manifest, refs = self._artifacts()
        return None if manifest is None or name not in refs else self._artifact(name, manifest, refs[name])


def _visible(refs: dict[str, BlobRef]) -> dict[str, BlobRef]:
    """Without the artifacts whose names say that they are internal to the flow."""
    return {name: ref for name, ref in refs.items() if not name.startswith("_")}


def tasks_of(
    place: Place, namespace: str | None, step: tuple[str, ...], records: Iterable[TaskRecord]
) -> Iterator[Task]:
    """The tasks that ``records`` of the step at ``step`` stand for, in groups that read ahead together."""
    records = iter(records)
    while group := list(islice(records, TOGETHER)):
        manifests = [record.attempts[-1].manifest for record in group if record.attempts]
        siblings = Siblings([manifest for manifest in manifests if manifest is not None])
        for record in group:
            task = Task._at(place, namespace, (*step, str(record.serial)))
            task._record = record
            task._siblings = siblings
            yield task
