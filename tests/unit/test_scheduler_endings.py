"""Retries, failures for good, cancels, and the races between them, each as a few events and what must follow."""

from __future__ import annotations

import pytest
from scheduler_model import flow, foreach, join, step
from scheduler_rig import Rig, failure, policy

from asyncflow.engine.retry import MAX_LOSSES
from asyncflow.errors import InvalidTransition
from asyncflow.events import Attempt, OnFailure, RetryDue, StepPolicy, TaskFailed, TaskId, TaskStarted

FOREACH = flow(foreach("start", "work"), step("work", "join"), join("join", "end"))
NESTED = flow(
    foreach("start", "inner"),
    foreach("inner", "work"),
    step("work", "inner_join"),
    join("inner_join", "outer_join"),
    join("outer_join", "end"),
)
SPLIT = flow(step("start", "a", "b"), step("a", "join"), step("b", "more"), step("more", "join"), join("join", "end"))


def in_fan_out(
    width: int = 3, slots: int = 3, work: StepPolicy | None = None, on_failure: OnFailure = OnFailure.STOP
) -> Rig:
    """A run whose foreach has just begun."""
    rig = Rig(FOREACH, limits={"local": slots}, policies={"work": work or policy()}, on_failure=on_failure)
    rig.start()
    rig.succeed("start", width=width)
    return rig


# -- retries -----------------------------------------------------------------------------------------


def test_a_retry_without_delay_takes_the_free_slot_at_once() -> None:
    rig = in_fan_out(width=9, slots=1, work=policy(times=2))
    assert rig.fail("work", 0) == ["submit local: work[0].1"]
    assert rig.fail("work", 0) == ["submit local: work[0].2"]
    assert rig.attempt("work", 0).serial == 2
    assert rig.fail("work", 0) == ["finish failed by work[0].2"]


@pytest.mark.parametrize("kind", ["user", "timeout", "crash", "memory"])
def test_failures_of_the_task_spend_its_retries(kind: str) -> None:
    rig = in_fan_out(width=1, work=policy(times=1))
    assert rig.fail("work", 0, kind=kind) == ["submit local: work[0].1"]
    assert rig.fail("work", 0, kind=kind) == ["finish failed by work[0].1"]


def test_losses_spend_nothing_and_go_again_ten_times() -> None:
    rig = in_fan_out(width=1, work=policy(times=1, delay=5.0))
    for number in range(1, MAX_LOSSES + 1):
        assert rig.fail("work", 0, kind="lost") == [f"submit local: work[0].{number}"]
    assert rig.fail("work", 0) == ["wake work[0].11 after 5"]
    assert rig.wake("work", 0) == ["submit local: work[0].11"]
    assert rig.fail("work", 0, kind="lost") == ["finish failed by work[0].11"]


def test_what_trying_again_cannot_help_fails_for_good() -> None:
    rig = in_fan_out(width=1, work=policy(times=5))
    assert rig.fail("work", 0, retriable=False) == ["finish failed by work[0]"]


def test_a_delayed_retry_holds_no_slot_and_its_delay_grows() -> None:
    rig = in_fan_out(width=2, slots=1, work=policy(times=3, delay=10.0, backoff=3.0))
    assert rig.fail("work", 0) == ["wake work[0].1 after 10", "submit local: work[1]"]
    assert rig.wake("work", 0) == []
    assert rig.succeed("work", 1) == ["submit local: work[0].1"]
    assert rig.fail("work", 0) == ["wake work[0].2 after 30"]
    assert rig.scheduler.in_flight() == []
    assert rig.wake("work", 0) == ["submit local: work[0].2"]
    assert rig.succeed("work", 0) == ["submit local: join"]


def test_a_retry_that_is_due_goes_before_siblings_that_have_not_started() -> None:
    rig = in_fan_out(width=9, slots=1, work=policy(times=1, delay=1.0))
    rig.fail("work", 0)
    rig.wake("work", 0)
    assert rig.succeed("work", 1) == ["submit local: work[0].1"]


def test_the_late_messages_of_an_earlier_attempt_are_dropped() -> None:
    rig = in_fan_out(width=1, work=policy(times=1))
    first = rig.attempt("work", 0)
    failed = TaskFailed(first, failure(), 0.0)
    rig.send(failed)
    rig.again(failed)
    rig.again(rig.success(first))
    rig.again(TaskStarted(first, 0.0))
    assert rig.succeed("work", 0) == ["submit local: join"]


def test_an_event_for_an_attempt_that_is_still_to_come_is_a_bug() -> None:
    rig = in_fan_out(width=1, work=policy(times=1, delay=1.0))
    rig.fail("work", 0)
    with pytest.raises(InvalidTransition, match=r"TaskStarted can't come to .*backoff"):
        rig.send(TaskStarted(Attempt(TaskId("work", (0,)), 1, 2), 0.0))


# -- a failure for good: stop -------------------------------------------------------------------------


def test_stop_tells_all_others_and_waits_for_their_endings() -> None:
    rig = in_fan_out(width=9)
    assert rig.fail("work", 1) == ["cancel local: work[0] work[2]"]
    assert rig.confirm_cancelled("work", 0) == []
    assert rig.confirm_cancelled("work", 2) == ["finish failed by work[1]"]
    counters = rig.scheduler.counters
    assert (counters.submitted, counters.succeeded, counters.failed, counters.cancelled) == (4, 1, 1, 2)


def test_stop_tells_each_executor() -> None:
    rig = Rig(SPLIT, limits={"local": 2, "batch": 2}, policies={"b": policy("batch")})
    rig.start()
    rig.succeed("start")
    assert rig.fail("a") == ["cancel batch: b"]


def test_stop_with_nothing_else_in_flight_ends_at_once() -> None:
    rig = in_fan_out(width=9, slots=1)
    assert rig.fail("work", 0) == ["finish failed by work[0]"]


def test_a_success_that_was_faster_than_the_cancel_counts_and_starts_nothing() -> None:
    rig = in_fan_out(width=2)
    rig.fail("work", 0)
    assert rig.succeed("work", 1) == ["finish failed by work[0]"]
    assert rig.scheduler.counters.succeeded == 2


def test_failing_while_being_cancelled_is_being_cancelled() -> None:
    rig = in_fan_out(width=2, work=policy(times=3))
    rig.fail("work", 0, retriable=False)
    assert rig.fail("work", 1, kind="lost") == ["finish failed by work[0]"]
    assert rig.scheduler.counters.cancelled == 1


def test_a_start_on_its_way_while_the_cancel_is_on_its_own() -> None:
    rig = in_fan_out(width=2)
    rig.fail("work", 0)
    assert rig.run_task("work", 1) == []
    assert rig.confirm_cancelled("work", 1) == ["finish failed by work[0]"]


def test_stop_drops_what_waits_for_its_retry() -> None:
    rig = in_fan_out(width=2, work=policy(times=1, delay=5.0))
    rig.fail("work", 0)
    timer = next(iter(rig.waiting))
    assert rig.fail("work", 1, retriable=False) == ["finish failed by work[1]"]
    rig.again(RetryDue(timer))


def test_stop_drops_a_retry_that_waits_for_a_slot() -> None:
    rig = in_fan_out(width=2, slots=2, work=policy(times=1, delay=5.0))
    rig.fail("work", 0)
    rig.limit(1)
    assert rig.wake("work", 0) == []
    assert rig.fail("work", 1, retriable=False) == ["finish failed by work[1]"]


# -- a failure for good: finish running ---------------------------------------------------------------


def test_finish_running_lets_what_runs_end_and_starts_nothing() -> None:
    rig = in_fan_out(width=9, on_failure=OnFailure.FINISH_RUNNING)
    assert rig.fail("work", 1) == []
    assert rig.succeed("work", 0) == []
    assert rig.succeed("work", 2) == ["finish failed by work[1]"]


def test_finish_running_drops_retries_that_wait_and_retries_no_more() -> None:
    rig = in_fan_out(width=4, slots=4, work=policy(times=2, delay=5.0), on_failure=OnFailure.FINISH_RUNNING)
    rig.fail("work", 0)
    assert rig.fail("work", 1, retriable=False) == []
    assert rig.scheduler.waiting() == []
    assert rig.fail("work", 2) == []
    assert rig.succeed("work", 3) == ["finish failed by work[1]"]
    assert rig.scheduler.counters.failed == 2


def test_finish_running_and_then_cancelled_is_still_failed() -> None:
    rig = in_fan_out(width=2, on_failure=OnFailure.FINISH_RUNNING)
    rig.fail("work", 0)
    assert rig.cancel() == ["cancel local: work[1]"]
    assert rig.confirm_cancelled("work", 1) == ["finish failed by work[0]"]


# -- a failure for good: keep going ---------------------------------------------------------------------


def test_keep_going_runs_all_that_does_not_need_the_failed_task() -> None:
    rig = in_fan_out(width=3, slots=1, on_failure=OnFailure.KEEP_GOING)
    assert rig.fail("work", 0) == ["submit local: work[1]"]
    assert rig.succeed("work", 1) == ["submit local: work[2]"]
    assert rig.succeed("work", 2) == ["finish failed by work[0]"]


def test_keep_going_on_the_other_branch_but_not_over_the_join() -> None:
    rig = Rig(SPLIT, on_failure=OnFailure.KEEP_GOING)
    rig.start()
    rig.succeed("start")
    assert rig.fail("a") == []
    assert rig.succeed("b") == ["submit local: more"]
    assert rig.succeed("more") == ["finish failed by a"]


def test_keep_going_closes_the_inner_joins_that_it_can() -> None:
    rig = Rig(NESTED, limits={"local": 9}, on_failure=OnFailure.KEEP_GOING)
    rig.start()
    rig.succeed("start", width=2)
    rig.succeed("inner", 0, width=1)
    rig.succeed("inner", 1, width=2)
    assert rig.fail("work", 1, 0) == []
    assert rig.succeed("work", 0, 0) == ["submit local: inner_join[0]"]
    assert rig.succeed("inner_join", 0) == []
    assert rig.fail("work", 1, 1) == ["finish failed by work[1,0]"]


def test_keep_going_still_retries() -> None:
    rig = in_fan_out(width=2, work=policy(times=1, delay=2.0), on_failure=OnFailure.KEEP_GOING)
    rig.fail("work", 0, retriable=False)
    assert rig.fail("work", 1) == ["wake work[1].1 after 2"]
    assert rig.wake("work", 1) == ["submit local: work[1].1"]
    assert rig.succeed("work", 1) == ["finish failed by work[0]"]


def test_keep_going_and_then_cancelled_is_still_failed() -> None:
    rig = in_fan_out(width=9, slots=2, on_failure=OnFailure.KEEP_GOING)
    rig.fail("work", 0)
    assert rig.cancel() == ["cancel local: work[1] work[2]"]
    rig.confirm_cancelled("work", 1)
    assert rig.confirm_cancelled("work", 2) == ["finish failed by work[0]"]


# -- cancelled ----------------------------------------------------------------------------------------


def test_a_cancel_tells_all_and_waits_for_their_endings() -> None:
    rig = in_fan_out(width=9, slots=2)
    assert rig.cancel("SIGINT") == ["cancel local: work[0] work[1]"]
    assert rig.confirm_cancelled("work", 0) == []
    assert rig.fail("work", 1) == ["finish cancelled: SIGINT"]


def test_a_second_cancel_tells_nobody_twice_and_keeps_the_first_reason() -> None:
    rig = in_fan_out(width=1)
    rig.cancel("SIGINT")
    assert rig.cancel("SIGTERM") == []
    assert rig.confirm_cancelled("work", 0) == ["finish cancelled: SIGINT"]


def test_a_cancel_while_only_retries_wait_ends_at_once() -> None:
    rig = in_fan_out(width=1, work=policy(times=1, delay=60.0))
    rig.fail("work", 0)
    timer = next(iter(rig.waiting))
    assert rig.cancel() == ["finish cancelled: enough"]
    rig.again(RetryDue(timer))


def test_a_cancel_before_anything_could_start() -> None:
    rig = Rig(FOREACH, limits={"local": 0})
    rig.start()
    assert rig.cancel() == ["finish cancelled: enough"]


def test_a_success_in_a_cancelled_run_starts_nothing() -> None:
    rig = in_fan_out(width=1)
    rig.cancel()
    assert rig.succeed("work", 0) == ["finish cancelled: enough"]


def test_an_end_step_that_was_faster_than_the_cancel_makes_the_run_succeed() -> None:
    rig = Rig(flow(step("start", "end")))
    rig.start()
    rig.succeed("start")
    assert rig.cancel() == ["cancel local: end"]
    assert rig.succeed("end") == ["finish succeeded"]


def test_a_cancel_after_a_failure_tells_nobody_twice() -> None:
    rig = in_fan_out(width=2)
    rig.fail("work", 0)
    assert rig.cancel() == []
    assert rig.confirm_cancelled("work", 1) == ["finish failed by work[0]"]


def test_cancelled_without_being_asked_is_a_bug() -> None:
    rig = in_fan_out(width=1)
    with pytest.raises(InvalidTransition, match=r"TaskCancelled can't come to .*submitted"):
        rig.confirm_cancelled("work", 0)
