"""How workers go, and what becomes of what they had."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from asyncflow.worker import kernel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asyncflow.events import Failure
    from asyncflow.executors.handout import Handout
    from asyncflow.executors.ledger import Ledger
    from asyncflow.executors.workers import Member
    from asyncflow.executors.zygote import ZygoteProcess


class Exits:
    """``members`` is the crew's list of those whose process isn't known to have ended."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handout: Handout,
        ledger: Ledger,
        members: dict[int, Member],
        grace: float,
    ) -> None:
        self._loop = loop
        self._handout = handout
        self._ledger = ledger
        self._members = members
        self._grace = grace

    def members_of(self, zygote: ZygoteProcess) -> list[Member]:
        return [member for member in self._members.values() if member.zygote is zygote]

    # -- asked to go -------------------------------------------------------------------------------

    def dismiss(self, member: Member) -> None:
        """It has nothing: tell it to exit."""
        member.dismiss()
        self._kill_later(member, self._grace)

    def leaving(self, member: Member) -> None:
        """It exits of its own accord."""
        self._handout.leave(member)
        self._kill_later(member, self._grace)

    def terminate(self, member: Member, grace: float) -> None:
        """Ask what runs in it to stop; kill it after ``grace`` seconds."""
        self._handout.leave(member)
        if grace > 0:
            member.zygote.signal(member.number, signal.SIGTERM)
            self._kill_later(member, grace)
        else:
            self.kill([member])

    def part_with(self, member: Member) -> None:
        """Its session closes."""
        self._handout.leave(member)
        if not member.zygote.is_ready:
            # It isn't there yet; should it come, it finds that it is to go.
            member.dismiss()
            self.bury(member, 0)
        elif member.errands:
            self.kill([member])
        else:
            self.dismiss(member)

    def kill(self, members: Iterable[Member]) -> None:
        for member in members:
            member.zygote.signal(member.number, signal.SIGKILL)

    def kill_zygotes(self, members: Iterable[Member]) -> None:
        for zygote in {member.zygote for member in members}:
            zygote.kill()

    def _kill_later(self, member: Member, grace: float) -> None:
        when = self._loop.time() + grace
        if member.timer is not None:
            if member.timer.when() <= when:
                return
            member.timer.cancel()
        member.timer = self._loop.call_at(when, self.kill, [member])

    # -- gone --------------------------------------------------------------------------------------

    def bury(self, member: Member, cause: int | Failure) -> None:
        """The worker's process is gone, with exit status ``cause`` or through no fault of its task.

        What it had is one of four, and each is told from the others for certain, because it is dead and all that
        it said is here. Unread specs are still in its queue, of which we hold the other end. An ending that it has
        written counts, and its output is complete. A beginning without an ending: the task died with it. And
        at most one spec is neither in the queue nor begun: the worker died in the microseconds after taking
        it, before the user's code; it goes back as the same attempt.
        """
        if self._members.pop(member.number, None) is None:
            return
        expected = member.leaving
        member.drain()
        for answered in list(member.unsettled.values()):
            self._ledger.settle(answered)
        self._handout.leave(member)
        for errand in self._handout.gone(member):
            submission = self._ledger.get(errand.seq)
            if submission is not None:
                self._ledger.bereaved(submission, cause)
        if not (member.began or expected):
            self._ledger.stillborn(member, cause)
        member.close()
        member.session.lost(member)

    async def bury_all(self, zygote: ZygoteProcess, members: Sequence[Member], failure: Failure) -> None:
        """The zygote was killed: the kernel kills its workers with it; see to what they had started too."""
        sessions = frozenset(zygote.pids) | {member.pid for member in members if member.pid}
        until = self._loop.time() + self._grace + 1.0
        while self._loop.time() < until:
            nameless = [member for member in members if not member.pid and not member.silent]
            if not kernel.kill_sessions(sessions, zygote.mark) and not nameless:
                break
            await asyncio.sleep(0.005)
        for member in members:
            self.bury(member, failure)
