"""The pure core: one event in, commands out. No I/O, no clock, no randomness, no asyncio.

How it thinks:

- A task that ends says with ``Next`` where to go on. One step and no width: a successor in the same
  place. Otherwise a fan-out: a ``Cohort`` (see ``fanout``), whose children are named when a slot frees.
  A step that is a join isn't started but arrived at; the last arrival makes it ready.
- What is ready lies on its executor's ``Lane``, a stack, until a slot is free there. After every event
  each lane with room gives what fits as one ``Submit``.
- A task gets its serial number when it is first submitted, and is forgotten when it has ended: only
  ``_active`` tasks are known. Of an ended one nothing is left but its ``TaskInput`` in a cohort.
- Every change of a task's state goes through ``Task.move`` and the table in ``states``.
- After a failure for good (but with KEEP_GOING) and after CancelRequested the run is closing: what
  waits is dropped, nothing is started any more. When nothing is active and nothing ready, the run is over.

The same events give the same commands with the same serial numbers, whether TaskAccepted and
TaskStarted are among them or not. So a journal replayed leads to the same state, and what the shell
must do then is to adopt ``in_flight()`` and to set the timers of ``waiting()`` again.
"""

from __future__ import annotations

from typing import assert_never

from asyncflow.engine.fanout import Cohort, Place
from asyncflow.engine.invariants import check
from asyncflow.engine.retry import wait_before_retry
from asyncflow.engine.states import IN_FLIGHT, Phase, TaskState
from asyncflow.engine.tasks import REPORT, Counters, Lane, StepPlan, Task
from asyncflow.errors import InvalidTransition
from asyncflow.events import (
    Attempt,
    Cancel,
    CancelRequested,
    Command,
    Ending,
    Event,
    FailureKind,
    FinishRun,
    FirstFailure,
    LimitChanged,
    Next,
    OnFailure,
    RetryDue,
    RunStarted,
    RunState,
    StepName,
    Submit,
    TaskAccepted,
    TaskCancelled,
    TaskFailed,
    TaskId,
    TaskInput,
    TaskSpec,
    TaskStarted,
    TaskSucceeded,
    WakeAt,
)
from asyncflow.graph import FlowGraph

PARAMETERS = TaskId("_parameters")
"""The task whose artifacts the start step has as its input."""


class Scheduler:
    """Decides what one run does next. The first event is ``RunStarted``, the last command ``FinishRun``.

    ``counters`` is for readers; nothing is decided by it.
    """

    def __init__(self, graph: FlowGraph) -> None:
        self.counters = Counters()
        self._graph = graph
        self._phase = Phase.NEW
        self._plans: dict[StepName, StepPlan] = {}
        self._lanes: dict[str, Lane] = {}
        self._on_failure = OnFailure.STOP
        self._active: dict[TaskId, Task] = {}
        """Tasks that have a serial number and haven't ended."""
        self._last_serial = 0
        self._end_reached = False
        self._first_failure: FirstFailure | None = None
        self._cancel_reason: str | None = None

    # -- the one way in ----------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Command]:
        """What is to be done because of ``event``. Raises ``InvalidTransition``, for bugs only."""
        if self._phase is Phase.FINISHED:
            self.counters.stale += 1
            return []
        if (self._phase is Phase.NEW) is not isinstance(event, RunStarted):
            raise InvalidTransition(f"RunStarted is the first event and comes once, not {event!r}. {REPORT}")
        commands: list[Command] = []
        match event:
            case TaskSucceeded():
                self._succeeded(event)
            case TaskAccepted() | TaskStarted():
                task = self._find(event.attempt)
                if task is not None:
                    task.move(type(event))
            case TaskFailed():
                self._failed(event, commands)
            case TaskCancelled():
                self._cancelled(event)
            case RetryDue():
                self._retry_due(event)
            case LimitChanged():
                self._lane(event.executor).limit = event.limit
            case CancelRequested():
                self._cancel_requested(event, commands)
            case RunStarted():
                self._run_started(event)
            case _:
                assert_never(event)
        self._submit_ready(commands)
        self._finish_when_idle(commands)
        return commands

    # -- what the shell asks after a replay ------------------------------------------------------------

    def in_flight(self, executor: str | None = None) -> list[TaskSpec]:
        """What has been submitted, on ``executor`` or on all, and hasn't ended, in the order of serial numbers.

        Those that were told to stop are among them.
        """
        return [
            task.spec
            for task in self._active.values()
            if task.state in IN_FLIGHT and (executor is None or task.plan.executor == executor)
        ]

    def waiting(self) -> list[WakeAt]:
        """The retries whose ``RetryDue`` hasn't come, each with its whole delay."""
        backoff = TaskState.BACKOFF
        return [WakeAt(task.attempt, task.delay) for task in self._active.values() if task.state is backoff]

    def check(self) -> None:
        """Validate the whole state; raises ``AssertionError``. As slow as the run is wide: for tests."""
        check(self._phase, self._active, self._lanes.values(), self._last_serial)

    # -- events of the run -----------------------------------------------------------------------------

    def _run_started(self, event: RunStarted) -> None:
        for name, limit in event.limits.items():
            self._lanes[name] = Lane(name, limit, ready=[])
        for name, node in self._graph.nodes.items():
            if name not in event.policies:
                raise InvalidTransition(f"RunStarted has no policy for step {name!r} of {self._graph.name}. {REPORT}")
            plan = StepPlan.of(node, event.policies[name])
            self._lane(plan.executor)
            self._plans[name] = plan
        self._on_failure = event.on_failure
        self._phase = Phase.OPEN
        self._enter(self._graph.start, Place(), TaskInput(PARAMETERS, event.parameters))

    def _cancel_requested(self, event: CancelRequested, commands: list[Command]) -> None:
        if self._cancel_reason is None:
            self._cancel_reason = event.reason
        self._close(commands, stop=True)

    def _retry_due(self, event: RetryDue) -> None:
        task = self._find(event.attempt)
        if task is not None:
            task.move(RetryDue)
            self._lane(task.plan.executor).ready.append(task)

    # -- endings ---------------------------------------------------------------------------------------

    def _succeeded(self, event: TaskSucceeded) -> None:
        task = self._ended(event)
        if task is None:
            return
        if not task.plan.allows(event.next):
            raise InvalidTransition(f"{task.story}: the graph has no way {event.next!r} from here. {REPORT}")
        self._forget(task)
        self.counters.succeeded += 1
        if event.next is None:
            self._end_reached = True
        elif self._phase is Phase.OPEN:
            self._go_on(task, TaskInput(task.id, event.manifest), event.next)

    def _failed(self, event: TaskFailed, commands: list[Command]) -> None:
        task = self._ended(event)
        if task is None:
            return
        if task.state is TaskState.CANCELLED:
            self._forget(task)
            self.counters.cancelled += 1
        elif not self._retry(task, event, commands):
            self._forget(task)
            self._failed_for_good(task, event, commands)

    def _cancelled(self, event: TaskCancelled) -> None:
        task = self._ended(event)
        if task is not None:
            self._forget(task)
            self.counters.cancelled += 1

    def _retry(self, task: Task, event: TaskFailed, commands: list[Command]) -> bool:
        """Arrange the next attempt; False when there is none to be."""
        if self._phase is not Phase.OPEN:
            return False
        delay = wait_before_retry(task.plan.retry, event.failure, spent=task.spent, losses=task.losses)
        if delay is None:
            return False
        self.counters.retried += 1
        task.number += 1
        task.losses += event.failure.kind is FailureKind.LOST
        if delay > 0:
            task.move(WakeAt)
            task.delay = delay
            commands.append(WakeAt(task.attempt, delay))
        else:
            task.move(RetryDue)
            self._lane(task.plan.executor).ready.append(task)
        return True

    def _failed_for_good(self, task: Task, event: TaskFailed, commands: list[Command]) -> None:
        self.counters.failed += 1
        if self._first_failure is None:
            self._first_failure = FirstFailure(event.attempt, event.failure)
        if self._phase is not Phase.OPEN:
            return
        match self._on_failure:
            case OnFailure.STOP:
                self._close(commands, stop=True)
            case OnFailure.FINISH_RUNNING:
                self._close(commands, stop=False)
            case OnFailure.KEEP_GOING:
                if task.place.cohort is not None:
                    task.place.cohort.doom()
            case _:
                assert_never(self._on_failure)

    # -- which task an event is about ----------------------------------------------------------------

    def _find(self, attempt: Attempt) -> Task | None:
        """The active task; None, and counted, when the attempt is over: an event may come late or twice."""
        task = self._active.get(attempt.task)
        if task is None:
            if not 0 < attempt.serial <= self._last_serial:
                raise InvalidTransition(f"{attempt!r} was never submitted. {REPORT}")
        elif attempt.serial != task.serial or attempt.number > task.number:
            raise InvalidTransition(f"{attempt!r} doesn't agree with {task.story}. {REPORT}")
        elif attempt.number == task.number:
            return task
        self.counters.stale += 1
        return None

    def _ended(self, event: Ending) -> Task | None:
        """The task whose attempt ended, in its new state and without its slot; None when that is old news."""
        task = self._find(event.attempt)
        if task is not None:
            task.move(type(event))
            self._lanes[task.plan.executor].in_flight -= 1
        return task

    def _forget(self, task: Task) -> None:
        del self._active[task.id]

    def _lane(self, executor: str) -> Lane:
        lane = self._lanes.get(executor)
        if lane is None:
            raise InvalidTransition(f"RunStarted has no limit for executor {executor!r}. {REPORT}")
        return lane

    # -- what becomes ready ----------------------------------------------------------------------------

    def _go_on(self, task: Task, done: TaskInput, following: Next) -> None:
        """Everything that ``done`` leads to: one successor, a foreach's cohort, or a static split's branches."""
        if following.width is not None:
            cohort = Cohort.of(task.place, done, following)
            self._lane(self._plans[following.steps[0]].executor).ready.append(cohort)
        elif len(following.steps) == 1:
            step = following.steps[0]
            again = task.plan.is_recursive and step == task.id.step
            iteration = task.id.path[-1] + 1 if again else 0
            self._enter(step, task.place, done, iteration)
        else:
            cohort = Cohort.of(task.place, done, following)
            branches = [(step, cohort.name_child()) for step in following.steps]
            for step, place in reversed(branches):  # so that the first lies on top
                self._enter(step, place, done)

    def _enter(self, step: StepName, place: Place, done: TaskInput, iteration: int = 0) -> None:
        """Coming from ``done``: start ``step`` in ``place``, or arrive there if it is a join."""
        plan = self._plans[step]
        inputs: tuple[TaskInput, ...] = (done,)
        if plan.is_join:
            cohort = place.cohort
            if cohort is None:
                raise InvalidTransition(f"{done.task!r} comes to join {step!r}, but nothing was split. {REPORT}")
            if not cohort.arrive(place.index, step, done):
                return
            place, inputs = cohort.parent, cohort.take_arrived()
        self._lanes[plan.executor].ready.append(Task.at(plan, place, inputs, iteration))

    def _submit_ready(self, commands: list[Command]) -> None:
        for lane in self._lanes.values():
            if lane.has_work:
                specs: list[TaskSpec] = []
                while lane.has_work:
                    specs.append(self._submit(lane, self._take(lane)))
                commands.append(Submit(lane.executor, tuple(specs)))

    def _take(self, lane: Lane) -> Task:
        """The task on top of the stack; of a cohort, its next child."""
        top = lane.ready[-1]
        if isinstance(top, Task):
            lane.ready.pop()
            return top
        child = Task.at(self._plans[top.next.steps[0]], top.name_child(), top.source)
        if top.all_named:
            lane.ready.pop()
        return child

    def _submit(self, lane: Lane, task: Task) -> TaskSpec:
        task.move(Submit)
        if task.serial == 0:
            self._last_serial += 1
            task.serial = self._last_serial
            self._active[task.id] = task
        lane.in_flight += 1
        self.counters.submitted += 1
        return task.spec

    # -- how a run ends --------------------------------------------------------------------------------

    def _close(self, commands: list[Command], *, stop: bool) -> None:
        """Start nothing more, drop what waits; with ``stop``, tell all in flight to stop."""
        self._phase = Phase.CLOSING
        for lane in self._lanes.values():
            lane.ready.clear()
        told: dict[str, list[Attempt]] = {}
        for task in list(self._active.values()):
            if task.state not in IN_FLIGHT:
                task.move(CancelRequested)
                self._forget(task)
                self.counters.cancelled += 1
            elif stop and task.state is not TaskState.CANCELLING:
                task.move(CancelRequested)
                told.setdefault(task.plan.executor, []).append(task.attempt)
        commands.extend(Cancel(executor, tuple(attempts)) for executor, attempts in told.items())

    def _finish_when_idle(self, commands: list[Command]) -> None:
        if self._active or any(lane.ready for lane in self._lanes.values()):
            return
        self._phase = Phase.FINISHED
        if self._end_reached:
            commands.append(FinishRun(RunState.SUCCEEDED))
        elif self._first_failure is not None:
            commands.append(FinishRun(RunState.FAILED, self._first_failure))
        elif self._cancel_reason is not None:
            commands.append(FinishRun(RunState.CANCELLED, reason=self._cancel_reason))
        else:
            raise InvalidTransition(f"Run of {self._graph.name} has nothing left to do short of its end. {REPORT}")
