"""What is pluggable, in one place: executors and stores, and the records that pass between them.

The engine talks to executors and stores through these protocols only. ``tests/contract`` holds one suite
for each, which every implementation passes; a new one starts there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

from msgspec import Struct

from asyncflow.events import (
    Attempt,
    BlobKey,
    BlobRef,
    Event,
    ExecutorEvent,
    Failure,
    RunContext,
    RunId,
    RunState,
    Stream,
    TaskLog,
    TaskSpec,
)

# -- executors -------------------------------------------------------------------------------------


class SmallBlob(Struct, frozen=True, array_like=True):
    """A blob small enough to travel with a task's ending and to live in the metadata database."""

    key: BlobKey
    content: bytes


Emit: TypeAlias = Callable[[ExecutorEvent, Sequence[SmallBlob]], None]
"""Takes an executor event and the small blobs that must be durable before it takes effect. Never blocks;
called on the loop's thread only."""

EmitLog: TypeAlias = Callable[[TaskLog], bool]
"""Takes a line of output. False: the log store is behind, don't read more until ``Session.resume_logs``."""


class Session(Protocol):
    """One run's use of an executor.

    For each submitted spec exactly one ending is emitted; before it at most one ``TaskAccepted`` and at
    most one ``TaskStarted``. Every log line of an attempt is emitted after its start and before its ending.
    """

    @property
    def window(self) -> int:
        """How many tasks this executor wants submitted and not ended, now; may change as the run goes on."""
        ...

    def submit(self, specs: Sequence[TaskSpec]) -> None:
        """Only enqueues, so order holds. A spec that can't be run ends with ``TaskFailed``."""
        ...

    def cancel(self, attempts: Sequence[Attempt], *, grace: float) -> None:
        """Likewise. Each ends with ``TaskCancelled``, or as it would have ended anyway if that came first.

        What runs is asked to stop (SIGTERM), and killed after ``grace`` seconds. Unknown attempts are ignored.
        """
        ...

    async def adopt(self, handles: Mapping[Attempt, str | None]) -> frozenset[Attempt]:
        """The attempts among ``handles`` that are still running or have ended, which will be reported as if
        submitted here. None: perhaps submitted. Those not in the answer must be submitted again."""
        ...

    def resume_logs(self) -> None:
        """The log store has room again."""
        ...


class Executor(Protocol):
    """Runs task specs somewhere. One object may serve several runs at a time, which share its slots."""

    name: str

    @property
    def slots(self) -> int:
        """How many tasks can run at the same time, over all runs."""
        ...

    def attach(self, run: RunContext, emit: Emit, emit_log: EmitLog) -> AbstractAsyncContextManager[Session]:
        """Serve one run. On exit nothing of the run is left running: what hasn't ended is killed at once."""
        ...


# -- blobs and objects -----------------------------------------------------------------------------


class Blob(Struct, frozen=True):
    """Content to be stored, in parts that are written one after the other (so that nothing is copied)."""

    key: BlobKey
    parts: tuple[bytes | memoryview, ...]

    @property
    def size(self) -> int:
        return sum(len(part) if isinstance(part, bytes) else part.nbytes for part in self.parts)


class BlobAccess(Protocol):
    """The synchronous half of a blob store: what workers and the client use, in any process and thread."""

    def read(self, refs: Sequence[BlobRef]) -> Iterator[tuple[BlobRef, bytes | memoryview]]:
        """In the order of ``refs``; a large blob comes as a view of a memory-mapped file, copy-on-write.

        Raises ``BlobNotFound`` and ``BlobDamaged``.
        """
        ...

    def write(self, blob: Blob) -> BlobRef:
        """One large blob, durable when it returns."""
        ...


class BlobStore(Protocol):
    """Content-addressed, immutable blobs: whole or absent, never half."""

    async def put(self, blobs: Sequence[Blob]) -> list[BlobRef]:
        """Durable when it returns. A blob that is there already costs nothing."""
        ...

    def get(self, refs: Sequence[BlobRef]) -> AsyncIterator[tuple[BlobRef, bytes | memoryview]]:
        """Raises ``BlobNotFound`` and ``BlobDamaged``; the hash is checked."""
        ...

    async def missing(self, keys: Sequence[BlobKey]) -> frozenset[BlobKey]: ...


class ObjectStore(Protocol):
    """Named objects: specs, results, notices, logs of remote tasks."""

    async def put_new(self, name: str, body: bytes) -> bool:
        """False: there is one of that name already, and it is untouched."""
        ...

    async def get(self, name: str) -> bytes: ...

    def list(self, prefix: str, after: str | None = None) -> AsyncIterator[str]: ...


# -- metadata: what readers see ---------------------------------------------------------------------


class RunRecord(Struct, frozen=True, kw_only=True):
    """One run. ``state`` is as written: a reader derives LOST from ``heartbeat``."""

    flow_name: str
    run_id: RunId
    created: float
    state: RunState = RunState.RUNNING
    finished: float | None = None
    heartbeat: float = 0.0
    epoch: int = 1
    username: str = ""
    tags: tuple[str, ...] = ()
    system_tags: tuple[str, ...] = ()
    graph: bytes = b"{}"
    """The flow's graph as JSON, for readers that can't import the flow."""
    context: bytes = b""
    """The encoded ``RunContext``."""
    origin_run_id: RunId | None = None
    first_failure: Failure | None = None
    first_failed_task: str | None = None
    """``step/task`` of the first failure."""
    metadata: dict[str, str] = {}
    """What ``Task.metadata`` shows of every task: python_version, script-name, user, runtime, ..."""


class AttemptRecord(Struct, frozen=True, kw_only=True):
    number: int
    state: str
    """``running succeeded failed cancelled``"""
    started: float | None = None
    ended: float | None = None
    worker: str = ""
    manifest: BlobRef | None = None
    failure: Failure | None = None
    caught: bool = False


class TaskRecord(Struct, frozen=True, kw_only=True):
    """One task; its attempts oldest first."""

    run_id: RunId
    step: str
    serial: int
    path: tuple[int, ...]
    created: float
    attempts: tuple[AttemptRecord, ...] = ()
    origin: str | None = None
    """The pathspec that this task was cloned from."""


class LogChunk(Struct, frozen=True, array_like=True):
    """Where a run of log lines of one attempt stands in the run's log file."""

    serial: int
    attempt: int
    offset: int
    size: int


class LogLine(Struct, frozen=True, array_like=True):
    stream: Stream
    at: float
    line: bytes


class MetadataReader(Protocol):
    """The queries of the client: synchronous, usable in any thread and while an event loop runs.

    Sees what other processes have committed. Every method opens and closes its own read transaction.
    Order is by age, newest first, unless said.
    """

    def flows(self) -> list[str]: ...

    def runs(
        self, flow_name: str | None = None, *, tags: Sequence[str] = (), limit: int | None = None
    ) -> list[RunRecord]:
        """Runs that have all of ``tags`` among their tags and system tags."""
        ...

    def run(self, run_id: RunId) -> RunRecord | None: ...

    def steps(self, run_id: RunId) -> list[tuple[str, float]]:
        """Names of the steps that have tasks, with the first task's creation time."""
        ...

    def tasks(self, run_id: RunId, step: str, *, limit: int | None = None) -> list[TaskRecord]: ...

    def task(self, run_id: RunId, step: str, serial: int) -> TaskRecord | None: ...

    def logs(self, run_id: RunId, serial: int, attempt: int | None = None) -> list[LogChunk]:
        """In the order they were written."""
        ...

    def change_tags(self, run_id: RunId, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> tuple[str, ...]:
        """Both in one transaction, removals first; returns the user tags after it."""
        ...

    def small_blobs(self, keys: Sequence[BlobKey]) -> dict[BlobKey, bytes]:
        """Those of ``keys`` that live in the database."""
        ...


class MetadataStore(Protocol):
    """The engine's side: the journal and what is derived from it."""

    async def create_run(self, run: RunRecord, blobs: Sequence[SmallBlob] = ()) -> None: ...

    async def append(
        self,
        run_id: RunId,
        epoch: int,
        events: Sequence[Event],
        blobs: Sequence[SmallBlob] = (),
        logs: Sequence[LogChunk] = (),
    ) -> None:
        """Journal, task rows, small blobs and log places in one transaction; durable when it returns.

        ``TaskStarted`` is written to the task rows, not to the journal. Raises ``StaleEpoch`` and ``StoreError``.
        """
        ...

    async def heartbeat(self, run_id: RunId, epoch: int, at: float) -> None: ...

    async def finish_run(
        self, run_id: RunId, epoch: int, state: RunState, at: float, failure: Failure | None, failed_task: str | None
    ) -> None: ...

    async def claim_run(self, run_id: RunId) -> int:
        """Take a run over: raises its epoch by one and returns it."""
        ...

    def journal(self, run_id: RunId) -> AsyncIterator[Event]:
        """In the order of appending."""
        ...
