from __future__ import annotations

import pytest

from asyncflow.engine.fanout import Place
from asyncflow.engine.states import IN_FLIGHT, TRANSITIONS, TaskState
from asyncflow.engine.tasks import StepPlan, Task
from asyncflow.errors import InvalidTransition
from asyncflow.events import (
    CancelRequested,
    Next,
    RetryDue,
    StepPolicy,
    Submit,
    TaskAccepted,
    TaskCancelled,
    TaskFailed,
    TaskId,
    TaskStarted,
    TaskSucceeded,
    WakeAt,
)
from asyncflow.graph import Node, NodeKind

STIMULI = (
    Submit,
    TaskAccepted,
    TaskStarted,
    TaskSucceeded,
    TaskFailed,
    TaskCancelled,
    RetryDue,
    CancelRequested,
    WakeAt,
)
READY, SUBMITTED, RUNNING, CANCELLING, BACKOFF = (
    TaskState.READY,
    TaskState.SUBMITTED,
    TaskState.RUNNING,
    TaskState.CANCELLING,
    TaskState.BACKOFF,
)
SUCCEEDED, FAILED, CANCELLED = TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED

ROWS = {
    READY: {Submit: SUBMITTED, CancelRequested: CANCELLED},
    SUBMITTED: {
        TaskAccepted: SUBMITTED,
        TaskStarted: RUNNING,
        TaskSucceeded: SUCCEEDED,
        TaskFailed: FAILED,
        CancelRequested: CANCELLING,
    },
    RUNNING: {TaskSucceeded: SUCCEEDED, TaskFailed: FAILED, CancelRequested: CANCELLING},
    FAILED: {WakeAt: BACKOFF, RetryDue: READY},
    BACKOFF: {RetryDue: READY, CancelRequested: CANCELLED},
    CANCELLING: {
        TaskAccepted: CANCELLING,
        TaskStarted: CANCELLING,
        TaskFailed: CANCELLED,
        TaskCancelled: CANCELLED,
        TaskSucceeded: SUCCEEDED,
    },
    SUCCEEDED: {},
    CANCELLED: {},
}
"""The architecture's table, with READY for what waits for a slot."""


def task_in(state: TaskState) -> Task:
    plan = StepPlan.of(Node(name="work", kind=NodeKind.LINEAR, out=("end",)), StepPolicy("local"))
    return Task(TaskId("work", (3,)), plan, Place(), (), state, serial=17, number=2, losses=1)


def test_the_table_is_the_architectures() -> None:
    assert set(ROWS) == set(TaskState)
    assert dict(TRANSITIONS) == {(state, stimulus): to for state, row in ROWS.items() for stimulus, to in row.items()}


@pytest.mark.parametrize("stimulus", STIMULI)
@pytest.mark.parametrize("state", TaskState)
def test_a_task_moves_as_the_table_says_and_in_no_other_way(state: TaskState, stimulus: type) -> None:
    task = task_in(state)
    if stimulus in ROWS[state]:
        task.move(stimulus)
        assert task.state is ROWS[state][stimulus]
    else:
        with pytest.raises(InvalidTransition, match=stimulus.__name__):
            task.move(stimulus)
        assert task.state is state


def test_an_invalid_transition_tells_the_tasks_story() -> None:
    with pytest.raises(InvalidTransition) as caught:
        task_in(TaskState.BACKOFF).move(TaskSucceeded)
    for part in ("TaskSucceeded", "work[3]", "serial 17", "attempt 2", "backoff", "1 times by policy", "1 times after"):
        assert part in str(caught.value)


def test_what_holds_a_slot_can_end_and_what_does_not_cannot() -> None:
    for state in TaskState:
        assert (TaskFailed in ROWS[state]) == (state in IN_FLIGHT)


@pytest.mark.parametrize(
    ("node", "good", "bad"),
    [
        (Node(name="a", kind=NodeKind.LINEAR, out=("b",)), [Next(("b",))], [None, Next(("c",)), Next(("b",), 2, "x")]),
        (
            Node(name="a", kind=NodeKind.SPLIT, out=("b", "c")),
            [Next(("b", "c"))],
            [Next(("c", "b")), Next(("b",)), Next(("b", "c"), 2)],
        ),
        (
            Node(name="a", kind=NodeKind.FOREACH, out=("b",)),
            [Next(("b",), 1, "x"), Next(("b",), 10**9, "x")],
            [Next(("b",)), Next(("b",), 0, "x")],
        ),
        (
            Node(name="a", kind=NodeKind.SWITCH, out=("b", "c")),
            [Next(("b",)), Next(("c",))],
            [Next(("b", "c")), Next(("d",)), Next(("b",), 2)],
        ),
        (Node(name="a", kind=NodeKind.END), [None], [Next(("b",))]),
        (Node(name="a", kind=NodeKind.INVALID, out=("b",)), [], [None, Next(("b",))]),
    ],
)
def test_a_plan_allows_what_the_graph_says(node: Node, good: list, bad: list) -> None:
    plan = StepPlan.of(node, StepPolicy("local"))
    assert [plan.allows(following) for following in good] == [True] * len(good)
    assert [plan.allows(following) for following in bad] == [False] * len(bad)
