"""Who gets which task spec: the local executor's decisions, without its processes.

Every worker has a queue of its own, which the engine can take unread specs back from. What is short is handed
out ahead, so that no worker idles for a round trip; what then stands behind a long task is taken back and
given to others. So a spec never waits behind a long one while a slot is free, whatever was guessed.

At the front of all is one order, by submission, over all runs: what stands first gets the next free slot.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil, log2
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asyncflow.events import TaskSpec

AHEAD = 0.016
"""Seconds of work that a worker is to have in its queue: several times the engine's round trip with a commit."""
MOST_AHEAD = 32
"""Specs that wait in one worker's queue at most."""
LONG = 0.05
"""Seconds: tasks that take this long are handed out one by one, a round trip is nothing to them."""
PATIENCE = 0.02
"""Seconds that a task runs before those behind it in its worker's queue are taken back."""


class Pace:
    """How long tasks take, smoothed, and how many it is worth to hand out ahead for that."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self.ahead = 0
        """Specs that wait in a worker's queue while it runs another: 0, or a power of two up to ``MOST_AHEAD``.
        Changes by whole steps and not back at once, so that it isn't a new value after each task."""

    def add(self, seconds: float) -> None:
        seconds = max(seconds, 1e-6)
        self._mean = seconds if self._mean is None else self._mean + 0.2 * (seconds - self._mean)
        wanted = 0
        if self._mean < LONG:
            wanted = min(1 << max(0, ceil(log2(AHEAD / self._mean))), MOST_AHEAD)
        if wanted > self.ahead or wanted * 4 <= self.ahead or not wanted:
            self.ahead = wanted


class Errand:
    """A submitted spec on its way to its ending."""

    __slots__ = ("began", "lane", "returned", "seq", "spec", "withdrawn")

    def __init__(self, seq: int, spec: TaskSpec, lane: Lane) -> None:
        self.seq = seq
        self.spec = spec
        self.lane = lane
        self.began: float | None = None
        """When its code began to run, by the worker's clock."""
        self.returned = 0
        """How often a worker that had taken it died before it began."""
        self.withdrawn = False
        """It has got its ending while it waited here."""

    def __lt__(self, other: Errand) -> bool:
        return self.seq < other.seq


class Lane:
    """One step of one run: a worker serves one lane all its life."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.pace = Pace()
        self.idle: list[Seat] = []
        """Workers that have nothing; the last was busy last, and its caches are warm."""
        self.busy: dict[Seat, None] = {}
        self.coming: dict[Seat, None] = {}
        """Workers that are on their way and have nothing yet."""


class Seat:
    """A worker as this room sees it: what it was handed and hasn't ended, oldest first."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.errands: dict[int, Errand] = {}
        self.busy_since: float | None = None
        """When what it runs now was seen to begin, by our clock; None while nothing is known to run."""
        self.starting = True
        self.leaving = False
        """Gets nothing more."""
        self.full = False
        """Its queue had no room; it will when it takes something."""

    @property
    def unread(self) -> int:
        return len(self.errands) - (self.busy_since is not None)


class Floor(Protocol):
    """What decisions act on."""

    def hire(self, errand: Errand) -> Seat | None:
        """A new worker for the errand's lane, which may be given work at once. None: not now."""
        ...

    def give(self, seat: Seat, errand: Errand) -> bool:
        """Put it into the worker's queue. False: the queue is full."""
        ...

    def recall(self, seat: Seat) -> Sequence[Errand]:
        """Take what the worker hasn't read out of its queue again."""
        ...

    def dismiss(self, seat: Seat) -> None:
        """Tell a worker that has nothing to go."""
        ...


class Handout:
    """``slots`` workers have work at any time; others that have served are kept for their next task.

    ``starts`` bounds the workers that are on their way: while new ones come slowly, short tasks are done by those
    that are there. With ``single`` a worker gets one task in its life; while tasks wait, as many workers as there are
    slots are made in advance, so that a task doesn't wait for its worker to be made.

    Each method that can free a slot or bring a spec sets ``due``; call ``pump`` then, once for many.
    """

    def __init__(self, floor: Floor, slots: int, *, starts: int, single: bool = False) -> None:
        self._floor = floor
        self.slots = slots
        self.due = False
        self.recheck: float | None = None
        """When to ``pump`` again even if nothing happens, by our clock."""
        self._starts = starts
        self._single = single
        self._waiting: list[Errand] = []
        self._busy: dict[Seat, None] = {}
        self._parked: dict[Seat, None] = {}
        self._starting = 0

    # -- what happens ------------------------------------------------------------------------------

    def add(self, errands: Iterable[Errand]) -> None:
        """New ones, or such as came back from a worker that died; order is by ``seq``."""
        for errand in errands:
            if not errand.withdrawn:
                heappush(self._waiting, errand)
        self.due = True

    def withdraw(self, errand: Errand) -> None:
        """It isn't to be handed out any more."""
        errand.withdrawn = True

    def started(self, seat: Seat) -> None:
        """The worker's process is there."""
        if seat.starting:
            seat.starting = False
            self._starting -= 1
            self._rest(seat)

    def began(self, seat: Seat, now: float) -> None:
        seat.busy_since = now
        seat.full = False
        self.due = True

    def ended(self, seat: Seat, errand: Errand, seconds: float) -> None:
        """Its worker is through with it, ``seconds`` after it began."""
        seat.errands.pop(errand.seq, None)
        seat.busy_since = None
        seat.full = False
        seat.lane.pace.add(seconds)
        self._rest(seat)

    def leave(self, seat: Seat) -> None:
        """The worker takes nothing more: what waits in its queue goes to others."""
        if not seat.leaving:
            seat.leaving = True
            self.take_back(seat)
            self._rest(seat)

    def gone(self, seat: Seat) -> list[Errand]:
        """The worker's process is no more. What it had goes to the caller, who knows what to make of it."""
        errands = list(seat.errands.values())
        seat.errands.clear()
        seat.leaving = True
        if seat.starting:
            seat.starting = False
            self._starting -= 1
        self._rest(seat)
        return errands

    def take_back(self, seat: Seat) -> list[Errand]:
        """Take from the worker's queue what it hasn't read, to be handed out again unless it is withdrawn by then."""
        recalled = list(self._floor.recall(seat))
        for errand in recalled:
            del seat.errands[errand.seq]
        self.add(recalled)
        self._rest(seat)
        return recalled

    # -- what is done about it ---------------------------------------------------------------------

    def pump(self, now: float) -> None:
        """Hand out what can be handed out."""
        self.due = False
        self.recheck = None
        self._free_stuck(now)
        self._fill(now)
        if self._single:
            self._make_ready()
        while not self._waiting and len(self._busy) < self.slots and self._rebalance():
            self._fill(now)
        self.due = False

    def _fill(self, now: float) -> None:
        waiting = self._waiting
        while waiting:
            errand = waiting[0]
            if errand.withdrawn:
                heappop(waiting)
                continue
            seat = self._choose(errand, now)
            if seat is None:
                return
            if not self._floor.give(seat, errand):
                seat.full = True
                if not seat.errands:  # the system itself is out of room for messages
                    self.recheck = now + PATIENCE
                    return
                continue
            heappop(waiting)
            seat.errands[errand.seq] = errand
            if seat not in self._busy:
                self._set_to_work(seat)

    def _choose(self, errand: Errand, now: float) -> Seat | None:
        lane = errand.lane
        if len(self._busy) < self.slots:
            if lane.idle:
                return lane.idle[-1]
            if lane.coming:
                return next(iter(lane.coming))
            if self._starting < self._starts:
                return self._hire(errand)
        ahead = lane.pace.ahead
        if not ahead or self._single:
            return None
        best: Seat | None = None
        for seat in lane.busy:
            if len(seat.errands) > ahead or seat.full or _stuck(seat, now):
                continue
            if best is None or len(seat.errands) < len(best.errands):
                best = seat
        return best

    def _hire(self, errand: Errand) -> Seat | None:
        seat = self._floor.hire(errand)
        if seat is not None:
            self._starting += 1
            errand.lane.coming[seat] = None
        return seat

    def _make_ready(self) -> None:
        """Workers for the tasks that come next, while others run."""
        if not self._waiting:
            return
        lane = self._waiting[0].lane
        wanted = min(len(self._waiting), self.slots)
        while len(lane.idle) + len(lane.coming) < wanted and self._starting < self._starts:
            if self._hire(self._waiting[0]) is None:
                return

    def _free_stuck(self, now: float) -> None:
        """What stands behind a task that takes long goes to the front again."""
        for seat in [seat for seat in self._busy if seat.unread and _stuck(seat, now)]:
            self.take_back(seat)

    def _rebalance(self) -> bool:
        """A slot is free and nothing waits: let it have what waits in another's queue. Whether that gave something."""
        for seat in sorted(self._busy, key=lambda seat: -seat.unread):
            if not seat.unread:
                return False
            if seat.lane.idle:
                # The only spec of a worker that is about to take it stays where it is.
                if (seat.unread < len(seat.errands) or seat.unread > 1 or seat.starting) and self.take_back(seat):
                    return True
            elif seat.busy_since is not None:
                # Worth a new worker only if this goes on; those that are stuck already have nothing unread.
                again = seat.busy_since + PATIENCE
                self.recheck = again if self.recheck is None else min(self.recheck, again)
        return False

    # -- seats -------------------------------------------------------------------------------------

    def _set_to_work(self, seat: Seat) -> None:
        self._busy[seat] = None
        seat.lane.busy[seat] = None
        seat.lane.coming.pop(seat, None)
        self._unpark(seat)

    def _rest(self, seat: Seat) -> None:
        """The worker may have come to have nothing."""
        self.due = True
        if seat.errands:
            return
        seat.busy_since = None
        if seat in self._busy:
            del self._busy[seat]
            del seat.lane.busy[seat]
        seat.lane.coming.pop(seat, None)
        if seat.leaving:
            self._unpark(seat)
        elif seat.starting:
            seat.lane.coming[seat] = None
        else:
            self._park(seat)

    def _unpark(self, seat: Seat) -> None:
        if seat in self._parked:
            del self._parked[seat]
            seat.lane.idle.remove(seat)

    def _park(self, seat: Seat) -> None:
        if seat in self._parked:
            return
        self._parked[seat] = None
        seat.lane.idle.append(seat)
        if len(self._parked) > 2 * self.slots:
            oldest = next(iter(self._parked))
            self.leave(oldest)
            self._floor.dismiss(oldest)


def _stuck(seat: Seat, now: float) -> bool:
    return seat.busy_since is not None and now - seat.busy_since > PATIENCE
