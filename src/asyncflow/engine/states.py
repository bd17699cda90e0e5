"""The states of a task and of a run, and THE table of transitions.

Every change of a task's state goes through ``Task.move``, which looks here and nowhere else. The left of
an entry is a state and what comes to it: an event, or a command that the scheduler has decided on.

===========  ==========================================================================================
state        moves
===========  ==========================================================================================
READY        Submit → SUBMITTED · CancelRequested → CANCELLED
SUBMITTED    TaskAccepted → same · TaskStarted → RUNNING · TaskSucceeded → SUCCEEDED · TaskFailed → FAILED
             · CancelRequested → CANCELLING
RUNNING      TaskSucceeded → SUCCEEDED · TaskFailed → FAILED · CancelRequested → CANCELLING
FAILED       with budget left: WakeAt → BACKOFF, or with no delay RetryDue → READY
BACKOFF      RetryDue → READY · CancelRequested → CANCELLED
CANCELLING   TaskAccepted, TaskStarted → same (they were under way) · TaskFailed, TaskCancelled → CANCELLED
             · TaskSucceeded → SUCCEEDED
===========  ==========================================================================================

A pair that isn't here is a bug, in asyncflow or in an executor, and raises ``InvalidTransition``.
CancelRequested stands for every wish to stop a task: the user's, and the run's own after a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from types import MappingProxyType

from asyncflow.events import (
    CancelRequested,
    RetryDue,
    Submit,
    TaskAccepted,
    TaskCancelled,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
    Value,
    WakeAt,
)


class TaskState(StrEnum):
    READY = "ready"
    """Waits for a slot."""
    SUBMITTED = "submitted"
    """Handed to its executor. From here to the ending it holds a slot."""
    RUNNING = "running"
    CANCELLING = "cancelling"
    """Told to stop, and not ended yet."""
    BACKOFF = "backoff"
    """Waits for the delay before a retry to pass; holds no slot."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


IN_FLIGHT = frozenset({TaskState.SUBMITTED, TaskState.RUNNING, TaskState.CANCELLING})
"""The states that hold a slot: an ending is to come."""


class Phase(Enum):
    """Where a run is."""

    NEW = "new"
    OPEN = "open"
    CLOSING = "closing"
    """Nothing more is started: a task failed for good, or the run was cancelled."""
    FINISHED = "finished"
    """``FinishRun`` has been said."""


TRANSITIONS: Mapping[tuple[TaskState, type[Value]], TaskState] = MappingProxyType(
    {
        (TaskState.READY, Submit): TaskState.SUBMITTED,
        (TaskState.READY, CancelRequested): TaskState.CANCELLED,
        (TaskState.SUBMITTED, TaskAccepted): TaskState.SUBMITTED,
        (TaskState.SUBMITTED, TaskStarted): TaskState.RUNNING,
        (TaskState.SUBMITTED, TaskSucceeded): TaskState.SUCCEEDED,
        (TaskState.SUBMITTED, TaskFailed): TaskState.FAILED,
        (TaskState.SUBMITTED, CancelRequested): TaskState.CANCELLING,
        (TaskState.RUNNING, TaskSucceeded): TaskState.SUCCEEDED,
        (TaskState.RUNNING, TaskFailed): TaskState.FAILED,
        (TaskState.RUNNING, CancelRequested): TaskState.CANCELLING,
        (TaskState.FAILED, WakeAt): TaskState.BACKOFF,
        (TaskState.FAILED, RetryDue): TaskState.READY,
        (TaskState.BACKOFF, RetryDue): TaskState.READY,
        (TaskState.BACKOFF, CancelRequested): TaskState.CANCELLED,
        (TaskState.CANCELLING, TaskAccepted): TaskState.CANCELLING,
        (TaskState.CANCELLING, TaskStarted): TaskState.CANCELLING,
        (TaskState.CANCELLING, TaskFailed): TaskState.CANCELLED,
        (TaskState.CANCELLING, TaskCancelled): TaskState.CANCELLED,
        (TaskState.CANCELLING, TaskSucceeded): TaskState.SUCCEEDED,
    }
)
