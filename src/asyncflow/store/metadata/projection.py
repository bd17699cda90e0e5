"""What an event changes in the rows that readers see: pure, and the same for every metadata store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from asyncflow.errors import MetaflowTaggingError, StaleEpoch
from asyncflow.events import (
    Attempt,
    BlobRef,
    Event,
    Failure,
    RunId,
    RunStarted,
    TaskCancelled,
    TaskFailed,
    TaskId,
    TaskStarted,
    TaskSucceeded,
)

PARAMETERS = "_parameters"
"""The pseudo-step whose task 0 holds a run's parameters and class constants."""
MAX_TAGS = 50
MAX_TAG_LENGTH = 500


class AttemptRow(Struct, frozen=True):
    """The row of one attempt; the rows that share a step and a serial are one task.

    A row whose state is ``running`` never replaces another: a start may be written after its ending.
    """

    attempt: Attempt
    state: str
    """``running succeeded failed cancelled``"""
    created: float
    started: float | None
    ended: float | None = None
    worker: str = ""
    manifest: BlobRef | None = None
    failure: Failure | None = None
    caught: bool = False


def row_of(event: Event) -> AttemptRow | None:
    """The row that ``event`` writes; None where readers see nothing of it."""
    match event:
        case TaskSucceeded():
            return AttemptRow(
                event.attempt,
                "succeeded",
                event.started,
                event.started,
                event.ended,
                event.worker,
                event.manifest,
                None,
                event.caught,
            )
        case TaskStarted():
            return AttemptRow(event.attempt, "running", event.at, event.at, worker=event.worker)
        case TaskFailed():
            return AttemptRow(
                event.attempt,
                "failed",
                event.ended if event.started is None else event.started,
                event.started,
                event.ended,
                event.worker,
                event.manifest,
                event.failure,
            )
        case TaskCancelled():
            created = event.ended if event.started is None else event.started
            return AttemptRow(event.attempt, "cancelled", created, event.started, event.ended, event.worker)
        case RunStarted():
            attempt = Attempt(TaskId(PARAMETERS), 0, 0)
            return AttemptRow(attempt, "succeeded", event.at, event.at, event.at, manifest=event.parameters)
        case _:
            return None


def is_journaled(event: Event) -> bool:
    """Replay needs no starts: they are in the rows only."""
    return not isinstance(event, TaskStarted)


def changed_tags(
    tags: Iterable[str], system_tags: Iterable[str], add: Sequence[str], remove: Sequence[str]
) -> tuple[str, ...]:
    """The user tags after ``remove`` and then ``add``, sorted. Adding a system tag changes nothing.

    Raises ``MetaflowTaggingError`` where a system tag is to be removed, a tag isn't 1 to 500 characters
    long, or there would be more than 50.
    """
    system = frozenset(system_tags)
    forbidden = sorted(system.intersection(remove))
    if forbidden:
        raise MetaflowTaggingError(
            f"System tags can't be removed: {', '.join(forbidden)}. Only tags that users gave can be."
        )
    for tag in add:
        if not _is_tag(tag):
            raise MetaflowTaggingError(f"A tag is a Unicode text of 1 to {MAX_TAG_LENGTH} characters, not {tag!r:.80}.")
    after = frozenset(tags).difference(remove).union(add) - system
    if add and len(after) > MAX_TAGS:
        raise MetaflowTaggingError(f"A run has at most {MAX_TAGS} tags; it would have {len(after)}.")
    return tuple(sorted(after))


def _is_tag(tag: object) -> bool:
    if not isinstance(tag, str) or not 0 < len(tag) <= MAX_TAG_LENGTH:
        return False
    try:
        tag.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def check_epoch(run_id: RunId, epoch: int, current: int) -> None:
    """Raises ``StaleEpoch`` where the run is at another epoch than the engine that writes."""
    if epoch != current:
        raise StaleEpoch(
            f"Run {run_id} was taken over by another engine (its epoch is {current}, this engine's {epoch}). "
            "This engine stops; the other one goes on with the run."
        )
