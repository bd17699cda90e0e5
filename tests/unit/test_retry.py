from __future__ import annotations

import pytest

from asyncflow.engine.retry import MAX_LOSSES, wait_before_retry
from asyncflow.events import Failure, FailureKind, RetryPolicy

SPENDING = [kind for kind in FailureKind if kind is not FailureKind.LOST]


def wait(policy: RetryPolicy, kind: FailureKind, *, spent: int = 0, losses: int = 0, retriable: bool = True) -> object:
    return wait_before_retry(policy, Failure(kind, "it failed", retriable=retriable), spent=spent, losses=losses)


@pytest.mark.parametrize("kind", SPENDING)
def test_a_failure_of_the_task_spends_the_users_retries(kind: FailureKind) -> None:
    policy = RetryPolicy(times=2)
    assert [wait(policy, kind, spent=spent, losses=7) for spent in range(4)] == [0.0, 0.0, None, None]
    assert wait(RetryPolicy(), kind) is None


def test_a_loss_is_tried_again_at_once_without_a_policy_at_most_ten_times() -> None:
    waits = [wait(RetryPolicy(), FailureKind.LOST, losses=losses) for losses in range(MAX_LOSSES + 2)]
    assert waits == [0.0] * 10 + [None, None]
    assert wait(RetryPolicy(times=1, delay=60), FailureKind.LOST, spent=1) == 0.0


def test_the_delay_grows_by_the_backoff() -> None:
    policy = RetryPolicy(times=4, delay=3.0, backoff=2.0)
    assert [wait(policy, FailureKind.USER, spent=spent) for spent in range(5)] == [3.0, 6.0, 12.0, 24.0, None]


def test_no_delay_stays_no_delay_after_very_many_retries() -> None:
    assert wait(RetryPolicy(times=10_000, backoff=10.0), FailureKind.USER, spent=9_000) == 0.0


@pytest.mark.parametrize("kind", FailureKind)
def test_what_cannot_help_is_not_tried(kind: FailureKind) -> None:
    assert wait(RetryPolicy(times=5), kind, retriable=False) is None
