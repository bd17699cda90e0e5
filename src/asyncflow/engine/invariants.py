"""What must hold of a scheduler between any two events. Called by ``Scheduler.check()``, in tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from asyncflow.engine.fanout import Cohort, Place
from asyncflow.engine.states import IN_FLIGHT, Phase, TaskState
from asyncflow.engine.tasks import Lane, Task
from asyncflow.events import TaskId


def check(phase: Phase, active: Mapping[TaskId, Task], lanes: Collection[Lane], last_serial: int) -> None:
    """Raises ``AssertionError`` that says what doesn't hold."""
    _check_tasks(phase, active, last_serial)
    for lane in lanes:
        _check_lane(lane, active)
    _check_phase(phase, active, [entry for lane in lanes for entry in lane.ready])
    if phase is Phase.OPEN:
        _check_cohorts(active, lanes)


def _check_tasks(phase: Phase, active: Mapping[TaskId, Task], last_serial: int) -> None:
    serials = [task.serial for task in active.values()]
    assert len(set(serials)) == len(serials), f"two active tasks share a serial number: {sorted(serials)}"
    for task_id, task in active.items():
        assert task_id == task.id, f"kept as {task_id}: {task.story}"
        assert 0 < task.serial <= last_serial, f"a serial number that wasn't given: {task.story}"
        assert task.state in IN_FLIGHT | {TaskState.READY, TaskState.BACKOFF}, f"ended, and kept: {task.story}"
        assert 0 <= task.losses <= task.number, f"more losses than retries: {task.story}"
        assert phase is Phase.CLOSING or task.state is not TaskState.CANCELLING, f"cancelled for nothing: {task.story}"


def _check_lane(lane: Lane, active: Mapping[TaskId, Task]) -> None:
    name = lane.executor
    mine = [task for task in active.values() if task.plan.executor == name]
    in_flight = sum(task.state in IN_FLIGHT for task in mine)
    assert lane.in_flight == in_flight, f"{name} counts {lane.in_flight} in flight, has {in_flight}"
    assert not lane.has_work, f"{name} has a free slot and something ready"
    ready = {task.id: task for task in lane.ready if isinstance(task, Task)}
    cohorts = [cohort for cohort in lane.ready if isinstance(cohort, Cohort)]
    assert len(ready) + len(cohorts) == len(lane.ready), f"{name} has a task twice in its stack"
    assert all(not cohort.all_named for cohort in cohorts), f"{name} has an exhausted cohort in its stack"
    for task in ready.values():
        assert task.state is TaskState.READY, f"in the stack of {name}: {task.story}"
        known = active.get(task.id)
        assert known is (task if task.serial else None), f"ready, and another of the same id is active: {task.story}"
    for task in mine:
        assert task.state is not TaskState.READY or task.id in ready, f"nobody will submit {task.story}"


def _check_phase(phase: Phase, active: Mapping[TaskId, Task], ready: Collection[Task | Cohort]) -> None:
    match phase:
        case Phase.NEW | Phase.FINISHED:
            assert not active, f"active tasks in a run that is {phase.value}"
            assert not ready, f"ready tasks in a run that is {phase.value}"
        case Phase.OPEN:
            assert active or ready, "the run goes on with nothing to do"
        case Phase.CLOSING:
            assert not ready, "something is ready in a run that is closing"
            assert all(task.state in IN_FLIGHT for task in active.values()), "a retry waits in a run that is closing"


Alive = dict[int, tuple[Cohort, set[int]]]
"""By the cohort's ``id()``: the cohort, and which of its children have something ready or active in them."""


def _check_cohorts(active: Mapping[TaskId, Task], lanes: Collection[Lane]) -> None:
    """Every child that has a name and hasn't arrived has something alive in it, and no other has."""
    alive: Alive = {}
    for task in active.values():
        _mark(task.place, alive)
    for lane in lanes:
        for entry in lane.ready:
            if isinstance(entry, Cohort):
                alive.setdefault(id(entry), (entry, set()))
                _mark(entry.parent, alive)
            else:
                _mark(entry.place, alive)
    for cohort, indices in alive.values():
        _check_cohort(cohort, indices)


def _mark(place: Place, alive: Alive) -> None:
    """Note ``place`` and all places around it as having something alive in them."""
    while place.cohort is not None:
        alive.setdefault(id(place.cohort), (place.cohort, set()))[1].add(place.index)
        place = place.cohort.parent


def _check_cohort(cohort: Cohort, alive: set[int]) -> None:
    what = f"cohort of {cohort.width} from {cohort.source[0].task}"
    assert 0 <= cohort.named <= cohort.width, f"{what}: {cohort.named} named"
    assert len(alive) <= cohort.missing, f"{what}: {cohort.missing} missing, {len(alive)} alive"
    if cohort.doomed:
        outer = cohort.parent.cohort
        assert not cohort.arrived, f"{what} is doomed and keeps what arrived"
        assert outer is None or outer.doomed, f"{what} is doomed, but not the one around it"
        return
    arrived = {index for index, last in enumerate(cohort.arrived) if last is not None}
    assert len(cohort.arrived) == cohort.named, f"{what}: {cohort.named} named, room for {len(cohort.arrived)}"
    assert cohort.missing == cohort.width - len(arrived), f"{what}: {cohort.missing} missing, {len(arrived)} arrived"
    expected = set(range(cohort.named)) - arrived
    assert alive == expected, f"{what}: children {sorted(expected)} must be alive, {sorted(alive)} are"
