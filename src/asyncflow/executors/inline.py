"""The executor that has no workers: tasks run in this process, on the event loop's thread."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from asyncflow.events import FailureKind, TaskCancelled, TaskFailed, TaskStarted
from asyncflow.loader import graph_of, load_flow
from asyncflow.store.local import LocalStore
from asyncflow.worker import kernel
from asyncflow.worker.failures import failure_of
from asyncflow.worker.task import Outcome, run_task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence

    from asyncflow.events import Attempt, RunContext, TaskSpec
    from asyncflow.protocols import BlobAccess, Emit, EmitLog, Session

    RunTask = Callable[[TaskSpec], Outcome]


class InlineExecutor:
    """Runs one task at a time, in this process: for a debugger, and for tests of a flow.

    The event loop stands still while a step runs, so breakpoints and ``input()`` work as in any script; nothing
    else on the loop does meanwhile, and while a step takes over 30 s readers see the run as lost. What a step prints
    goes where this process prints, and isn't kept as logs. A step that kills the process kills the engine with it;
    one that hangs ends with Ctrl-C only.

    ``blobs`` is where artifacts are read and written, if not in the local store that the run names.
    """

    name = "inline"

    def __init__(self, blobs: BlobAccess | None = None) -> None:
        self._blobs = blobs

    @property
    def slots(self) -> int:
        return 1

    @asynccontextmanager
    async def attach(self, run: RunContext, emit: Emit, emit_log: EmitLog) -> AsyncGenerator[Session]:  # noqa: ARG002 - nothing is captured
        """Raises what importing the flow raises, and ``StoreError``."""
        flow_class = load_flow(run.source)
        graph = graph_of(flow_class)
        store = LocalStore.open(run.store, create=False) if self._blobs is None else None
        blobs = self._blobs if store is None else store.blobs
        assert blobs is not None
        worker = f"pid {os.getpid()}"
        umask = kernel.umask()
        session = _InlineSession(
            lambda spec: run_task(flow_class, graph, run, spec, blobs, worker=worker, umask=umask), emit, worker
        )
        try:
            yield session
        finally:
            session.close()
            if store is not None:
                store.close()


class _InlineSession:
    """Takes specs one after the other, each in a turn of the loop of its own."""

    def __init__(self, run: RunTask, emit: Emit, worker: str) -> None:
        self._run = run
        self._emit = emit
        self._worker = worker
        self._waiting: deque[TaskSpec] = deque()
        self._cancelled: set[Attempt] = set()
        self._next: asyncio.Handle | None = None

    @property
    def window(self) -> int:
        return 1

    def submit(self, specs: Sequence[TaskSpec]) -> None:
        self._waiting.extend(specs)
        self._go_on()

    def cancel(self, attempts: Sequence[Attempt], *, grace: float) -> None:  # noqa: ARG002 - nothing runs while this is called
        waiting = {spec.attempt for spec in self._waiting}
        self._cancelled.update(waiting.intersection(attempts))

    async def adopt(self, handles: Mapping[Attempt, str | None]) -> frozenset[Attempt]:  # noqa: ARG002 - nothing outlives us
        return frozenset()

    def resume_logs(self) -> None:
        """Nothing was held back: a step's output isn't captured."""

    def close(self) -> None:
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _go_on(self) -> None:
        if self._waiting and self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._next = None
        self._end_cancelled()
        if self._waiting:
            spec = self._waiting.popleft()
            started = time.time()
            self._emit(TaskStarted(spec.attempt, started, self._worker), ())
            outcome = self._outcome(spec, started)
            self._emit(outcome.ending, outcome.blobs)
        self._go_on()

    def _end_cancelled(self) -> None:
        if not self._cancelled:
            return
        ended = [spec.attempt for spec in self._waiting if spec.attempt in self._cancelled]
        self._waiting = deque(spec for spec in self._waiting if spec.attempt not in self._cancelled)
        self._cancelled.clear()
        for attempt in ended:
            self._emit(TaskCancelled(attempt, time.time()), ())

    def _outcome(self, spec: TaskSpec, started: float) -> Outcome:
        try:
            with _interruptible():
                return self._run(spec)
        except BaseException as error:
            # A bug of ours, or Ctrl-C in the moment before or after the step: the run must hear of it all the same.
            failure = failure_of(error, kind=FailureKind.CRASH)
            return Outcome(TaskFailed(spec.attempt, failure, time.time(), started, self._worker), [])


@contextmanager
def _interruptible() -> Generator[None]:
    """Ctrl-C interrupts the step: the loop, which would take it otherwise, stands still."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)
