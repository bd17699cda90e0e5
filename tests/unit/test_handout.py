"""Who gets which spec: the local executor's decisions, against workers that are lists."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncflow.events import Attempt, TaskId, TaskSpec
from asyncflow.executors.handout import LONG, MOST_AHEAD, PATIENCE, Errand, Handout, Lane, Pace, Seat


class FakeSeat(Seat):
    """A worker with a queue. It takes from it, begins, ends: when a test says so."""

    def __init__(self, lane):
        super().__init__(lane)
        self.queue = deque()
        self.taken = None
        self.told_to_go = False


class Desks:
    """A floor of fake workers."""

    room = 1000

    def __init__(self):
        self.seats = []

    def hire(self, errand):
        self.seats.append(FakeSeat(errand.lane))
        return self.seats[-1]

    def give(self, seat, errand):
        if len(seat.queue) >= self.room:
            return False
        seat.queue.append(errand)
        return True

    def recall(self, seat):
        recalled = list(seat.queue)
        seat.queue.clear()
        return recalled

    def dismiss(self, seat):
        assert not seat.errands
        seat.told_to_go = True


class Office:
    """A handout with its fake floor and a clock."""

    def __init__(self, slots=2, starts=4, **options):
        self.floor = Desks()
        self.handout = Handout(self.floor, slots, starts=starts, **options)
        self.now = 0.0
        self.seq = 0
        self.lanes = {}
        self.finished = []

    def lane(self, name):
        return self.lanes.setdefault(name, Lane(name))

    def errands(self, count, lane="work"):
        made = []
        for _ in range(count):
            self.seq += 1
            made.append(Errand(self.seq, TaskSpec(Attempt(TaskId(lane), 0, self.seq), ()), self.lane(lane)))
        return made

    def submit(self, count, lane="work"):
        made = self.errands(count, lane)
        self.handout.add(made)
        self.pump()
        return made

    def pump(self):
        self.handout.pump(self.now)

    def start_all(self):
        for seat in self.floor.seats:
            self.handout.started(seat)
        self.pump()

    def take(self, seat):
        """The worker takes its next spec and announces it."""
        seat.taken = seat.queue.popleft()
        seat.taken.began = self.now
        self.handout.began(seat, self.now)

    def end(self, seat, seconds=0.0):
        errand, seat.taken = seat.taken, None
        self.finished.append(errand.seq)
        self.handout.ended(seat, errand, seconds)

    def work(self, seat, seconds):
        """One task from the queue to its end."""
        self.take(seat)
        self.now += seconds
        self.end(seat, seconds)
        self.pump()

    def learn(self, seconds, lane="work"):
        """Let the pace of a lane be known, with two workers parked."""
        self.submit(2, lane)
        self.start_all()
        for seat in self.seats(lane):
            self.take(seat)
        self.now += seconds
        for seat in self.seats(lane):
            self.end(seat, seconds)
        self.pump()

    def seats(self, lane="work"):
        return [seat for seat in self.floor.seats if seat.lane is self.lane(lane) and not seat.leaving]


def queued(office, lane="work"):
    return [[errand.seq for errand in seat.queue] for seat in office.seats(lane)]


# -- pace ------------------------------------------------------------------------------------------


def test_nothing_is_known_at_first_and_nothing_handed_out_ahead():
    assert Pace().ahead == 0


@pytest.mark.parametrize(
    ("seconds", "ahead"),
    [(1.0, 0), (LONG, 0), (0.04, 1), (0.008, 2), (0.004, 4), (0.0001, MOST_AHEAD), (0.0, MOST_AHEAD)],
)
def test_the_shorter_the_more_ahead(seconds, ahead):
    pace = Pace()
    pace.add(seconds)
    assert pace.ahead == ahead


def test_one_long_task_among_short_ones_ends_the_hoarding_until_they_are_short_again():
    pace = Pace()
    for _ in range(20):
        pace.add(0.0005)
    pace.add(10.0)
    assert pace.ahead == 0
    for _ in range(60):
        pace.add(0.0005)
    assert pace.ahead > 8


def test_a_pace_that_wavers_changes_nothing():
    pace = Pace()
    seen = set()
    for turn in range(400):
        pace.add(0.0019 if turn % 2 else 0.0021)
        if turn > 20:
            seen.add(pace.ahead)
    assert len(seen) == 1


# -- slots and order -------------------------------------------------------------------------------


def test_no_more_workers_than_slots_have_work():
    office = Office(slots=3)
    office.submit(10)
    assert queued(office) == [[1], [2], [3]]


def test_a_free_worker_gets_the_oldest():
    office = Office(slots=2)
    office.submit(4)
    office.start_all()
    first, second = office.seats()
    office.work(second, 1.0)
    assert [errand.seq for errand in second.queue] == [3]
    office.work(second, 1.0)
    assert [errand.seq for errand in second.queue] == [4]
    assert [errand.seq for errand in first.queue] == [1]


def test_one_order_over_all_steps_and_runs():
    office = Office(slots=1)
    office.submit(1, "a")
    office.submit(1, "b")
    office.submit(1, "a")
    office.start_all()
    for lane, others in (("a", "b"), ("b", "a"), ("a", "b")):
        (seat,) = office.seats(lane)[:1]
        assert queued(office, others) in ([], [[]])
        office.work(seat, 1.0)
        office.start_all()
    assert office.finished == [1, 2, 3]


def test_short_tasks_are_handed_out_ahead():
    office = Office(slots=2)
    office.learn(0.001)
    office.submit(12)
    assert [len(queue) for queue in queued(office)] == [6, 6]


def test_long_tasks_are_not():
    office = Office(slots=2)
    office.learn(1.0)
    office.submit(12)
    assert [len(queue) for queue in queued(office)] == [1, 1]


def test_what_is_handed_out_ahead_never_overtakes_another_step_that_waits():
    office = Office(slots=2)
    office.learn(0.001, "short")
    office.submit(4, "short")
    office.submit(1, "other")
    office.submit(4, "short")
    assert [len(queue) for queue in queued(office, "short")] == [2, 2]
    assert office.seats("other") == []


def test_few_workers_start_at_a_time():
    office = Office(slots=20, starts=3)
    office.submit(20)
    assert len(office.floor.seats) == 3
    office.handout.started(office.floor.seats[0])
    office.pump()
    assert len(office.floor.seats) == 4


def test_while_new_workers_come_slowly_those_that_are_there_do_the_work():
    office = Office(slots=4, starts=2)
    office.submit(4)
    first, slow = office.floor.seats
    office.handout.started(first)
    office.pump()
    office.work(first, 0.001)
    office.work(first, 0.001)
    assert len(office.finished) == 2
    assert len(office.floor.seats) == 3
    assert slow.starting


# -- taking back -----------------------------------------------------------------------------------


def test_what_stands_behind_a_long_task_is_given_to_others():
    office = Office(slots=2)
    office.learn(0.001)
    office.submit(8)
    stuck, free = office.seats()
    office.take(stuck)
    office.now += PATIENCE * 2
    office.pump()
    assert not stuck.queue
    while free.queue:
        office.work(free, 0.001)
    assert sorted(office.finished) == sorted({*range(1, 11)} - {stuck.taken.seq})


def test_a_worker_with_nothing_left_gets_from_others():
    office = Office(slots=2)
    office.learn(0.001)
    office.submit(8)
    one, other = office.seats()
    while one.queue:
        before = len(office.finished)
        office.work(one, 0.0001)
        assert len(office.finished) == before + 1
    assert len(office.finished) >= 2 + 7
    assert len(other.queue) <= 1


def test_a_slot_without_a_worker_is_looked_at_again():
    office = Office(slots=2)
    office.learn(0.001)
    one, other = office.seats()
    office.submit(1)
    office.take(other if other.queue else one)
    busy = other if other.taken else one
    idle = one if busy is other else other
    office.handout.leave(idle)
    office.submit(0)
    office.handout.add(office.errands(3))
    office.handout._starts = 0  # no new worker now
    office.pump()
    assert len(busy.queue) == 3
    office.handout._starts = 4
    office.pump()
    assert office.handout.recheck == pytest.approx(office.now + PATIENCE)
    office.now += PATIENCE * 2
    office.pump()
    assert not busy.queue
    assert [len(queue) for queue in queued(office)].count(0) == 1


def test_a_full_queue_is_filled_again_when_there_is_room():
    office = Office(slots=1)
    office.floor.room = 3
    office.submit(1)
    office.start_all()
    (seat,) = office.seats()
    office.work(seat, 0.001)
    office.submit(10)
    assert len(seat.queue) == 3
    office.work(seat, 0.001)
    assert len(seat.queue) == 3


# -- workers that stay, and that go ----------------------------------------------------------------


def test_workers_are_kept_up_to_twice_the_slots():
    office = Office(slots=1)
    for name in "abcd":
        office.submit(1, name)
        office.start_all()
        (seat,) = office.seats(name)
        office.work(seat, 1.0)
    told = [seat.lane.step for seat in office.floor.seats if seat.told_to_go]
    assert told == ["a", "b"]


def test_a_parked_worker_is_used_again():
    office = Office(slots=1)
    for _ in range(3):
        office.submit(1)
        office.start_all()
        office.work(office.seats()[0], 1.0)
    assert len(office.floor.seats) == 1


def test_a_single_use_worker_gets_one():
    office = Office(slots=2, single=True)
    office.lane("work").pace.add(0.0001)
    office.submit(6)
    assert [queue for queue in queued(office) if queue] == [[1], [2]]


def test_single_use_workers_are_made_before_they_are_needed():
    office = Office(slots=2, starts=4, single=True)
    office.submit(6)
    office.start_all()
    assert queued(office) == [[1], [2], [], []]
    first, second, *ready = office.seats()
    office.take(first)
    office.end(first, 1.0)
    office.handout.leave(first)
    office.pump()
    assert [queue for queue in queued(office) if queue] == [[2], [3]]
    assert len(office.seats()) == 4
    assert second.errands
    assert any(seat.errands for seat in ready)


def test_no_more_are_made_than_there_is_work():
    office = Office(slots=4, starts=8, single=True)
    office.submit(5)
    assert len(office.seats()) == 5


def test_what_a_leaving_worker_has_not_read_goes_to_others():
    office = Office(slots=1)
    office.learn(0.001)
    office.submit(4)
    (seat,) = office.seats()
    office.handout.leave(seat)
    office.pump()
    assert not seat.queue
    (other,) = office.seats()
    assert other is not seat
    assert other.queue[0].seq == min(errand.seq for errand in other.queue)


def test_withdrawn_ones_are_passed_over():
    office = Office(slots=1)
    first, second, third = office.errands(3)
    office.handout.add([first, second, third])
    office.handout.withdraw(first)
    office.handout.withdraw(third)
    office.pump()
    assert queued(office) == [[second.seq]]


# -- at random -------------------------------------------------------------------------------------


class HandoutMachine(RuleBasedStateMachine):
    """Submits, takes, ends, deaths, withdrawals in any order: nothing is lost, nothing is done twice."""

    @initialize(slots=st.integers(1, 4), starts=st.integers(1, 4), single=st.booleans(), room=st.integers(1, 5))
    def open(self, slots, starts, single, room):
        self.office = Office(slots, starts, single=single)
        self.office.floor.room = room
        self.outcomes = {}
        self.errands = {}

    def living(self):
        return self.office.floor.seats

    def bury(self, seat):
        """As the crew does it: unread specs are taken back, a begun one dies, a taken one goes back."""
        handout = self.office.handout
        handout.leave(seat)
        for errand in handout.gone(seat):
            if seat.taken is errand:
                self.finish(errand, "died")
            else:
                handout.add([errand])
        self.office.floor.seats.remove(seat)

    def finish(self, errand, how):
        assert errand.seq not in self.outcomes
        self.outcomes[errand.seq] = how

    @rule(count=st.integers(1, 8), lane=st.sampled_from("ab"))
    def submit(self, count, lane):
        errands = self.office.errands(count, lane)
        self.errands.update({errand.seq: errand for errand in errands})
        self.office.handout.add(errands)

    @rule(seconds=st.sampled_from([0.0001, 0.01, 0.1]))
    def time_passes(self, seconds):
        self.office.now += seconds

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def start(self, data):
        self.office.handout.started(data.draw(st.sampled_from(self.living())))

    @precondition(lambda self: any(seat.queue and not seat.taken for seat in self.living()))
    @rule(data=st.data())
    def take(self, data):
        seat = data.draw(st.sampled_from([seat for seat in self.living() if seat.queue and not seat.taken]))
        self.office.handout.started(seat)
        self.office.take(seat)

    @precondition(lambda self: any(seat.taken for seat in self.living()))
    @rule(data=st.data(), leaving=st.booleans(), seconds=st.sampled_from([0.0001, 0.01, 1.0]))
    def end(self, data, leaving, seconds):
        seat = data.draw(st.sampled_from([seat for seat in self.living() if seat.taken]))
        self.finish(seat.taken, "ended")
        self.office.end(seat, seconds)
        if leaving or self.office.handout._single:
            self.office.handout.leave(seat)

    @precondition(lambda self: self.living())
    @rule(data=st.data(), after_taking=st.booleans())
    def die(self, data, after_taking):
        seat = data.draw(st.sampled_from(self.living()))
        if after_taking and seat.queue and not seat.taken:
            seat.queue.popleft()  # taken, never announced
        self.bury(seat)

    @precondition(lambda self: any(seq not in self.outcomes for seq in self.errands))
    @rule(data=st.data())
    def withdraw(self, data):
        errand = self.errands[data.draw(st.sampled_from(sorted(set(self.errands) - set(self.outcomes))))]
        handout = self.office.handout
        for seat in self.living():
            if errand.seq in seat.errands:
                handout.take_back(seat)
                if errand.seq in seat.errands:
                    handout.leave(seat)
                    return
        handout.withdraw(errand)
        self.finish(errand, "withdrawn")

    @rule()
    def pump(self):
        self.office.pump()
        assert not self.office.handout.due

    @invariant()
    def holds(self):
        if not hasattr(self, "office"):
            return
        handout, seats = self.office.handout, self.living()
        assert sum(bool(seat.errands) for seat in seats) <= handout.slots
        assert list(handout._busy) == [] or all(seat.errands for seat in handout._busy)
        assert handout._starting == sum(seat.starting for seat in seats)
        for lane in self.office.lanes.values():
            mine = [seat for seat in seats if seat.lane is lane and not seat.leaving]
            assert set(lane.coming) == {seat for seat in mine if seat.starting and not seat.errands}
            assert set(lane.idle) == {seat for seat in mine if not seat.starting and not seat.errands}
        parked = {seat for seat in seats if not seat.errands and not seat.leaving and not seat.starting}
        assert set(handout._parked) == parked
        assert len(parked) <= 2 * handout.slots
        held = [errand.seq for seat in seats for errand in seat.errands.values()]
        waiting = [errand.seq for errand in handout._waiting if not errand.withdrawn]
        assert sorted(held + waiting) == sorted(set(self.errands) - set(self.outcomes))

    def teardown(self):
        """Left to themselves, with workers that work, all come to an end."""
        if not hasattr(self, "office"):
            return
        for _ in range(10_000):
            if set(self.outcomes) == set(self.errands):
                return
            self.office.now += 0.001
            self.office.pump()
            for seat in list(self.living()):
                self.office.handout.started(seat)
                if seat.taken or seat.queue:
                    if not seat.taken:
                        self.office.take(seat)
                    self.finish(seat.taken, "ended")
                    self.office.end(seat, 0.001)
                if self.office.handout._single or seat.leaving:
                    self.bury(seat)
        raise AssertionError("it doesn't go on")


TestHandoutMachine = HandoutMachine.TestCase
TestHandoutMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
