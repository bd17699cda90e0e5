"""What is tried again, and after how long: decided from the failure's kind alone, never by ``except``."""

from __future__ import annotations

from asyncflow.events import Failure, FailureKind, RetryPolicy

MAX_LOSSES = 10
"""How often a task is submitted again after a loss, which isn't its doing and doesn't spend the user's retries."""


def wait_before_retry(policy: RetryPolicy, failure: Failure, *, spent: int, losses: int) -> float | None:
    """Seconds before the next attempt, 0.0 for at once; None when this failure is for good.

    ``spent`` and ``losses`` count the retries that the task has had before, by the user's policy and
    after losses. A lost attempt goes again at once: the delay is for what the step itself talks to.
    """
    if not failure.retriable:
        return None
    if failure.kind is FailureKind.LOST:
        return 0.0 if losses < MAX_LOSSES else None
    if spent >= policy.times:
        return None
    # With no delay there is nothing to grow, and the power could overflow after very many retries.
    return policy.delay * policy.backoff**spent if policy.delay > 0 else 0.0
