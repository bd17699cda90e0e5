"""One run's use of the local executor: its specs until they have ended, its lines of output."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from asyncflow.events import TaskCancelled, TaskFailed, TaskLog, TaskStarted
from asyncflow.executors.handout import Errand, Lane, Pace

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from asyncflow.events import Attempt, Ending, Failure, RunContext, Stream, TaskSpec
    from asyncflow.executors.workers import Member
    from asyncflow.executors.zygote import ZygoteProcess
    from asyncflow.protocols import Emit, EmitLog, SmallBlob


class StepLane(Lane):
    """One step of one run."""

    def __init__(self, step: str, session: LocalSession) -> None:
        super().__init__(step)
        self.session = session


class Submission(Errand):
    """A spec between ``submit`` and its ending."""

    __slots__ = ("blobs", "cancelled", "ending", "member", "session", "unmarked")

    def __init__(self, seq: int, spec: TaskSpec, lane: StepLane) -> None:
        super().__init__(seq, spec, lane)
        self.session = lane.session
        self.member: Member | None = None
        """Who has it, or had it when it ended."""
        self.ending: Ending | None = None
        """What the worker said, kept until all that it printed is read."""
        self.blobs: Sequence[SmallBlob] = ()
        self.unmarked = 2
        """Streams of its worker that aren't read to its end yet."""
        self.cancelled = False


class Desk(Protocol):
    """What a session asks of the executor."""

    slots: int

    def submit(self, session: LocalSession, specs: Sequence[TaskSpec]) -> None: ...

    def cancel(self, session: LocalSession, attempts: Sequence[Attempt], grace: float) -> None: ...


class LocalSession:
    """Implements ``Session``."""

    def __init__(self, number: int, run: RunContext, emit: Emit, emit_log: EmitLog, desk: Desk) -> None:
        self.number = number
        self.run = run
        self.zygote: ZygoteProcess | None = None
        self.open: dict[int, Submission] = {}
        """What has been submitted and hasn't ended, by seq."""
        self.members: set[Member] = set()
        """Workers that were made for it and aren't gone."""
        self.drained: asyncio.Future[None] | None = None
        """Set while it closes: done when its last worker is gone."""
        self.paused = False
        self.stillborn = 0
        """Workers in a row that died before any of their tasks began."""
        self._emit = emit
        self._emit_log = emit_log
        self._desk = desk
        self._lanes: dict[str, StepLane] = {}
        self._pace = Pace()

    # -- the protocol ------------------------------------------------------------------------------

    @property
    def window(self) -> int:
        return self._desk.slots * (1 + self._pace.ahead)

    def submit(self, specs: Sequence[TaskSpec]) -> None:
        self._desk.submit(self, specs)

    def cancel(self, attempts: Sequence[Attempt], *, grace: float) -> None:
        self._desk.cancel(self, attempts, grace)

    async def adopt(self, handles: Mapping[Attempt, str | None]) -> frozenset[Attempt]:  # noqa: ARG002 - see below
        """No worker outlives its engine, so there is never any."""
        return frozenset()

    def resume_logs(self) -> None:
        if self.paused:
            self._pause(paused=False)

    # -- what the executor tells -------------------------------------------------------------------

    def lane(self, step: str) -> StepLane:
        lane = self._lanes.get(step)
        if lane is None:
            lane = self._lanes[step] = StepLane(step, self)
        return lane

    def began(self, submission: Submission, at: float, pid: int) -> None:
        submission.began = at
        self.stillborn = 0
        self._emit(TaskStarted(submission.spec.attempt, at, f"pid {pid}"), ())

    def log(self, attempt: Attempt, stream: Stream, at: float, text: bytes) -> None:
        if not self._emit_log(TaskLog(attempt, stream, at, text)) and not self.paused:
            self._pause(paused=True)

    def ended(self, submission: Submission, ending: Ending, blobs: Sequence[SmallBlob] = ()) -> None:
        """Its one ending. What was told to stop and didn't succeed was cancelled, whatever it says itself."""
        del self.open[submission.seq]
        if submission.began is not None:
            self._pace.add(ending.ended - submission.began)
        if submission.cancelled and isinstance(ending, TaskFailed):
            ending = TaskCancelled(ending.attempt, ending.ended, submission.began, ending.worker)
            blobs = ()
        self._emit(ending, blobs)

    def failed(self, submission: Submission, failure: Failure) -> None:
        """It ends without a word from its worker."""
        member, began = submission.member, submission.began
        worker = f"pid {member.pid}" if member is not None and began is not None else ""
        self.ended(submission, TaskFailed(submission.spec.attempt, failure, time.time(), began, worker))

    def lost(self, member: Member) -> None:
        """One of its workers is gone."""
        self.members.discard(member)
        if self.drained is not None and not self.members and not self.drained.done():
            self.drained.set_result(None)

    def _pause(self, *, paused: bool) -> None:
        self.paused = paused
        for member in self.members:
            member.pause(paused)
