"""The local executor's workers together: who is hired, what they say, how they go.

All state lives on the event loop's thread. Everything that happens comes through the listener, a timer or a call
of a session; at the end of each turn what became possible is handed out.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from asyncflow.errors import ExecutorError
from asyncflow.events import Failure, FailureKind
from asyncflow.executors.exits import Exits
from asyncflow.executors.handout import Handout
from asyncflow.executors.ledger import Ledger
from asyncflow.executors.listener import Listener
from asyncflow.executors.session import LocalSession, StepLane
from asyncflow.executors.workers import Member
from asyncflow.executors.zygotes import Zygotes
from asyncflow.worker.wire import Began, Broken, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncflow.events import Attempt, FlowSource, RunContext, Stream, TaskSpec
    from asyncflow.executors.handout import Errand, Seat
    from asyncflow.executors.zygote import ZygoteProcess
    from asyncflow.protocols import Emit, EmitLog
    from asyncflow.worker.wire import Report

MOST_TASKS = 10_000
"""Tasks after which a worker is replaced."""
MOST_GROWTH = 256 << 20
"""Bytes by which a worker's memory may grow before it is replaced."""
HIRE_AGAIN = 0.1
"""Seconds before a worker is made again after the system refused one."""
STARTS = 4
"""Workers that may be on their way at a time."""


class Crew:
    """Implements ``Floor``, ``Audience``, ``Owner`` and ``Desk``. Make it on a running loop; ``close`` it there."""

    def __init__(
        self,
        *,
        slots: int,
        single: bool,
        grace: float,
        patience: float,
        start_method: str,
        program: str,
        notify: Callable[[str], None],
    ) -> None:
        self.slots = slots
        self.error: BaseException | None = None
        """A bug of ours, after which nothing runs here any more."""
        self._single = single
        self._grace = grace
        self._patience = patience
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(self._loop, self._after, self._fail)
        self._zygotes = Zygotes(program=program, start_method=start_method, listener=self._listener, owner=self)
        self._handout = Handout(self, slots, starts=STARTS, single=single)
        self._ledger = Ledger(self._handout)
        self.printed: Callable[[int, Stream, float, bytes], None] = self._ledger.printed
        self.marked: Callable[[int], None] = self._ledger.marked
        self._sessions: set[LocalSession] = set()
        self._members: dict[int, Member] = {}
        self._exits = Exits(self._loop, self._handout, self._ledger, self._members, grace)
        self._numbers = count(1)
        self._background: set[asyncio.Task[None]] = set()
        self._short_since: float | None = None
        """Since when no worker could be started while there was none."""
        self._soon: asyncio.Handle | None = None
        self._recheck: asyncio.TimerHandle | None = None
        self._hire_again: asyncio.TimerHandle | None = None
        """Set while nobody can be hired."""

    # -- sessions ----------------------------------------------------------------------------------

    def open_session(self, run: RunContext, emit: Emit, emit_log: EmitLog) -> LocalSession:
        """Starts importing the flow, if no zygote has. Raises ``ExecutorError`` and ``OSError``."""
        session = LocalSession(next(self._numbers), run, emit, emit_log, self)
        self._zygotes.forgive(run.source)
        self._zygote_for(session)
        self._sessions.add(session)
        return session

    def prepare(self, source: FlowSource) -> None:
        self._zygotes.get(source)

    def submit(self, session: LocalSession, specs: Sequence[TaskSpec]) -> None:
        self._ledger.enter(session, specs)
        if self.error is not None:
            self._refuse(session, self._internal_failure())
        else:
            self._pump_soon()

    def cancel(self, session: LocalSession, attempts: Sequence[Attempt], grace: float) -> None:
        wanted = frozenset(attempts)
        targets = [each for each in session.open.values() if each.spec.attempt in wanted]
        for member in {target.member for target in targets if target.member is not None}:
            # After this a target that still is the worker's is in its hands, and nothing else waits behind it.
            self._handout.take_back(member)
            member.catch_up()
        for target in targets:
            if target.ending is not None:
                continue
            target.cancelled = True
            if target.member is None:
                self._ledger.end_cancelled(target)
            else:
                self._exits.terminate(target.member, grace)
        self._pump_soon()

    async def close_session(self, session: LocalSession) -> None:
        """Kill what still runs; returns when no worker of it is left. Cancelled: likewise, without any grace."""
        self._sessions.discard(session)
        self._ledger.drop(session)
        session.drained = self._loop.create_future()
        for member in list(session.members):
            self._exits.part_with(member)
        if session.members:
            # A zygote that doesn't answer (stopped by a debugger, say) is killed, and its workers with it.
            last_resort = self._loop.call_later(self._grace + 1.0, self._exits.kill_zygotes, session.members)
            await _see_out(session.drained, lambda: self._exits.kill(session.members))
            last_resort.cancel()
        if session.zygote is not None:
            session.zygote.forget(session.number)
        self._pump_soon()

    async def close(self) -> None:
        for handle in (self._soon, self._recheck, self._hire_again):
            if handle is not None:
                handle.cancel()
        for task in self._background:
            task.cancel()
        if self.error is None:
            ending = self._loop.create_task(self._zygotes.close(self._grace), name="asyncflow-zygotes-end")
            await _see_out(ending, self._zygotes.kill)
        self._listener.close()

    # -- Floor -------------------------------------------------------------------------------------

    def hire(self, errand: Errand) -> Member | None:
        lane = errand.lane
        assert isinstance(lane, StepLane)
        session = lane.session
        if self._hire_again is not None:
            return None
        try:
            zygote = self._zygote_for(session)
            if zygote.failure is not None:
                self._refuse(session, zygote.failure)
                return None
            member = Member(next(self._numbers), lane, zygote, self._listener, self)
        except ExecutorError as error:
            self._refuse(session, Failure(FailureKind.LOST, f"No worker can be started: {error}", retriable=False))
            return None
        except OSError as error:
            self._cannot_hire(session, str(error))
            return None
        session.members.add(member)
        self._members[member.number] = member
        foreseen = errand.spec if self._single and errand.spec.frames and len(errand.spec.inputs) == 1 else None
        member.order(session.number, 1 if self._single else MOST_TASKS, MOST_GROWTH, foreseen)
        return member

    def give(self, seat: Seat, errand: Errand) -> bool:
        assert isinstance(seat, Member)
        if not seat.give(errand):
            return False
        self._ledger[errand.seq].member = seat
        return True

    def recall(self, seat: Seat) -> Sequence[Errand]:
        assert isinstance(seat, Member)
        recalled = seat.recall()
        for errand in recalled:
            submission = self._ledger.get(errand.seq)
            if submission is not None:
                submission.member = None
        return recalled

    def dismiss(self, seat: Seat) -> None:
        assert isinstance(seat, Member)
        self._exits.dismiss(seat)

    # -- Audience ----------------------------------------------------------------------------------

    def reported(self, member: Member, report: Report) -> None:
        match report:
            case Began(seq=seq, at=at, pid=pid):
                member.pid, member.began = pid, True
                member.expect_output(seq)
                self._handout.began(member, self._loop.time())
                submission = self._ledger.get(seq)
                if submission is not None:
                    submission.session.began(submission, at, pid)
            case Ended(seq=seq, ending=ending, blobs=blobs, leaving=leaving):
                errand = member.errands[seq]
                self._handout.ended(member, errand, ending.ended - (errand.began or ending.ended))
                if leaving:
                    self._exits.leaving(member)
                self._zygotes.proved(member.zygote)
                submission = self._ledger.get(seq)
                if submission is not None:
                    self._ledger.answered(submission, ending, blobs)
            case Broken(failure=failure):
                self._handout.leave(member)
                self._ledger.end_untaken(member.session, failure)

    def background(self, task: asyncio.Task[None]) -> None:
        self._background.add(task)
        task.add_done_callback(self._background_done)

    # -- Owner -------------------------------------------------------------------------------------

    def ready(self, zygote: ZygoteProcess, reason: str) -> None:  # noqa: ARG002 - the protocol's
        if reason:
            self._notify(reason)

    def broken(self, zygote: ZygoteProcess, failure: Failure) -> None:
        for session in [each for each in self._sessions if each.zygote is zygote]:
            self._ledger.end_untaken(session, failure)
        for member in self._exits.members_of(zygote):
            self._exits.bury(member, failure)

    def made(self, worker: int, pid: int) -> None:
        member = self._members.get(worker)
        if member is not None:
            member.pid = pid
            self._short_since = None
            self._handout.started(member)

    def unmade(self, worker: int, message: str) -> None:
        member = self._members.get(worker)
        if member is not None:
            self._handout.leave(member)
            self._exits.bury(member, 0)
            self._cannot_hire(member.session, message)

    def exited(self, worker: int, status: int) -> None:
        member = self._members.get(worker)
        if member is not None:
            self._exits.bury(member, status)

    def zygote_gone(self, zygote: ZygoteProcess, why: str) -> None:
        self._zygotes.died(zygote)
        for session in self._sessions:
            if session.zygote is zygote:
                session.zygote = None
        members = self._exits.members_of(zygote)
        for member in members:
            self._handout.leave(member)
        if members:
            burial = self._exits.bury_all(zygote, members, Failure(FailureKind.LOST, why))
            self.background(self._loop.create_task(burial, name=f"asyncflow-burial-{zygote.pid}"))

    # -- turns -------------------------------------------------------------------------------------

    def _zygote_for(self, session: LocalSession) -> ZygoteProcess:
        if session.zygote is None or not session.zygote.is_open:
            session.zygote = self._zygotes.get(session.run.source)
            session.zygote.brief(session.number, session.run)
        return session.zygote

    def _after(self) -> None:
        if not self._handout.due:
            return
        self._handout.pump(self._loop.time())
        again = self._handout.recheck
        if again is not None and self._recheck is None:
            self._recheck = self._loop.call_at(again, self._on_recheck)

    def _on_recheck(self) -> None:
        self._recheck = None
        self._turn()

    def _on_hire_again(self) -> None:
        self._hire_again = None
        self._turn()

    def _pump_soon(self) -> None:
        if self._soon is None:
            self._soon = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._soon = None
        self._handout.due = True
        self._guarded(self._after)

    def _cannot_hire(self, session: LocalSession, why: str) -> None:
        """The system is at some limit. Make do with the workers that are there; where there are none, try for a while."""
        now = self._loop.time()
        if self._members:
            self._short_since = None
        elif self._short_since is None:
            self._short_since = now
        elif now - self._short_since > self._patience:
            self._short_since = None
            self._refuse(session, Failure(FailureKind.LOST, f"No worker can be started: {why}", retriable=False))
            return
        if self._hire_again is None:
            self._hire_again = self._loop.call_later(HIRE_AGAIN, self._on_hire_again)

    def _refuse(self, session: LocalSession, failure: Failure) -> None:
        """End what waits of this session, once the turn is over."""
        self._loop.call_soon(self._guarded, lambda: self._ledger.end_untaken(session, failure))

    # -- bugs of ours ------------------------------------------------------------------------------

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise

    def _background_done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
        self._pump_soon()

    def _fail(self, error: BaseException) -> None:
        """Nothing can be relied on any more: end everything, with the error."""
        if self.error is not None:
            return
        self.error = error
        self._listener.close()
        self._zygotes.abandon()
        for session in self._sessions:
            for submission in list(session.open.values()):
                with suppress(Exception):  # it may be the engine's own end that fails: the others still hear of it
                    self._ledger.end(submission, self._internal_failure())
        for member in list(self._members.values()):
            member.close()
            member.session.lost(member)
        self._members.clear()

    def _internal_failure(self) -> Failure:
        from traceback import format_exception

        assert self.error is not None
        text = "".join(format_exception(self.error))
        message = f"The local executor failed, which is a bug in asyncflow: {type(self.error).__name__}: {self.error}"
        return Failure(FailureKind.LOST, message, text, retriable=False)


async def _see_out(waiting: asyncio.Future[None], hurry: Callable[[], None]) -> None:
    """Wait to the end, come what may; a cancellation calls ``hurry`` and is raised after."""
    cancelled = False
    while not waiting.done():
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError:
            cancelled = True
            hurry()
    waiting.result()
    if cancelled:
        raise asyncio.CancelledError
