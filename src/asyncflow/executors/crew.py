"""The local executor's workers together: who is hired, what they say, how they go.

All state lives on the event loop's thread. Everything that happens comes through the listener, a timer or a call
of a session; at the end of each turn what became possible is handed out.
"""

from __future__ import annotations

import asyncio
import signal
from itertools import count
from typing import TYPE_CHECKING

from asyncflow.errors import ExecutorError
from asyncflow.events import Failure, FailureKind
from asyncflow.executors.handout import Handout
from asyncflow.executors.ledger import Ledger
from asyncflow.executors.listener import Listener
from asyncflow.executors.session import LocalSession, StepLane
from asyncflow.executors.templates import Templates
from asyncflow.executors.workers import Member
from asyncflow.worker import kernel
from asyncflow.worker.wire import Began, Broken, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asyncflow.events import Attempt, RunContext, Stream, TaskSpec
    from asyncflow.executors.handout import Errand, Seat
    from asyncflow.executors.zygote import Template
    from asyncflow.protocols import Emit, EmitLog
    from asyncflow.worker.wire import Report

MOST_TASKS = 10_000
"""Tasks after which a worker is replaced."""
MOST_GROWTH = 256 << 20
"""Bytes by which a worker's memory may grow before it is replaced."""
STARTS = 4
"""Workers that may be on their way at a time."""


class Crew:
    """Implements ``Floor``, ``Audience``, ``Owner`` and ``Desk``. Make it on a running loop; ``close`` it there."""

    def __init__(
        self, *, slots: int, single: bool, grace: float, start_method: str, program: str, notify: Callable[[str], None]
    ) -> None:
        self.slots = slots
        self.error: BaseException | None = None
        """A bug of ours, after which nothing runs here any more."""
        self._single = single
        self._grace = grace
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(self._loop, self._after, self._fail)
        self._templates = Templates(program=program, start_method=start_method, listener=self._listener, owner=self)
        self._handout = Handout(self, slots, starts=STARTS, single=single)
        self._ledger = Ledger(self._handout)
        self.printed: Callable[[int, Stream, float, bytes], None] = self._ledger.printed
        self.marked: Callable[[int], None] = self._ledger.marked
        self._sessions: set[LocalSession] = set()
        self._members: dict[int, Member] = {}
        self._numbers = count(1)
        self._background: set[asyncio.Task[None]] = set()
        self._soon: asyncio.Handle | None = None
        self._recheck: asyncio.TimerHandle | None = None

    # -- sessions ----------------------------------------------------------------------------------

    def open_session(self, run: RunContext, emit: Emit, emit_log: EmitLog) -> LocalSession:
        """Starts importing the flow, if no template has. Raises ``ExecutorError`` and ``OSError``."""
        session = LocalSession(next(self._numbers), run, emit, emit_log, self)
        self._template_for(session)
        self._sessions.add(session)
        return session

    def submit(self, session: LocalSession, specs: Sequence[TaskSpec]) -> None:
        self._ledger.enter(session, specs)
        if self.error is not None:
            self._refuse(session, self._internal_failure())
        else:
            self._pump_soon()

    def cancel(self, session: LocalSession, attempts: Sequence[Attempt], grace: float) -> None:
        wanted = frozenset(attempts)
        targets = [each for each in session.open.values() if each.spec.attempt in wanted]
        for target in targets:
            target.cancelled = True
        for member in {target.member for target in targets if target.member is not None}:
            # After this a target that still is the worker's is in its hands, and nothing else waits behind it.
            self._handout.take_back(member)
            member.catch_up()
        for target in targets:
            if target.ending is not None:
                continue
            if target.member is None:
                self._ledger.end_cancelled(target)
            else:
                self._terminate(target.member, grace)
        self._pump_soon()

    async def close_session(self, session: LocalSession) -> None:
        """Kill what still runs; returns when no worker of it is left. Cancelled: likewise, without any grace."""
        self._sessions.discard(session)
        self._ledger.drop(session)
        session.drained = self._loop.create_future()
        for member in list(session.members):
            self._part_with(member)
        if session.members:
            # A template that doesn't answer (stopped by a debugger, say) is killed, and its workers with it.
            last_resort = self._loop.call_later(self._grace + 1.0, self._kill_templates, session)
            await _see_out(session.drained, lambda: self._kill_all(session.members))
            last_resort.cancel()
        if session.template is not None:
            session.template.forget(session.number)
        self._pump_soon()

    async def close(self) -> None:
        for handle in (self._soon, self._recheck):
            if handle is not None:
                handle.cancel()
        for task in self._background:
            task.cancel()
        if self.error is None:
            ending = self._loop.create_task(self._templates.close(self._grace), name="asyncflow-templates-end")
            await _see_out(ending, self._templates.kill)
        self._listener.close()

    # -- Floor -------------------------------------------------------------------------------------

    def hire(self, errand: Errand) -> Member | None:
        lane = errand.lane
        assert isinstance(lane, StepLane)
        session = lane.session
        try:
            template = self._template_for(session)
            if template.failure is not None:
                self._refuse(session, template.failure)
                return None
            member = Member(next(self._numbers), lane, template, self._listener, self)
        except (ExecutorError, OSError) as error:
            # Tried again: descriptors may come free. Where not even a template stays alive, they won't.
            hopeless = isinstance(error, ExecutorError)
            self._refuse(
                session, Failure(FailureKind.LOST, f"No worker can be started: {error}", retriable=not hopeless)
            )
            return None
        session.members.add(member)
        self._members[member.number] = member
        template.brief(session.number, session.run)
        member.order(session.number, errand.spec, 1 if self._single else MOST_TASKS, MOST_GROWTH)
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
        seat.dismiss()
        self._kill_later(seat, self._grace)

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
                    self._handout.leave(member)
                    self._kill_later(member, self._grace)
                self._templates.proved(member.template)
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

    def ready(self, template: Template, reason: str) -> None:  # noqa: ARG002 - the protocol's
        if reason:
            self._notify(reason)

    def broken(self, template: Template, failure: Failure) -> None:
        for session in [each for each in self._sessions if each.template is template]:
            self._ledger.end_untaken(session, failure)
        for member in self._members_of(template):
            self._bury(member, failure)

    def made(self, worker: int, pid: int) -> None:
        member = self._members.get(worker)
        if member is not None:
            member.pid = pid
            self._handout.started(member)

    def unmade(self, worker: int, message: str) -> None:
        member = self._members.get(worker)
        if member is not None:
            failure = Failure(FailureKind.LOST, f"No worker can be started: {message}")
            self._handout.leave(member)
            self._ledger.end_untaken(member.session, failure)
            self._bury(member, failure)

    def exited(self, worker: int, status: int) -> None:
        member = self._members.get(worker)
        if member is not None:
            self._bury(member, status)

    def template_gone(self, template: Template, why: str) -> None:
        self._templates.died(template)
        for session in self._sessions:
            if session.template is template:
                session.template = None
        members = self._members_of(template)
        for member in members:
            self._handout.leave(member)
        if members:
            burial = self._bury_all(template, members, Failure(FailureKind.LOST, why))
            self.background(self._loop.create_task(burial, name=f"asyncflow-burial-{template.pid}"))

    # -- how workers go ----------------------------------------------------------------------------

    def _bury(self, member: Member, cause: int | Failure) -> None:
        """The worker's process is gone, with exit status ``cause`` or through no fault of its task.

        What it had is one of four, and each is told from the others for certain, because it is dead and all that
        it said is here. Unread specs are still in its queue, of which we hold the other end. An ending that it has
        written counts, and its output is complete. A beginning without an ending: the task died with it. And
        at most one spec is neither in the queue nor begun: the worker died in the microseconds after taking
        it, before the user's code; it goes back as the same attempt.
        """
        if self._members.pop(member.number, None) is None:
            return
        member.drain()
        for answered in list(member.unsettled.values()):
            self._ledger.settle(answered)
        expected = member.leaving
        self._handout.leave(member)
        for errand in self._handout.gone(member):
            submission = self._ledger.get(errand.seq)
            if submission is not None:
                self._ledger.bereaved(submission, cause)
        if not (member.began or expected):
            self._ledger.stillborn(member, cause)
        member.close()
        member.session.lost(member)

    async def _bury_all(self, template: Template, members: Iterable[Member], failure: Failure) -> None:
        """The template was killed: the kernel kills its workers with it; see to what they had started too."""
        sessions = frozenset(template.pids)
        until = self._loop.time() + self._grace + 1.0
        while self._loop.time() < until:
            nameless = [member for member in members if not member.pid and not member.silent]
            if not kernel.kill_sessions(sessions) and not nameless:
                break
            await asyncio.sleep(0.005)
        for member in members:
            self._bury(member, failure)
        self._pump_soon()

    def _members_of(self, template: Template) -> list[Member]:
        return [member for member in self._members.values() if member.template is template]

    def _terminate(self, member: Member, grace: float) -> None:
        self._handout.leave(member)
        if grace > 0:
            member.template.signal(member.number, signal.SIGTERM)
            self._kill_later(member, grace)
        else:
            self._kill(member)

    def _part_with(self, member: Member) -> None:
        """Its session closes."""
        self._handout.leave(member)
        if not member.template.is_ready:
            self._bury(member, 0)  # it isn't there yet; should it come, it finds its queue closed and exits
        elif member.errands:
            self._kill(member)
        else:
            self.dismiss(member)

    def _kill_all(self, members: Iterable[Member]) -> None:
        for member in list(members):
            self._kill(member)

    def _kill(self, member: Member) -> None:
        member.template.signal(member.number, signal.SIGKILL)

    def _kill_later(self, member: Member, grace: float) -> None:
        when = self._loop.time() + grace
        if member.timer is not None:
            if member.timer.when() <= when:
                return
            member.timer.cancel()
        member.timer = self._loop.call_at(when, self._kill, member)

    def _kill_templates(self, session: LocalSession) -> None:
        for template in {member.template for member in session.members}:
            template.kill()

    # -- turns -------------------------------------------------------------------------------------

    def _template_for(self, session: LocalSession) -> Template:
        if session.template is None:
            session.template = self._templates.get(session.run.source)
        return session.template

    def _after(self) -> None:
        if not self._handout.due:
            return
        self._handout.pump(self._loop.time())
        again = self._handout.recheck
        if again is not None and self._recheck is None:
            self._recheck = self._loop.call_at(again, self._turn)

    def _pump_soon(self) -> None:
        if self._soon is None:
            self._soon = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._soon = self._recheck = None
        self._handout.due = True
        self._guarded(self._after)

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

    def _fail(self, error: BaseException) -> None:
        """Nothing can be relied on any more: end everything, with the error."""
        if self.error is not None:
            return
        self.error = error
        self._listener.close()
        self._templates.abandon()
        for session in self._sessions:
            for submission in list(session.open.values()):
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
