"""Plays the shell around a scheduler in tests, with a model of what must follow from each event."""

from __future__ import annotations

from itertools import count

from scheduler_model import Ended, expected

from asyncflow.engine.retry import MAX_LOSSES
from asyncflow.engine.scheduler import Scheduler
from asyncflow.events import (
    Attempt,
    BlobRef,
    Cancel,
    CancelRequested,
    Command,
    Event,
    Failure,
    FailureKind,
    FinishRun,
    LimitChanged,
    Next,
    OnFailure,
    RetryDue,
    RetryPolicy,
    RunStarted,
    RunState,
    StepPolicy,
    Submit,
    TaskAccepted,
    TaskCancelled,
    TaskFailed,
    TaskId,
    TaskSpec,
    TaskStarted,
    TaskSucceeded,
    WakeAt,
)
from asyncflow.graph import FlowGraph, NodeKind


def shown(attempt: Attempt) -> str:
    """``work[3]``, and from the second attempt on ``work[3].1``."""
    path = f"[{','.join(map(str, attempt.task.path))}]" if attempt.task.path else ""
    return attempt.task.step + path + (f".{attempt.number}" if attempt.number else "")


def told(commands: list[Command]) -> list[str]:
    """Commands as short sentences, for tests that read as a story."""
    lines = []
    for command in commands:
        match command:
            case Submit(executor, specs):
                lines.append(f"submit {executor}: " + " ".join(shown(spec.attempt) for spec in specs))
            case Cancel(executor, attempts):
                lines.append(f"cancel {executor}: " + " ".join(map(shown, attempts)))
            case WakeAt(attempt, delay):
                lines.append(f"wake {shown(attempt)} after {delay:g}")
            case FinishRun(state, first, reason):
                what = f" by {shown(first.attempt)}" if first else f": {reason}" if reason else ""
                lines.append(f"finish {state}{what}")
    return lines


def failure(kind: FailureKind = FailureKind.USER, *, retriable: bool = True) -> Failure:
    return Failure(kind, f"it failed: {kind}", retriable=retriable)


class Rig:
    """Plays the shell and the executors of one run. Its verbs return the commands as short sentences.

    A verb takes a task as ``"work", 3`` (step and path) and means its attempt that is in flight.
    """

    PARAMETERS = BlobRef(b"p" * 32, 10)

    def __init__(
        self,
        graph: FlowGraph,
        *,
        limits: dict[str, int] | None = None,
        policies: dict[str, StepPolicy] | None = None,
        on_failure: OnFailure = OnFailure.STOP,
    ) -> None:
        self.graph = graph
        self.scheduler = Scheduler(graph)
        self.limits = dict(limits or {"local": 2})
        default = StepPolicy(next(iter(self.limits)))
        self.policies = {name: (policies or {}).get(name, default) for name in graph.nodes}
        self.on_failure = on_failure
        self.history: list[tuple[Event, list[Command]]] = []
        self.flying: dict[Attempt, TaskSpec] = {}
        self.stopping: set[Attempt] = set()
        self.started: set[Attempt] = set()
        self.waiting: dict[Attempt, float] = {}
        self.specs: dict[TaskId, TaskSpec] = {}
        self.retries: dict[TaskId, tuple[int, int]] = {}
        """How often a task was tried again: by its policy, after a loss."""
        self.due: set[Attempt] = set()
        """Retries that must be submitted when there is a slot."""
        self.ended: Ended = {}
        self.endings: list[Event] = []
        self.first_failure: Attempt | None = None
        self.cancelled: str | None = None
        self.finish: FinishRun | None = None
        self._manifests = count(1)

    # verbs

    def start(self) -> list[str]:
        event = RunStarted(
            "1", self.graph.name, 0.0, "hash", self.PARAMETERS, self.policies, dict(self.limits), self.on_failure
        )
        return told(self.send(event))

    def attempt(self, name: str, *path: int) -> Attempt:
        (found,) = [attempt for attempt in self.flying if attempt.task == TaskId(name, path)]
        return found

    def succeed(self, name: str, *path: int, width: int | None = None, to: str | None = None) -> list[str]:
        return told(self.send(self.success(self.attempt(name, *path), width=width, to=to)))

    def fail(self, name: str, *path: int, kind: str = "user", retriable: bool = True) -> list[str]:
        event = TaskFailed(self.attempt(name, *path), failure(FailureKind(kind), retriable=retriable), 0.0)
        return told(self.send(event))

    def confirm_cancelled(self, name: str, *path: int) -> list[str]:
        return told(self.send(TaskCancelled(self.attempt(name, *path), 0.0)))

    def run_task(self, name: str, *path: int) -> list[str]:
        return told(self.send(TaskStarted(self.attempt(name, *path), 0.0)))

    def wake(self, name: str, *path: int) -> list[str]:
        (found,) = [attempt for attempt in self.waiting if attempt.task == TaskId(name, path)]
        return told(self.send(RetryDue(found)))

    def cancel(self, reason: str = "enough") -> list[str]:
        return told(self.send(CancelRequested(reason, 0.0)))

    def limit(self, limit: int, executor: str = "local") -> list[str]:
        return told(self.send(LimitChanged(executor, limit)))

    def again(self, event: Event) -> None:
        """Send what is old news: it is dropped and counted."""
        before = self.scheduler.counters.stale
        assert self.send(event) == []
        assert self.scheduler.counters.stale == before + 1

    def success(self, attempt: Attempt, *, width: int | None = None, to: str | None = None) -> TaskSucceeded:
        node = self.graph[attempt.task.step]
        following: Next | None = Next(node.out if to is None else (to,), width, "items" if width else None)
        if node.kind is NodeKind.END:
            following = None
        number = next(self._manifests)
        return TaskSucceeded(attempt, BlobRef(number.to_bytes(32, "big"), number), following, 0.0, 0.0)

    # the model

    @property
    def closing(self) -> bool:
        failed = self.first_failure is not None and self.on_failure is not OnFailure.KEEP_GOING
        return failed or self.cancelled is not None

    def send(self, event: Event) -> list[Command]:
        """Hand the event over, and check that what comes back may be, and that the state is sound."""
        fresh = self.finish is None
        if fresh:
            self._note(event)
        commands = self.scheduler.handle(event)
        self.scheduler.check()
        self.history.append((event, commands))
        assert fresh or commands == [], "a command after FinishRun"
        for command in commands:
            self._obey(command)
        if fresh and self.closing:
            quiet = self.on_failure is OnFailure.FINISH_RUNNING and self.cancelled is None
            assert self.stopping == (set() if quiet else set(self.flying)), "not the right ones were told to stop"
        return commands

    def _note(self, event: Event) -> None:
        match event:
            case TaskSucceeded(attempt=attempt) if attempt in self.flying:
                self._over(attempt, event)
                self.ended[attempt.task] = (event.next, event.manifest)
            case TaskCancelled(attempt=attempt) if attempt in self.flying:
                self._over(attempt, event)
            case TaskFailed(attempt=attempt) if attempt in self.flying:
                stopping = attempt in self.stopping
                self._over(attempt, event)
                if not stopping:
                    self._note_failure(attempt, event.failure)
            case TaskStarted(attempt=attempt):
                self.started.add(attempt)
            case RetryDue(attempt=attempt) if attempt in self.waiting:
                del self.waiting[attempt]
                self.due.add(attempt)
            case CancelRequested(reason=reason) if self.cancelled is None:
                self.cancelled = reason
                self._drop_waiting()
            case LimitChanged(executor=executor, limit=limit):
                self.limits[executor] = limit
            case _:
                pass

    def _over(self, attempt: Attempt, event: Event) -> None:
        del self.flying[attempt]
        self.stopping.discard(attempt)
        self.endings.append(event)

    def _note_failure(self, attempt: Attempt, what: Failure) -> None:
        spent, losses = self.retries.get(attempt.task, (0, 0))
        policy = self.policies[attempt.task.step].retry
        lost = what.kind is FailureKind.LOST
        again = not self.closing and what.retriable and (losses < MAX_LOSSES if lost else spent < policy.times)
        if again:
            self.retries[attempt.task] = (spent, losses + 1) if lost else (spent + 1, losses)
            coming = Attempt(attempt.task, attempt.number + 1, attempt.serial)
            if lost or not policy.delay:
                self.due.add(coming)
            else:
                self.waiting[coming] = policy.delay * policy.backoff**spent
        elif self.first_failure is None:
            self.first_failure = attempt
            if self.closing:
                self._drop_waiting()

    def _drop_waiting(self) -> None:
        self.waiting.clear()
        self.due.clear()

    def _obey(self, command: Command) -> None:
        match command:
            case Submit(executor, specs):
                assert specs
                for spec in specs:
                    self._submitted(executor, spec)
                flying = sum(self.policies[attempt.task.step].executor == executor for attempt in self.flying)
                assert flying <= self.limits[executor], "more in flight than there are slots"
            case Cancel(executor, attempts):
                assert attempts
                for attempt in attempts:
                    assert self.policies[attempt.task.step].executor == executor
                    assert attempt in self.flying, "told to stop, and not in flight"
                    assert attempt not in self.stopping, "told to stop twice"
                    self.stopping.add(attempt)
            case WakeAt(attempt, delay):
                assert self.waiting[attempt] == delay
            case FinishRun():
                self._finished(command)

    def _submitted(self, executor: str, spec: TaskSpec) -> None:
        attempt = spec.attempt
        assert not self.closing, "started in a run that is closing"
        assert self.policies[attempt.task.step].executor == executor
        if attempt.number == 0:
            assert attempt.task not in self.specs, "submitted twice"
            assert attempt.serial == len(self.specs) + 1, "serial numbers have no gaps"
            self.specs[attempt.task] = spec
        else:
            assert attempt in self.due, "a retry that wasn't due"
            self.due.discard(attempt)
            first = self.specs[attempt.task]
            assert (spec.inputs, spec.frames) == (first.inputs, first.frames), "a retry starts from something else"
        self.flying[attempt] = spec

    def _finished(self, command: FinishRun) -> None:
        assert self.finish is None, "finished twice"
        assert not self.flying, "finished with tasks in flight"
        assert not self.waiting, "finished with retries waiting"
        self.finish = command
        if TaskId(self.graph.end) in self.ended:
            assert command == FinishRun(RunState.SUCCEEDED)
        elif self.first_failure is not None:
            assert command.state is RunState.FAILED
            assert command.first_failure is not None
            assert command.first_failure.attempt == self.first_failure
        else:
            assert command == FinishRun(RunState.CANCELLED, reason=self.cancelled or "")
        self.check_tasks()

    def check_tasks(self) -> None:
        """Compare with the reference: nothing that mustn't run was submitted, and of what must, nothing is missing."""
        reference = expected(self.graph, self.PARAMETERS, self.ended)
        for task, spec in self.specs.items():
            assert task in reference, f"{task} has no reason to run"
            assert (spec.inputs, spec.frames) == reference[task]
        if self.finish is not None and not self.closing:
            assert self.specs.keys() == reference.keys(), "tasks that should have run"

    # replay

    @property
    def journal(self) -> list[Event]:
        return [event for event, _ in self.history if not isinstance(event, TaskAccepted | TaskStarted)]

    def replayed(self) -> Scheduler:
        """A new scheduler that was told the journal, with identical commands at every event."""
        other = Scheduler(self.graph)
        for event, commands in self.history:
            if isinstance(event, TaskAccepted | TaskStarted):
                assert commands == []
            else:
                assert other.handle(event) == commands
        other.check()
        assert other.in_flight() == list(self.scheduler.in_flight())
        assert {spec.attempt for spec in other.in_flight()} == self.flying.keys()
        assert {command.attempt: command.delay for command in other.waiting()} == self.waiting
        return other


def policy(executor: str = "local", *, times: int = 0, delay: float = 0.0, backoff: float = 1.0) -> StepPolicy:
    return StepPolicy(executor, RetryPolicy(times, delay, backoff))
