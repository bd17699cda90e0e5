"""How far a run is, by its event stream."""

import pytest
from ui_stream import (
    NOON,
    cancelled,
    failed,
    fan_graph,
    fan_out,
    finished,
    run_started,
    started,
    succeeded,
)

from asyncflow.events import CancelRequested, EventsDropped, FailureKind, Next
from asyncflow.graph import FlowGraph, Node, NodeKind
from asyncflow.ui.tally import Row, Tally


@pytest.fixture
def tally() -> Tally:
    return Tally(fan_graph())


def rows(tally: Tally, now: float = NOON + 10) -> dict[str, Row]:
    return {row.name: row for row in tally.rows(now)}


def take(tally: Tally, *items) -> None:
    for item in items:
        tally.take(item)


def test_before_anything_happens_only_what_is_sure_has_a_total(tally: Tally) -> None:
    totals = {name: row.total for name, row in rows(tally).items()}

    assert totals == {"start": 1, "work": None, "post": None, "join": 1, "end": 1}


def test_a_fan_out_gives_its_width_to_all_steps_until_the_join(tally: Tally) -> None:
    take(tally, run_started(), started("start", 1), succeeded("start", 1, Next(("work",), 1000, "items")))

    totals = {name: row.total for name, row in rows(tally).items()}
    assert totals == {"start": 1, "work": 1000, "post": 1000, "join": 1, "end": 1}


def test_a_whole_run_is_complete(tally: Tally) -> None:
    take(tally, *fan_out(20))

    assert all(row.complete for row in rows(tally).values())
    assert {name: row.done for name, row in rows(tally).items()} == {
        "start": 1, "work": 20, "post": 20, "join": 1, "end": 1,
    }  # fmt: skip
    assert not tally.running


def test_memory_does_not_grow_with_the_number_of_tasks(tally: Tally) -> None:
    take(tally, *fan_out(5_000))

    assert not tally.running
    assert all(len(step.samples) <= 100 for step in tally.steps.values())


def test_running_tasks_are_known_with_their_worker(tally: Tally) -> None:
    take(tally, run_started(), started("work", 7))

    assert rows(tally)["work"].running == 1
    assert tally.running[7].worker == "pid 4007"

    take(tally, cancelled("work", 7))
    assert rows(tally)["work"].running == 0
    assert rows(tally)["work"].cancelled == 1


def test_a_task_that_will_be_tried_again_has_not_failed(tally: Tally) -> None:
    take(tally, run_started({"work": 1}), started("work", 7), failed("work", 7))
    assert rows(tally)["work"].failed == 0
    assert rows(tally)["work"].total == 1

    take(tally, started("work", 7, 1))
    assert (rows(tally)["work"].failed, rows(tally)["work"].running) == (0, 1)

    take(tally, failed("work", 7, 1))
    assert (rows(tally)["work"].failed, rows(tally)["work"].total) == (1, 1)


def test_a_lost_attempt_is_tried_again_whatever_the_policy(tally: Tally) -> None:
    take(tally, run_started(), started("work", 7), failed("work", 7, kind=FailureKind.LOST))

    assert rows(tally)["work"].failed == 0


def test_an_attempt_after_a_final_failure_takes_the_failure_back(tally: Tally) -> None:
    """So it is with the catch attempt after a hard death: the policy doesn't tell."""
    take(tally, run_started(), started("work", 7), failed("work", 7, kind=FailureKind.CRASH))
    assert rows(tally)["work"].failed == 1

    take(tally, succeeded("work", 7, Next(("post",)), number=1))
    assert (rows(tally)["work"].failed, rows(tally)["work"].done) == (0, 1)


def test_retries_that_a_stopped_run_gave_up_count_as_failed(tally: Tally) -> None:
    take(tally, run_started({"work": 3}), started("work", 7), failed("work", 7), finished())

    assert rows(tally)["work"].failed == 1


def test_nothing_is_tried_again_once_the_run_is_cancelled(tally: Tally) -> None:
    take(tally, run_started({"work": 3}), started("work", 7), CancelRequested("SIGINT", NOON), failed("work", 7))

    assert rows(tally)["work"].failed == 1


def test_an_ending_without_a_start_counts(tally: Tally) -> None:
    take(tally, run_started(), succeeded("end", 3))

    assert (rows(tally)["end"].done, rows(tally)["end"].running) == (1, 0)


def test_after_a_gap_the_total_is_at_least_what_was_seen(tally: Tally) -> None:
    take(tally, run_started(), EventsDropped(500), *(succeeded("work", 10 + n) for n in range(30)))

    assert tally.dropped == 500
    assert rows(tally)["work"].total == 30


def test_rate_and_time_left(tally: Tally) -> None:
    take(tally, run_started(), succeeded("start", 1, Next(("work",), 100, "items")))
    for n in range(40):
        take(tally, started("work", 2 + n, at=NOON), succeeded("work", 2 + n, at=NOON))

    row = rows(tally, NOON + 4)["work"]
    assert row.rate == pytest.approx(10)
    assert row.left == pytest.approx(6)


def test_the_rate_forgets_what_was_long_ago(tally: Tally) -> None:
    take(tally, run_started(), succeeded("start", 1, Next(("work",), 1000, "items")))
    serial = 2
    for second in range(1, 61):
        for _ in range(10 if second <= 30 else 1):  # ten a second at first, then one
            take(tally, started("work", serial, at=NOON), succeeded("work", serial, at=NOON))
            serial += 1
        row = rows(tally, NOON + second)["work"]

    assert row.rate == pytest.approx(1, rel=0.2)


def test_a_step_of_one_task_has_no_rate(tally: Tally) -> None:
    take(tally, *fan_out(3))

    assert rows(tally)["end"].rate is None


def test_switches_and_recursion_count_what_was_chosen() -> None:
    nodes = [
        Node(name="start", kind=NodeKind.SWITCH, out=("a", "b"), condition="c"),
        Node(name="a", kind=NodeKind.SWITCH, out=("a", "meet"), condition="c", incoming=("start", "a")),
        Node(name="b", kind=NodeKind.LINEAR, out=("meet",), incoming=("start",)),
        Node(name="meet", kind=NodeKind.LINEAR, out=("end",), incoming=("a", "b")),
        Node(name="end", kind=NodeKind.END, incoming=("meet",)),
    ]
    tally = Tally(FlowGraph(name="SwitchFlow", nodes={node.name: node for node in nodes}))

    take(tally, succeeded("start", 1, Next(("a",))), succeeded("a", 2, Next(("a",))))
    totals = {name: row.total for name, row in rows(tally).items()}
    assert (totals["a"], totals["b"], totals["meet"]) == (2, None, None)

    take(tally, succeeded("a", 3, Next(("meet",))))
    assert rows(tally)["meet"].total == 1


def test_a_static_split_counts_each_branch_and_the_join_once() -> None:
    nodes = [
        Node(name="start", kind=NodeKind.SPLIT, out=("a", "b"), join="join"),
        Node(name="a", kind=NodeKind.LINEAR, out=("join",), incoming=("start",), splits=("start",)),
        Node(name="b", kind=NodeKind.LINEAR, out=("join",), incoming=("start",), splits=("start",)),
        Node(name="join", kind=NodeKind.LINEAR, is_join=True, out=("end",), incoming=("a", "b")),
        Node(name="end", kind=NodeKind.END, incoming=("join",)),
    ]
    tally = Tally(FlowGraph(name="SplitFlow", nodes={node.name: node for node in nodes}))

    assert {name: row.total for name, row in rows(tally).items()} == dict.fromkeys(
        ("start", "a", "b", "join", "end"), 1
    )
