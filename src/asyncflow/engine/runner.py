"""``Engine``: run a flow from Python, in a running event loop.

    run = await Engine(MovieFlow, max_workers=8).run(genre="Comedy")

    async with Engine(MovieFlow).start(genre="Comedy") as handle:
        async for event in handle.events():
            ...
        run = await handle.result()

An engine installs no signal handlers and keeps no global state; any number of them may run on one loop, and
share one open executor.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from asyncflow._version import __version__
from asyncflow.codec import encode_context
from asyncflow.engine.clock import LoopClock
from asyncflow.engine.logs import LogSink
from asyncflow.engine.scheduler import Scheduler
from asyncflow.engine.shell import RunShell
from asyncflow.engine.stream import Broadcast
from asyncflow.errors import (
    FlowDefinitionError,
    RunCancelled,
    RunExists,
    RunFailed,
    StaleEpoch,
    UsageError,
)
from asyncflow.events import OnFailure, RunContext, RunFinished, RunStarted, RunState, StepPolicy
from asyncflow.graph import FlowGraph, NodeKind
from asyncflow.lint import ensure_valid
from asyncflow.loader import source_of
from asyncflow.parameters import resolve_parameters
from asyncflow.protocols import RunRecord
from asyncflow.settings import default_namespace, find_store, username
from asyncflow.store.local import LocalStore
from asyncflow.worker.task import initial_artifacts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from importlib.metadata import EntryPoint
    from os import PathLike
    from types import TracebackType

    from asyncflow.client import Run
    from asyncflow.engine.clock import Clock
    from asyncflow.events import BlobRef, StreamItem
    from asyncflow.flow import FlowSpec
    from asyncflow.protocols import Executor, Session, SmallBlob

_log = logging.getLogger("asyncflow.engine")
"""Silent unless the embedding program, or ``asyncflow run`` when asked, sets up a handler."""

GRACE = 5.0
"""Seconds between asking a worker to stop and killing it."""

_last_run_id = 0


class Engine:
    """Runs one flow class, any number of times, also at the same time.

    ``executor`` is a name (``local``, ``inline``, or one that a package registered in the entry-point group
    ``asyncflow.executors``) or an executor object, which may be shared. ``max_workers`` bounds the tasks that
    run at the same time (default: the executor's slots). ``namespace`` defaults to ``user:NAME``; ``store`` to
    the ``.asyncflow`` directory of the working directory or its nearest parent that has one.

    Raises ``GraphError`` at once when the flow's graph has problems.
    """

    def __init__(
        self,
        flow: type[FlowSpec],
        *,
        executor: str | Executor = "local",
        max_workers: int | None = None,
        isolation: str | None = None,
        on_failure: OnFailure | str = OnFailure.STOP,
        max_num_splits: int | None = None,
        tags: Sequence[str] = (),
        namespace: str | None = None,
        store: str | PathLike[str] | None = None,
        user: str | None = None,
        grace: float = GRACE,
        clock: Clock | None = None,
    ) -> None:
        if max_workers is not None and not 1 <= max_workers <= 1_000_000:
            raise UsageError(f"max_workers is {max_workers}; it must be from 1 to 1,000,000.")
        if max_num_splits is not None and max_num_splits < 1:
            raise UsageError(f"max_num_splits is {max_num_splits}; it must be at least 1.")
        self.flow = flow
        self.graph = FlowGraph.of(flow)
        ensure_valid(self.graph)
        _refuse_unsupported(self.graph)
        self.executor = executor
        self.max_workers = max_workers
        self.isolation = isolation
        self.on_failure = OnFailure(on_failure)
        self.max_num_splits = max_num_splits
        self.tags = _checked(tags)
        self.user = user or username()
        self.namespace = namespace if namespace is not None else default_namespace()
        self.store = store
        self.grace = grace
        self.clock = clock

    async def run(self, /, **parameters: object) -> Run:
        """Run the flow to its end; returns the client's ``Run``.

        Raises ``RunFailed`` (with ``.pathspec`` and ``.failure``), ``RunCancelled``, ``ParameterError``, ``StoreError``.
        Cancelling the awaiting task stops the run cleanly first; cancelled again, its workers are killed at once.
        """
        async with self.start(**parameters) as handle:
            return await handle.result()

    def start(self, /, **parameters: object) -> RunHandle:
        """A run to be entered with ``async with``: it starts there, and has ended when the block is left."""
        return RunHandle(self, parameters)


class RunHandle:
    """One run of an engine. Leaving the ``async with`` block waits for the run's end, or, on an exception, cancels it."""

    run_id: str
    pathspec: str

    def __init__(self, engine: Engine, parameters: Mapping[str, object]) -> None:
        self._engine = engine
        self._parameters = parameters
        self._stream = Broadcast()
        self._life: asyncio.Task[RunFinished] | None = None
        self._reported = False
        self._shell: RunShell
        self._logs: LogSink
        self._store: LocalStore

    async def __aenter__(self) -> Self:
        if self._life is not None:
            raise UsageError("A run handle can be entered once; call Engine.start() again for another run.")
        async with AsyncExitStack() as stack:
            context, executor = await self._open(stack)
            everything = stack.pop_all()
        # From here on the run is a task of its own: cancelling whoever waits for it doesn't tear it down.
        self._life = asyncio.create_task(self._live(everything, context, executor), name=f"asyncflow-run-{self.run_id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.cancel(f"{kind.__name__} in the code around the run")
        try:
            await self._ended()
        except asyncio.CancelledError:
            raise
        except Exception:
            if kind is None and not self._reported:
                raise

    def events(self, *, logs: bool = True) -> AsyncIterator[StreamItem]:
        """The run's events once they are durable, lines of output as they come (unless ``logs`` is False), and at
        last ``RunFinished``. Subscribes at once. A slow reader gets ``EventsDropped`` and never slows the run."""
        return self._stream.subscribe(logs=logs).__aiter__()

    def cancel(self, reason: str = "cancelled") -> None:
        """Ask the run to stop: workers get SIGTERM and, after the grace period, SIGKILL. Twice: SIGKILL at once."""
        if self._life is not None and not self._life.done():
            self._shell.cancel(reason)

    async def result(self) -> Run:
        """Wait for the run's end. Raises like ``Engine.run``."""
        self._reported = True
        finished = await self._ended()
        if finished.state is RunState.SUCCEEDED:
            from asyncflow.client import Run

            return Run.of_store(self._store, self.run_id)
        first = finished.first_failure
        if finished.state is RunState.CANCELLED:
            raise RunCancelled(f"Run {self.pathspec} was cancelled: {finished.reason}.", self.pathspec)
        if first is None:
            raise RunFailed(f"Run {self.pathspec} failed.", self.pathspec)
        where = f"{self.pathspec}/{first.attempt.task.step}/{first.attempt.serial}"
        raise RunFailed(f"Task {where} failed: {first.failure.message}", self.pathspec, first.failure)

    # -- inside ------------------------------------------------------------------------------------

    async def _open(self, stack: AsyncExitStack) -> tuple[RunContext, Executor]:
        """All that can fail before the run exists in the store; nothing is left behind when it does."""
        engine = self._engine
        values = resolve_parameters(engine.flow, self._parameters)
        executor = _find_executor(engine)
        clock = engine.clock or LoopClock()
        self._store = LocalStore.open(find_store(given=engine.store))
        stack.push_async_callback(self._store.aclose)
        manifest, small, large = initial_artifacts(engine.flow, values)
        await self._store.blob_store.put(large)
        while True:
            context = self._context(manifest, clock)
            try:
                await self._create(context, executor, clock, small)
            except RunExists:
                continue  # another process on this store started one in the same microsecond
            stack.push_async_callback(asyncio.to_thread, self._logs.close)
            return context, executor

    def _context(self, parameters: BlobRef, clock: Clock) -> RunContext:
        engine = self._engine
        return RunContext(
            run_id=_new_run_id(clock),
            flow_name=engine.graph.name,
            source=source_of(engine.flow),
            store=str(self._store.root),
            parameters=parameters,
            namespace=engine.namespace,
            username=engine.user,
            tags=engine.tags,
            max_num_splits=engine.max_num_splits,
            graph_hash=engine.graph.hash,
        )

    async def _create(self, context: RunContext, executor: Executor, clock: Clock, small: Sequence[SmallBlob]) -> None:
        self.run_id = context.run_id
        self.pathspec = f"{context.flow_name}/{self.run_id}"
        self._logs = LogSink(self._store.logs.writer(self.run_id), self._stream)
        self._shell = self._make_shell(context, executor, clock)
        try:
            await self._store.metadata.create_run(self._record(context, clock), small)
        except asyncio.CancelledError:  # it may have been written all the same
            await self._shell.abandon(RunState.CANCELLED, "cancelled while it was being started")
            raise

    def _record(self, context: RunContext, clock: Clock) -> RunRecord:
        now = clock.now()
        python = ".".join(str(part) for part in sys.version_info[:3])
        return RunRecord(
            flow_name=context.flow_name,
            run_id=self.run_id,
            created=now,
            heartbeat=now,
            username=context.username,
            tags=context.tags,
            system_tags=(
                f"user:{context.username}",
                "runtime:dev",
                f"python_version:{python}",
                f"asyncflow_version:{__version__}",
                "date:" + _date(now),
            ),
            graph=self._engine.graph.to_json(),
            context=encode_context(context),
            metadata={
                "python_version": python,
                "user": context.username,
                "runtime": "dev",
                "script-name": self._engine.graph.file,
            },
        )

    def _make_shell(self, context: RunContext, executor: Executor, clock: Clock) -> RunShell:
        engine = self._engine
        limit = executor.slots if engine.max_workers is None else min(engine.max_workers, executor.slots)
        started = RunStarted(
            run_id=self.run_id,
            flow_name=context.flow_name,
            at=clock.now(),
            graph_hash=engine.graph.hash,
            parameters=context.parameters,
            policies={step: StepPolicy(executor=executor.name) for step in engine.graph.nodes},
            limits={executor.name: limit},
            on_failure=engine.on_failure,
            version=__version__,
        )

        def limit_of(_name: str, session: Session) -> int:
            # An executor may want more than its slots submitted, so that none waits; a run's own bound stands.
            if engine.max_workers is not None and engine.max_workers < executor.slots:
                return engine.max_workers
            return max(session.window, 1)

        return RunShell(
            started,
            scheduler=Scheduler(engine.graph),
            metadata=self._store.metadata,
            epoch=1,
            logs=self._logs,
            stream=self._stream,
            clock=clock,
            grace=engine.grace,
            limit_of=limit_of,
        )

    async def _live(self, everything: AsyncExitStack, context: RunContext, executor: Executor) -> RunFinished:
        about = {"run": self.pathspec}
        _log.info("run started", extra={**about, "executor": executor.name, "slots": executor.slots})
        try:
            async with everything:
                try:
                    async with executor.attach(context, self._shell.emit, self._logs.take) as session:
                        finished = await self._shell.serve({executor.name: session})
                    _log.info("run finished", extra={**about, "state": finished.state, **self._shell.counters})
                    return finished
                except asyncio.CancelledError:
                    await self._shell.abandon(RunState.CANCELLED, "the event loop was shut down")
                    raise
                except StaleEpoch:
                    raise  # the run belongs to another engine now
                except Exception as error:
                    _log.exception("run broken off", extra=about)
                    await self._shell.abandon(RunState.FAILED, f"{type(error).__name__}: {error}")
                    raise
        finally:
            self._stream.end()

    async def _ended(self) -> RunFinished:
        """Wait for the run; a cancellation of the waiter is handed to the run, which then ends, and is raised after it."""
        life = self._life
        if life is None:
            raise UsageError("Enter the run handle with `async with` first.")
        try:
            return await asyncio.shield(life)
        except asyncio.CancelledError:
            if life.cancelled():
                raise
            self.cancel("cancelled")
            while not life.done():
                try:
                    await asyncio.wait([life])
                except asyncio.CancelledError:
                    self.cancel("cancelled twice")
            if not life.cancelled():
                life.exception()  # seen, if there was one: the cancellation is what the caller gets
            raise


def _checked(tags: Sequence[str]) -> tuple[str, ...]:
    if not tags:
        return ()
    from asyncflow.client.tags import checked

    return checked(tags)


def _new_run_id(clock: Clock) -> str:
    """Microseconds since the epoch; two runs started by one process in the same microsecond still differ."""
    global _last_run_id  # noqa: PLW0603 - the one thing that concurrent engines of a process must agree on
    _last_run_id = max(_last_run_id + 1, int(clock.now() * 1_000_000))
    return str(_last_run_id)


def _date(now: float) -> str:
    import time

    return time.strftime("%Y-%m-%d", time.gmtime(now))


def _refuse_unsupported(graph: FlowGraph) -> None:
    for node in graph.nodes.values():
        if node.kind is NodeKind.PARALLEL:
            raise FlowDefinitionError(
                f"{node.file}:{node.next_line}: step '{node.name}' uses num_parallel, which this version can't run yet. "
                "Use foreach where the nodes needn't run all at once."
            )


def _find_executor(engine: Engine) -> Executor:
    if not isinstance(engine.executor, str):
        return engine.executor
    match engine.executor:
        case "local":
            from asyncflow.executors.local import LocalExecutor

            return LocalExecutor(max_workers=engine.max_workers, isolation=engine.isolation or "step")
        case "inline":
            from asyncflow.executors.inline import InlineExecutor

            return InlineExecutor()
        case name:
            executor: Executor = registered_executor(name).load()()
            return executor


def registered_executor(name: str) -> EntryPoint:
    """Where a package has registered the executor ``name``. Raises ``UsageError`` where none has."""
    # Reading every installed package's metadata takes a while: only for names that we don't know.
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group="asyncflow.executors")}
    if name not in found:
        known = ", ".join(sorted({"local", "inline", *found}))
        raise UsageError(f"There is no executor named '{name}'. Installed are: {known}.")
    return found[name]
