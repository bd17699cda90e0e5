"""What the scheduler keeps in memory: a plan for each step, a lane for each executor, the active tasks."""

from __future__ import annotations

from msgspec import Struct

from asyncflow.engine.fanout import Cohort, Place
from asyncflow.engine.states import TRANSITIONS, TaskState
from asyncflow.errors import InvalidTransition
from asyncflow.events import Attempt, Next, RetryPolicy, StepName, StepPolicy, TaskId, TaskInput, TaskSpec, Value
from asyncflow.graph import Node, NodeKind


class StepPlan(Struct, eq=False, gc=False):
    """All that the scheduler asks about a step, in one look-up."""

    name: StepName
    node: Node
    executor: str
    retry: RetryPolicy
    is_join: bool
    is_recursive: bool

    @classmethod
    def of(cls, node: Node, policy: StepPolicy) -> StepPlan:
        return cls(node.name, node, policy.executor, policy.retry, node.is_join, node.is_recursive)

    def allows(self, following: Next | None) -> bool:
        """Whether the graph has this way on from here."""
        node = self.node
        if following is None or node.kind is NodeKind.END:
            return following is None and node.kind is NodeKind.END
        match node.kind:
            case NodeKind.LINEAR | NodeKind.SPLIT:
                return following.width is None and following.steps == node.out
            case NodeKind.FOREACH | NodeKind.PARALLEL:
                return following.width is not None and following.width > 0 and following.steps == node.out
            case NodeKind.SWITCH:
                return following.width is None and len(following.steps) == 1 and following.steps[0] in node.out
            case _:
                return False


class Task(Struct, eq=False, gc=False):
    """One task from when it is ready until it has ended.

    It may take several attempts, which share ``serial``: 0 until the first is submitted. ``number`` is the
    attempt that is under way or next, which is also how often it was tried again; ``losses`` of those
    retries came after a loss, the others were the user's.
    """

    id: TaskId
    plan: StepPlan
    place: Place
    inputs: tuple[TaskInput, ...]
    state: TaskState = TaskState.READY
    serial: int = 0
    number: int = 0
    losses: int = 0
    delay: float = 0.0
    """Seconds that it waits in BACKOFF."""

    @classmethod
    def at(cls, plan: StepPlan, place: Place, inputs: tuple[TaskInput, ...], iteration: int = 0) -> Task:
        """The task of a step in a place; ``iteration`` counts only for a recursive step."""
        path = (*place.path, iteration) if plan.is_recursive else place.path
        return cls(TaskId(plan.name, path), plan, place, inputs)

    @property
    def spent(self) -> int:
        """How many of the user's retries have been spent."""
        return self.number - self.losses

    @property
    def attempt(self) -> Attempt:
        return Attempt(self.id, self.number, self.serial)

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(self.attempt, self.inputs, self.place.frames)

    def move(self, stimulus: type[Value]) -> None:
        """Change the state as the table says; the only way a state changes."""
        state = TRANSITIONS.get((self.state, stimulus))
        if state is None:
            raise InvalidTransition(f"{stimulus.__name__} can't come to {self.story}. {REPORT}")
        self.state = state

    @property
    def story(self) -> str:
        """``task work[3] (serial 17), attempt 2, submitted; retried 1 times by policy, 1 times after a loss``."""
        where = f"{self.id.step}[{', '.join(map(str, self.id.path))}]" if self.id.path else self.id.step
        return (
            f"task {where} (serial {self.serial}), attempt {self.number}, {self.state};"
            f" retried {self.spent} times by policy, {self.losses} times after a loss"
        )


REPORT = "This is a bug in asyncflow or in an executor: please report it with the run's journal"


class Lane(Struct, eq=False):
    """One executor's slots and what waits for them.

    ``ready`` is a stack, so that what continues a branch goes before siblings that haven't started, and
    joins close early. A cohort on it stands for all its children without a name.
    """

    executor: str
    limit: int
    in_flight: int = 0
    ready: list[Task | Cohort] = []

    @property
    def has_work(self) -> bool:
        """Whether something is ready and a slot is free."""
        return bool(self.ready) and self.in_flight < self.limit


class Counters(Struct, eq=False):
    """What a run has come to so far. Tasks, but for ``submitted``, ``retried`` and ``stale``."""

    submitted: int = 0
    """Attempts handed to executors."""
    succeeded: int = 0
    failed: int = 0
    """For good."""
    cancelled: int = 0
    """Among those that had been submitted once."""
    retried: int = 0
    """Attempts that failed and were tried again."""
    stale: int = 0
    """Events that were dropped: of an older attempt, of a task or run that has ended."""
