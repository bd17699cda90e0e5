"""Fan-outs and the joins that close them, by counting down.

A foreach and a static split are the same: a ``Cohort`` of children, each in a ``Place`` of its own. A
child's branch may be many tasks long, and may fan out and join again; all its tasks stand in the child's
place, and its last task arrives there. When none is missing, the join takes all that arrived, in the
order of the indices, and goes on in the place from which the fan-out started.

A cohort costs nothing for a child that has no name yet, and one ``TaskInput`` for one that has arrived.
"""

from __future__ import annotations

from typing import cast

from msgspec import Struct

from asyncflow.errors import InvalidTransition
from asyncflow.events import Frame, Next, StepName, TaskInput


class Place(Struct, eq=False, gc=False):
    """Where in the nest of fan-outs a task stands; shared by all tasks of one branch.

    ``cohort`` is None, and ``path`` and ``frames`` are empty, outside of all fan-outs.
    """

    cohort: Cohort | None = None
    index: int = 0
    path: tuple[int, ...] = ()
    frames: tuple[Frame, ...] = ()


class Cohort(Struct, eq=False, gc=False):
    """The children of one fan-out, on their way to one join."""

    parent: Place
    """Where the task that fanned out stands, and where the join will."""
    source: tuple[TaskInput]
    """The task that fanned out: what every child starts from."""
    next: Next
    width: int
    missing: int
    """Children that haven't arrived."""
    named: int = 0
    """The cursor: children below it have been named."""
    arrived: list[TaskInput | None] = []
    """The last task of each named child's branch; None until it has ended."""
    join: StepName | None = None
    """The join's step, known from the first arrival."""
    doomed: bool = False
    """A task inside has failed for good: its child stays missing, so the join will never be."""

    @classmethod
    def of(cls, parent: Place, source: TaskInput, following: Next) -> Cohort:
        """The fan-out that ``following``, said by ``source``, asks for."""
        width = len(following.steps) if following.width is None else following.width
        return cls(parent, (source,), following, width, width, arrived=[])

    @property
    def all_named(self) -> bool:
        return self.named == self.width

    def name_child(self) -> Place:
        """The next child's place. Items of a foreach are told apart by path and frame, static branches by step."""
        index = self.named
        self.named = index + 1
        if not self.doomed:
            self.arrived.append(None)
        parent = self.parent
        if self.next.width is None:
            return Place(self, index, parent.path, parent.frames)
        frame = Frame(self.source[0].task.step, self.next.var or "", index, self.width)
        return Place(self, index, (*parent.path, index), (*parent.frames, frame))

    def arrive(self, index: int, join: StepName, last: TaskInput) -> bool:
        """Child ``index`` has come to ``join``, with ``last`` as its last task. Whether the join is ready now.

        Raises ``InvalidTransition`` where branches of one fan-out disagree.
        """
        if self.join is None:
            self.join = join
        if self.join != join:
            raise InvalidTransition(f"Child {index} goes to join {join!r}, others of its fan-out to {self.join!r}")
        if not self.doomed:
            if self.arrived[index] is not None:
                raise InvalidTransition(f"Child {index} of {self.width} has come to join {join!r} twice")
            self.arrived[index] = last
        self.missing -= 1
        return self.missing == 0

    def take_arrived(self) -> tuple[TaskInput, ...]:
        """All children's last tasks in the order of their indices, for the join; the cohort is over."""
        inputs = tuple(self.arrived)
        self.arrived = []
        return cast("tuple[TaskInput, ...]", inputs)

    def doom(self) -> None:
        """A task inside has failed for good: no join around it will be, so what has arrived can go."""
        cohort: Cohort | None = self
        while cohort is not None and not cohort.doomed:
            cohort.doomed = True
            cohort.arrived = []
            cohort = cohort.parent.cohort
