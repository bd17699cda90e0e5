"""The local executor: tasks in warm worker processes of this machine.

    async with LocalExecutor(max_workers=8) as executor:
        await asyncio.gather(Engine(A, executor=executor).run(), Engine(B, executor=executor).run())

Its rooms: ``handout`` decides who gets which task spec, ``crew`` carries that out, ``ledger`` sees to it that each spec
has exactly one ending, ``workers``, ``pipes`` and ``zygote`` are our ends of the processes.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from asyncflow.errors import ExecutorError, UsageError
from asyncflow.executors.crew import Crew
from asyncflow.worker.program import FLOW

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from asyncflow.events import FlowSource, RunContext
    from asyncflow.protocols import Emit, EmitLog, Session

GRACE = 5.0
"""Seconds that a worker has to exit when it is told to."""


PATIENCE = 10.0
"""Seconds that a run waits where the system lets no worker be started."""


class LocalExecutor:
    """Runs tasks in worker processes, at most ``max_workers`` (default: the processors we may use) at a time.

    ``isolation``: with ``"step"`` a worker serves many tasks of one step, one after the other; with ``"task"`` each
    task has a process of its own. ``start_method``: ``"fork"`` forks workers from a process that has imported the
    flow, ``"spawn"`` starts each as a fresh interpreter; None forks where what the flow imports allows it. ``grace`` is
    how long a worker that is to exit may take. Where the system lets none be started for ``patience`` seconds (no
    processes, no descriptors left), tasks fail.

    An async context manager, which keeps processes warm between runs and may be shared by any number of
    engines on one event loop. Used without being entered, it lives as long as a run needs it.
    """

    name = "local"

    def __init__(
        self,
        max_workers: int | None = None,
        isolation: str = "step",
        grace: float = GRACE,
        *,
        start_method: str | None = None,
        patience: float = PATIENCE,
        program: str = FLOW,
    ) -> None:
        if max_workers is not None and max_workers < 1:
            raise UsageError(f"max_workers is {max_workers}; it must be at least 1.")
        if isolation not in {"step", "task"}:
            raise UsageError(f"isolation is {isolation!r}; it must be 'step' or 'task'.")
        if start_method not in {None, "fork", "spawn"}:
            raise UsageError(f"start_method is {start_method!r}; it must be 'fork', 'spawn' or None.")
        self._slots = max_workers or processors()
        self._isolation = isolation
        self._grace = grace
        self._patience = patience
        self._start_method = start_method or ""
        self._program = program
        self._crew: Crew | None = None
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._noticed: set[str] = set()

    @property
    def slots(self) -> int:
        return self._slots

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    @asynccontextmanager
    async def attach(self, run: RunContext, emit: Emit, emit_log: EmitLog) -> AsyncGenerator[Session]:
        """Raises ``ExecutorError`` when no process can be started, and on exit when the executor itself failed."""
        crew = self._enter()
        try:
            try:
                session = crew.open_session(run, emit, emit_log)
            except OSError as error:
                raise ExecutorError(f"No worker can be started: {error}") from error
            try:
                yield session
            finally:
                await crew.close_session(session)
            if crew.error is not None:
                raise ExecutorError("The local executor failed, which is a bug in asyncflow.") from crew.error
        finally:
            await self._leave()

    def prepare(self, source: FlowSource) -> None:
        """Begin to import a flow that will be run soon, in an executor that has been entered. Costs some milliseconds
        now, and saves the import's time later. Raises ``ExecutorError`` and ``OSError``."""
        if self._crew is None:
            raise ExecutorError("Enter the executor with `async with` before you prepare it for a flow.")
        self._crew.prepare(source)

    def _enter(self) -> Crew:
        loop = asyncio.get_running_loop()
        if self._crew is None:
            self._loop = loop
            self._crew = Crew(
                slots=self._slots,
                single=self._isolation == "task",
                grace=self._grace,
                patience=self._patience,
                start_method=self._start_method,
                program=self._program,
                notify=self._notify,
            )
        elif self._loop is not loop:
            raise ExecutorError("This LocalExecutor is open on another event loop. Make one for each loop.")
        self._users += 1
        return self._crew

    async def _leave(self) -> None:
        self._users -= 1
        if not self._users and self._crew is not None:
            crew, self._crew = self._crew, None
            await crew.close()

    def _notify(self, reason: str) -> None:
        """Workers have to be spawned: said once for each reason."""
        if reason in self._noticed:
            return
        self._noticed.add(reason)
        import structlog

        structlog.get_logger(__name__).warning(
            "workers are spawned, which takes longer than forking them", reason=reason
        )


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
