"""The asyncio shell around the scheduler: journal first, then decide, then carry out.

One loop: take what has gathered in the inbox, make it durable in one commit, hand each event to the
scheduler, and carry out its commands. Batching falls out of draining: while a commit is under way the
next batch gathers.

If the process dies between the commit and the commands, the journal replayed gives the same commands
again. If it dies before the commit, nobody was told that the task is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, assert_never

import msgspec

from asyncflow.errors import AsyncflowError
from asyncflow.events import (
    Cancel,
    CancelRequested,
    Failure,
    FailureKind,
    FinishRun,
    LimitChanged,
    RetryDue,
    RunFinished,
    RunState,
    Submit,
    TaskCancelled,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
    WakeAt,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asyncflow.engine.clock import Clock
    from asyncflow.engine.logs import LogSink
    from asyncflow.engine.scheduler import Scheduler
    from asyncflow.engine.stream import Broadcast
    from asyncflow.events import Attempt, Event, ExecutorEvent, RunId, RunStarted, TaskSpec
    from asyncflow.protocols import LogChunk, MetadataStore, Session, SmallBlob

_log = logging.getLogger("asyncflow.engine")

BATCH = 1_000
"""Events taken at once: at some 20 µs an event the loop is held for 20 ms."""
HEARTBEAT = 5.0
"""Seconds between heartbeats; readers call a run lost after 30 s without one."""
RUNNING_AFTER = 1.0
"""Seconds after which a task that still runs is written as running; shorter ones are written once, at their end."""


class RunShell:
    """Drives one run from its first event to ``FinishRun``.

    ``sessions`` maps an executor's name to the run's session on it. ``serve`` is the whole life; the other
    public methods may be called from the loop's thread at any time.
    """

    def __init__(
        self,
        started: RunStarted,
        *,
        scheduler: Scheduler,
        metadata: MetadataStore,
        epoch: int,
        logs: LogSink,
        stream: Broadcast,
        clock: Clock,
        grace: float,
        limit_of: Callable[[str, Session], int],
    ) -> None:
        self._scheduler = scheduler
        self._metadata = metadata
        self._run_id: RunId = started.run_id
        self._epoch = epoch
        self._logs = logs
        self._stream = stream
        self._clock = clock
        self._grace = grace
        self._limit_of = limit_of
        self._limits = dict(started.limits)
        self._inbox: list[tuple[Event, Sequence[SmallBlob]]] = [(started, ())]
        self._wake = asyncio.Event()
        self._wake.set()
        logs.wake = self._wake.set
        self._sessions: Mapping[str, Session] = {}
        self._running: dict[int, TaskStarted] = {}
        self._cancelling = False
        self.finished: RunFinished | None = None

    # -- what others call --------------------------------------------------------------------------

    def emit(self, event: ExecutorEvent, blobs: Sequence[SmallBlob]) -> None:
        """An executor's ``Emit``. A start is told at once, as lines of output are, and so before them; what must be
        durable first is told after its commit."""
        if isinstance(event, TaskStarted):
            self._stream.publish(event)
        self._post(event, blobs)

    def cancel(self, reason: str) -> None:
        """Ask the run to stop; asked again, what still runs is killed without further grace."""
        if self.finished is not None:
            return
        if self._cancelling:
            self._grace = 0.0
            everything = [spec.attempt for spec in self._scheduler.in_flight()]
            for session in self._sessions.values():
                session.cancel(everything, grace=0.0)
            return
        self._cancelling = True
        self._post(CancelRequested(reason=reason, at=self._clock.now()))

    @property
    def counters(self) -> dict[str, int]:
        """What the run has come to so far, for the log."""
        counters: dict[str, int] = msgspec.to_builtins(self._scheduler.counters)
        return counters

    # -- the loop ----------------------------------------------------------------------------------

    async def serve(self, sessions: Mapping[str, Session]) -> RunFinished:
        """Until the run is over. Raises ``StoreError`` when the journal can't be written: then nothing
        that wasn't durable has taken effect."""
        self._sessions = sessions
        heartbeat = asyncio.create_task(self._beat(), name=f"asyncflow-heartbeat-{self._run_id}")
        try:
            while self.finished is None:
                await self._wait_for_work(heartbeat)
                await self._turn()
            return self.finished
        finally:
            heartbeat.cancel()
            await asyncio.wait([heartbeat])

    async def _wait_for_work(self, heartbeat: asyncio.Task[None]) -> None:
        """Until there is an event, or log lines have waited long enough; a dead heartbeat is raised here."""
        if heartbeat.done():
            heartbeat.result()
        await self._wake.wait()
        self._wake.clear()

    async def _turn(self) -> None:
        batch, self._inbox = self._inbox[:BATCH], self._inbox[BATCH:]
        if self._inbox:
            self._wake.set()
        chunks = await self._logs.flush()
        await self._commit(batch, chunks)
        for session in self._sessions.values():
            session.resume_logs()
        finish = self._apply([event for event, _ in batch])
        if finish is not None:
            await self._finish(finish)
        else:
            self._follow_windows()

    async def _commit(self, batch: Sequence[tuple[Event, Sequence[SmallBlob]]], chunks: Sequence[LogChunk]) -> None:
        durable: list[Event] = []
        blobs: list[SmallBlob] = []
        for event, small in batch:
            if isinstance(event, TaskStarted):
                self._running[event.attempt.serial] = event
                continue
            if isinstance(event, TaskSucceeded | TaskFailed | TaskCancelled):
                self._running.pop(event.attempt.serial, None)
            durable.append(event)
            blobs.extend(small)
        if durable or chunks:
            await self._metadata.append(self._run_id, self._epoch, durable, blobs, chunks)
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("committed", extra={"run": self._run_id, "events": len(durable), "blobs": len(blobs)})

    def _apply(self, events: Sequence[Event]) -> FinishRun | None:
        submits: dict[str, list[TaskSpec]] = {}
        finish: FinishRun | None = None
        for event in events:
            commands = self._scheduler.handle(event)
            if not isinstance(event, TaskStarted):
                self._stream.publish(event)
            if isinstance(event, TaskFailed):
                self._log_failure(event)
            for command in commands:
                match command:
                    case Submit(executor=name, specs=specs):
                        submits.setdefault(name, []).extend(specs)
                    case Cancel(executor=name, attempts=attempts):
                        self._hand_over(submits)  # a cancel may name what was gathered
                        self._sessions[name].cancel(attempts, grace=self._grace)
                    case WakeAt(attempt=attempt, delay=delay):
                        self._wake_later(attempt, delay)
                    case FinishRun():
                        finish = command
                    case _:
                        assert_never(command)
        self._hand_over(submits)
        return finish

    def _log_failure(self, event: TaskFailed) -> None:
        attempt, failure = event.attempt, event.failure
        where = f"{attempt.task.step}/{attempt.serial}"
        about = {"run": self._run_id, "task": where, "attempt": attempt.number, "kind": failure.kind}
        _log.info("attempt failed: %s", failure.message, extra=about)

    def _hand_over(self, submits: dict[str, list[TaskSpec]]) -> None:
        for name, specs in submits.items():
            self._sessions[name].submit(specs)
        submits.clear()

    def _wake_later(self, attempt: Attempt, delay: float) -> None:
        self._clock.call_at(self._clock.now() + delay, lambda: self._post(RetryDue(attempt)))

    def _follow_windows(self) -> None:
        for name, session in self._sessions.items():
            limit = self._limit_of(name, session)
            if limit != self._limits[name]:
                self._limits[name] = limit
                self._post(LimitChanged(executor=name, limit=limit))

    async def _finish(self, command: FinishRun) -> None:
        chunks = await self._logs.flush()
        if chunks:
            await self._metadata.append(self._run_id, self._epoch, (), (), chunks)
        first = command.first_failure
        at = self._clock.now()
        await self._metadata.finish_run(
            self._run_id,
            self._epoch,
            command.state,
            at,
            first.failure if first else None,
            f"{first.attempt.task.step}/{first.attempt.serial}" if first else None,
        )
        self._end(RunFinished(self._run_id, command.state, at, first, command.reason))

    async def abandon(self, state: RunState, reason: str) -> None:
        """The loop ended under us, by cancellation or an error: write the run down as over, where that can be done.

        Its workers have been killed by their session. Where the store can't be written, readers will see it as lost.
        """
        if self.finished is not None:
            return
        at = self._clock.now()
        failure = Failure(FailureKind.LOST, reason) if state is RunState.FAILED else None
        with contextlib.suppress(AsyncflowError):
            await self._metadata.finish_run(self._run_id, self._epoch, state, at, failure, None)
        self._end(RunFinished(self._run_id, state, at, None, reason))

    def _end(self, finished: RunFinished) -> None:
        self.finished = finished
        self._stream.publish(finished)

    # -- small ones --------------------------------------------------------------------------------

    def _post(self, event: Event, blobs: Sequence[SmallBlob] = ()) -> None:
        self._inbox.append((event, blobs))
        self._wake.set()

    async def _beat(self) -> None:
        try:
            last = self._clock.now()
            while True:
                await asyncio.sleep(RUNNING_AFTER)
                now = self._clock.now()
                slow = [event for event in self._running.values() if now - event.at >= RUNNING_AFTER]
                if slow:
                    await self._metadata.append(self._run_id, self._epoch, slow)
                    for event in slow:
                        self._running.pop(event.attempt.serial, None)
                if now - last >= HEARTBEAT:
                    last = now
                    await self._metadata.heartbeat(self._run_id, self._epoch, now)
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._wake.set()  # the loop looks at us when it wakes, and fails the run with our error
            raise
