"""A run's event stream made by hand, for tests of what shows it."""

from collections.abc import AsyncIterator, Iterable

from asyncflow.events import (
    Attempt,
    BlobRef,
    Failure,
    FailureKind,
    FirstFailure,
    Next,
    RetryPolicy,
    RunFinished,
    RunStarted,
    RunState,
    StepPolicy,
    StreamItem,
    TaskCancelled,
    TaskFailed,
    TaskId,
    TaskLog,
    TaskStarted,
    TaskSucceeded,
)
from asyncflow.graph import FlowGraph, Node, NodeKind

RUN = "1795443591639920"
NOON = 1_795_435_200.0
"""The time at which everything happens unless a test says otherwise."""
MANIFEST = BlobRef(bytes(range(32)), 100)


def fan_graph() -> FlowGraph:
    """start fans out into work, post follows work, join closes it, end."""
    nodes = [
        Node(name="start", kind=NodeKind.FOREACH, out=("work",), foreach_var="items", join="join"),
        Node(name="work", kind=NodeKind.LINEAR, out=("post",), incoming=("start",), splits=("start",)),
        Node(name="post", kind=NodeKind.LINEAR, out=("join",), incoming=("work",), splits=("start",)),
        Node(name="join", kind=NodeKind.LINEAR, is_join=True, out=("end",), incoming=("post",)),
        Node(name="end", kind=NodeKind.END, incoming=("join",)),
    ]
    return FlowGraph(name="FanFlow", nodes={node.name: node for node in nodes})


def attempt(step: str, serial: int, number: int = 0) -> Attempt:
    return Attempt(TaskId(step), number, serial)


def run_started(retries: dict[str, int] | None = None) -> RunStarted:
    policies = {step: StepPolicy("local", RetryPolicy(times)) for step, times in (retries or {}).items()}
    return RunStarted(RUN, "FanFlow", NOON, "hash", MANIFEST, policies, {"local": 4})


def started(step: str, serial: int, number: int = 0, at: float = NOON) -> TaskStarted:
    return TaskStarted(attempt(step, serial, number), at, f"pid {4000 + serial}")


def succeeded(step: str, serial: int, asked: Next | None = None, number: int = 0, at: float = NOON) -> TaskSucceeded:
    return TaskSucceeded(attempt(step, serial, number), MANIFEST, asked, at, at + 1.5, f"pid {4000 + serial}")


def failed(
    step: str, serial: int, number: int = 0, message: str = "ValueError: no", kind: FailureKind = FailureKind.USER
) -> TaskFailed:
    failure = Failure(kind, message, f"Traceback (most recent call last):\n{message}", "ValueError")
    return TaskFailed(attempt(step, serial, number), failure, NOON + 1.5, NOON, f"pid {4000 + serial}")


def cancelled(step: str, serial: int) -> TaskCancelled:
    return TaskCancelled(attempt(step, serial), NOON + 1, NOON, f"pid {4000 + serial}")


def log(step: str, serial: int, line: bytes, stream: str = "stdout") -> TaskLog:
    return TaskLog(attempt(step, serial), stream, NOON + 0.345, line)


def finished(state: RunState = RunState.SUCCEEDED, first: TaskFailed | None = None) -> RunFinished:
    failure = None if first is None else FirstFailure(first.attempt, first.failure)
    return RunFinished(RUN, state, NOON + 60, failure)


def fan_out(width: int) -> list[StreamItem]:
    """A whole run of ``fan_graph`` in which everything succeeds."""
    items: list[StreamItem] = [run_started(), started("start", 1)]
    items.append(succeeded("start", 1, Next(("work",), width, "items")))
    for index in range(width):
        items += [started("work", 2 + index), succeeded("work", 2 + index, Next(("post",)))]
        items += [started("post", 2 + width + index), succeeded("post", 2 + width + index, Next(("join",)))]
    serial = 2 + 2 * width
    items += [started("join", serial), succeeded("join", serial, Next(("end",)))]
    items += [started("end", serial + 1), succeeded("end", serial + 1), finished()]
    return items


async def stream(items: Iterable[StreamItem]) -> AsyncIterator[StreamItem]:
    for item in items:
        yield item
