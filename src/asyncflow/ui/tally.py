"""How far a run is: counts of each step, from its event stream.

Memory is one ``StepTally`` a step and one entry a *running* task, however many tasks there were.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncflow.events import (
    CancelRequested,
    EventsDropped,
    FailureKind,
    RunFinished,
    RunStarted,
    TaskCancelled,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
)
from asyncflow.graph import NodeKind

if TYPE_CHECKING:
    from asyncflow.events import Attempt, Failure, StreamItem
    from asyncflow.graph import FlowGraph

WINDOW = 10.0
"""Seconds over which a rate is taken."""
LOST_RETRIES = 10
"""Attempts that were lost are tried again this often, whatever the step's own policy."""


@dataclass(slots=True)
class StepTally:
    """The counts of one step. A task that waits for its next attempt is neither running nor failed."""

    name: str
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting: int = 0
    """Tasks whose last attempt failed and that will be tried again."""
    announced: int = 0
    """Tasks that a foreach or a switch before this step asked for."""
    retries: int = 0
    began: float | None = None
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque[tuple[float, int]](maxlen=100))

    @property
    def ended(self) -> int:
        return self.done + self.failed + self.cancelled

    @property
    def seen(self) -> int:
        return self.ended + self.running + self.waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One step at one moment. ``total`` is None while nobody can know; ``rate`` is ended tasks a second."""

    name: str
    total: int | None
    done: int
    running: int
    failed: int
    cancelled: int
    waiting: int
    """To be tried again."""
    rate: float | None
    left: float | None
    """Seconds until the last one ends, at this rate."""

    @property
    def ended(self) -> int:
        return self.done + self.failed + self.cancelled

    @property
    def complete(self) -> bool:
        return self.total is not None and self.ended >= self.total > 0


@dataclass(slots=True)
class Running:
    """An attempt under way."""

    attempt: Attempt
    at: float
    worker: str


class Tally:
    """Takes every item of a run's event stream; ``rows`` says how far each step is."""

    def __init__(self, graph: FlowGraph) -> None:
        self._graph = graph
        self._policies: dict[str, int] = {}
        self.steps: dict[str, StepTally] = {name: StepTally(name) for name in graph.nodes}
        self.running: dict[int, Running] = {}
        """By serial."""
        self.started_at: float | None = None
        self.cancelling = False
        self.finished: RunFinished | None = None
        self.dropped = 0
        """Items that this reader missed: from then on the counts are at least what they say."""

    # -- events --------------------------------------------------------------------------------------

    def take(self, item: StreamItem) -> None:
        """O(1), but for the first event of a run."""
        match item:
            case TaskStarted():
                step = self._step(item.attempt)
                self._leave_waiting(step, item.attempt)
                self.running[item.attempt.serial] = Running(item.attempt, item.at, item.worker)
                step.running += 1
                if step.began is None:
                    step.began = item.at
            case TaskSucceeded():
                self._close(item.attempt).done += 1
                if item.next is not None:
                    self._announce(item.attempt.task.step, item.next.steps, item.next.width)
            case TaskFailed():
                step = self._close(item.attempt)
                if self.will_retry(item.attempt, item.failure):
                    step.waiting += 1
                else:
                    step.failed += 1
            case TaskCancelled():
                self._close(item.attempt).cancelled += 1
            case RunStarted():
                self.started_at = item.at
                self._policies = {name: policy.retry.times for name, policy in item.policies.items()}
            case EventsDropped():
                self.dropped += item.count
            case RunFinished():
                self.finished = item
                self._give_up_waiting()
            case CancelRequested():
                self.cancelling = True
            case _:
                pass

    def will_retry(self, attempt: Attempt, failure: Failure) -> bool:
        """Whether the scheduler will try this task again, as far as the run's policies tell."""
        if self.cancelling:
            return False
        if failure.kind is FailureKind.LOST:
            return attempt.number < LOST_RETRIES
        return failure.retriable and attempt.number < self._policies.get(attempt.task.step, 0)

    def _step(self, attempt: Attempt) -> StepTally:
        name = attempt.task.step
        step = self.steps.get(name)
        if step is None:
            step = self.steps[name] = StepTally(name)
        return step

    def _close(self, attempt: Attempt) -> StepTally:
        """The attempt has ended. It may never have been reported as started."""
        step = self._step(attempt)
        running = self.running.pop(attempt.serial, None)
        if running is not None:
            step.running -= 1
        else:
            self._leave_waiting(step, attempt)
        return step

    def _leave_waiting(self, step: StepTally, attempt: Attempt) -> None:
        """A later attempt has come: its task is no longer the waiting (or failed) one it was counted as."""
        if attempt.number == 0:
            return
        step.retries += 1
        if step.waiting:
            step.waiting -= 1
        elif step.failed:
            step.failed -= 1

    def _give_up_waiting(self) -> None:
        for step in self.steps.values():
            step.failed += step.waiting
            step.waiting = 0

    def _announce(self, by: str, steps: tuple[str, ...], width: int | None) -> None:
        node = self._graph.nodes.get(by)
        if node is not None and node.kind in {NodeKind.FOREACH, NodeKind.PARALLEL, NodeKind.SWITCH}:
            for name in steps:
                if name in self.steps:
                    self.steps[name].announced += 1 if width is None else width

    # -- how far it is -------------------------------------------------------------------------------

    def total(self, step: str) -> int | None:
        """How many tasks ``step`` will have, as far as is known: at least those it has had; None where nothing is."""
        return self._total(step, {})

    def _total(self, step: str, known: dict[str, int]) -> int | None:
        return max(self._expected(step, known), self.steps[step].seen) or None

    def _expected(self, step: str, known: dict[str, int]) -> int:
        """``known`` has what was found out already; a cycle (a recursive switch) adds nothing."""
        if step in known or step not in self._graph.nodes:
            return known.get(step, 0)
        known[step] = 0
        nodes = self._graph.nodes
        node = nodes[step]
        if step == self._graph.start:
            known[step] = 1
        elif node.is_join:
            # One task for each time that the split which it closes was gone through.
            splits = [name for name, other in nodes.items() if other.join == step]
            known[step] = max((self._expected(name, known) for name in splits), default=0)
        else:
            sure = (name for name in node.incoming if nodes[name].kind in {NodeKind.LINEAR, NodeKind.SPLIT})
            known[step] = self.steps[step].announced + sum(self._expected(name, known) for name in sure)
        return known[step]

    def rows(self, now: float) -> list[Row]:
        """One row a step, in source order. Takes a sample for the rates: call it a few times a second at most."""
        known: dict[str, int] = {}
        return [self._row(step, self._total(step.name, known), now) for step in self.steps.values()]

    def _row(self, step: StepTally, total: int | None, now: float) -> Row:
        speed = _rate(step, now) if total is not None and total > 1 else None
        left = (total - step.ended) / speed if total is not None and speed else None
        return Row(
            name=step.name,
            total=total,
            done=step.done,
            running=step.running,
            failed=step.failed,
            cancelled=step.cancelled,
            waiting=step.waiting,
            rate=speed,
            left=left,
        )


def _rate(step: StepTally, now: float) -> float | None:
    """Ended tasks a second over the last ``WINDOW`` seconds; None until there are some."""
    if step.began is None:
        return None
    samples = step.samples
    if not samples:
        samples.append((step.began, 0))
    if now - samples[-1][0] >= WINDOW / 100:
        samples.append((now, step.ended))
    while len(samples) > 2 and now - samples[0][0] > WINDOW:
        samples.popleft()
    (first, before) = samples[0]
    if now <= first or step.ended <= before:
        return None
    return (step.ended - before) / (now - first)
