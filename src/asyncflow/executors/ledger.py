"""All specs that have been submitted and haven't ended: each leaves here once, with one ending."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from asyncflow.events import Failure, FailureKind
from asyncflow.executors.deaths import MemoryKills, failure_of_death, manner
from asyncflow.executors.session import Submission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncflow.events import Ending, Stream, TaskSpec
    from asyncflow.executors.handout import Handout
    from asyncflow.executors.session import LocalSession
    from asyncflow.executors.workers import Member
    from asyncflow.protocols import SmallBlob

MOST_STILLBORN = 3
"""Workers of a run in a row that may die before a task of theirs began."""
MOST_RETURNS = 3
"""Times that a spec goes back to the queue because the worker that had taken it died before it began."""


class Ledger:
    def __init__(self, handout: Handout) -> None:
        self._handout = handout
        self._open: dict[int, Submission] = {}
        self._seqs = count(1)
        self._kills = MemoryKills()

    def __getitem__(self, seq: int) -> Submission:
        return self._open[seq]

    def get(self, seq: int) -> Submission | None:
        """None: its session has been closed."""
        return self._open.get(seq)

    def enter(self, session: LocalSession, specs: Sequence[TaskSpec]) -> None:
        """New ones: they are handed out from now on."""
        submissions = [Submission(next(self._seqs), spec, session.lane(spec.attempt.task.step)) for spec in specs]
        for submission in submissions:
            session.open[submission.seq] = self._open[submission.seq] = submission
        self._handout.add(submissions)

    def drop(self, session: LocalSession) -> None:
        """Nobody waits for its endings any more."""
        for submission in session.open.values():
            self._handout.withdraw(submission)
            self._open.pop(submission.seq, None)
        session.open.clear()

    # -- what workers say and print ----------------------------------------------------------------

    def printed(self, seq: int, stream: Stream, at: float, text: bytes) -> None:
        submission = self._open.get(seq)
        if submission is not None:
            submission.session.log(submission.spec.attempt, stream, at, text)

    def marked(self, seq: int) -> None:
        """One of its worker's streams is read to its end."""
        submission = self._open.get(seq)
        if submission is not None:
            submission.unmarked -= 1
            if not submission.unmarked and submission.ending is not None:
                self.settle(submission)

    def answered(self, submission: Submission, ending: Ending, blobs: Sequence[SmallBlob]) -> None:
        """Its worker is through with it; the ending goes out when all that it printed has."""
        submission.ending, submission.blobs = ending, blobs
        member = submission.member
        if not submission.unmarked or member is None:
            self.settle(submission)
        else:
            member.unsettled[submission.seq] = submission
            member.read_output()

    # -- how they leave ----------------------------------------------------------------------------

    def settle(self, submission: Submission) -> None:
        """With the worker's own word."""
        if submission.member is not None:
            submission.member.unsettled.pop(submission.seq, None)
        if submission.ending is not None and self._open.pop(submission.seq, None) is not None:
            submission.session.ended(submission, submission.ending, submission.blobs)

    def end(self, submission: Submission, failure: Failure) -> None:
        """Without it."""
        self._handout.withdraw(submission)
        if self._open.pop(submission.seq, None) is not None:
            submission.session.failed(submission, failure)

    def end_cancelled(self, submission: Submission) -> None:
        """It never ran."""
        self.end(submission, Failure(FailureKind.LOST, "It was cancelled before it began."))

    def end_untaken(self, session: LocalSession, failure: Failure) -> None:
        """What no worker has taken can't be run."""
        for member in list(session.members):
            self._handout.take_back(member)
        for submission in list(session.open.values()):
            if submission.member is None and submission.ending is None:
                self.end(submission, failure)

    def stillborn(self, member: Member, cause: int | Failure) -> None:
        """A worker died before it began anything."""
        session = member.session
        session.stillborn += 1
        if session.stillborn <= MOST_STILLBORN:
            return
        why = cause.message if isinstance(cause, Failure) else f"The last one {manner(cause)}."
        said = b"".join(output.tail for output in member.outputs).decode(errors="replace").strip()
        message = f"Workers die at their start, again and again. {why}" + (f" It said last:\n{said}" if said else "")
        self.end_untaken(session, Failure(FailureKind.LOST, message, retriable=False))

    def bereaved(self, submission: Submission, cause: int | Failure) -> None:
        """Its worker died with it or just before it began, with exit status ``cause`` or through no fault of the task."""
        member = submission.member
        if submission.began is None:
            submission.member = None
            submission.returned += 1
            if submission.returned <= MOST_RETURNS and not submission.cancelled:
                self._handout.add([submission])
                return
            message = "Its workers died before it began, again and again."
            failure = Failure(FailureKind.LOST, message, retriable=False)
        elif isinstance(cause, Failure):
            failure = cause
        elif member is not None and member.timer is not None and not submission.cancelled:
            failure = Failure(FailureKind.LOST, "Its worker was stopped because of another task.")
        else:
            failure = failure_of_death(cause, self._kills)
        self.end(submission, failure)
