"""``--json``: one event a line, for other programs. ``docs/cli.md`` describes each kind."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from asyncflow.events import (
    CancelRequested,
    EventsDropped,
    LimitChanged,
    RetryDue,
    RunFinished,
    RunStarted,
    TaskAccepted,
    TaskCancelled,
    TaskFailed,
    TaskLog,
    TaskStarted,
    TaskSucceeded,
)
from asyncflow.ui.output import say
from asyncflow.ui.tally import Tally
from asyncflow.ui.view import ROOM

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.events import Attempt, BlobRef, Failure, FirstFailure, Next, StreamItem
    from asyncflow.graph import FlowGraph
    from asyncflow.ui.output import Output


class JsonView:
    """Every item as a line of JSON. Leaves nothing out by itself: a slow reader gets ``EventsDropped`` lines."""

    period = 0.02
    idle = 60.0
    tells_the_end = True

    def __init__(self, pathspec: str, graph: FlowGraph, output: Output) -> None:
        self.tally = Tally(graph)
        self._pathspec = pathspec
        self._output = output
        self._lines: list[bytes] = []
        self._size = 0

    @property
    def full(self) -> bool:
        return self._size >= ROOM and self._output.error is None

    def take(self, item: StreamItem) -> None:
        self.tally.take(item)
        if self._output.error is None:
            line = encode(as_object(item, self._pathspec))
            self._lines.append(line)
            self._size += len(line)

    def note(self, text: str) -> None:
        say(text)

    def frame(self, now: float, *, last: bool) -> Callable[[], None] | None:  # noqa: ARG002 - a View's signature
        if not self._lines:
            return None
        self._lines.append(b"")
        content = b"\n".join(self._lines)
        self._lines, self._size = [], 0
        return partial(self._output.write_bytes, content)

    def close(self) -> None:
        pass


def encode(value: object) -> bytes:
    """``value`` as one line of JSON, also where a text (a file name, say) has what UTF-8 can't hold."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def as_object(item: StreamItem, run: str) -> dict[str, Any]:
    """The JSON object of an item of the event stream of ``run`` (``Flow/run_id``)."""
    head: dict[str, Any] = {"type": type(item).__name__, "run": run}
    match item:
        case TaskLog():
            return head | _task(item.attempt, run) | {"at": item.at, "stream": item.stream} | _line(item.line)
        case TaskStarted():
            return head | _task(item.attempt, run) | {"at": item.at, "worker": item.worker}
        case TaskSucceeded():
            ending = _ending(item, item.manifest) | {"caught": item.caught, "next": _next(item.next)}
            return head | _task(item.attempt, run) | ending
        case TaskFailed():
            ending = _ending(item, item.manifest) | {"failure": _failure(item.failure)}
            return head | _task(item.attempt, run) | ending
        case TaskCancelled():
            return head | _task(item.attempt, run) | _ending(item, None)
        case TaskAccepted():
            return head | _task(item.attempt, run) | {"handle": item.handle}
        case RetryDue():
            return head | _task(item.attempt, run)
        case RunStarted():
            return head | {
                "flow": item.flow_name,
                "at": item.at,
                "limits": item.limits,
                "on_failure": item.on_failure.value,
                "version": item.version,
            }
        case RunFinished():
            return head | {
                "state": item.state.value,
                "at": item.at,
                "reason": item.reason,
                "first_failure": _first_failure(item.first_failure, run),
            }
        case CancelRequested():
            return head | {"at": item.at, "reason": item.reason}
        case LimitChanged():
            return head | {"executor": item.executor, "limit": item.limit}
        case EventsDropped():
            return head | {"count": item.count}
        case _:
            assert_never(item)


def _task(attempt: Attempt, run: str) -> dict[str, Any]:
    return {
        "task": f"{run}/{attempt.task.step}/{attempt.serial}",
        "step": attempt.task.step,
        "id": attempt.serial,
        "path": attempt.task.path,
        "attempt": attempt.number,
    }


def _ending(item: TaskSucceeded | TaskFailed | TaskCancelled, manifest: BlobRef | None) -> dict[str, Any]:
    return {
        "started": item.started,
        "ended": item.ended,
        "worker": item.worker,
        "manifest": None if manifest is None else manifest.key.hex(),
    }


def _next(asked: Next | None) -> dict[str, Any] | None:
    return None if asked is None else {"steps": asked.steps, "width": asked.width, "var": asked.var}


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "kind": failure.kind.value,
        "message": failure.message,
        "exception": failure.exception,
        "traceback": failure.traceback,
    }


def _first_failure(first: FirstFailure | None, run: str) -> dict[str, Any] | None:
    return None if first is None else _task(first.attempt, run) | {"failure": _failure(first.failure)}


def _line(line: bytes) -> dict[str, Any]:
    """The text, and where it isn't UTF-8 the bytes too."""
    try:
        return {"line": line.decode()}
    except UnicodeDecodeError:
        return {"line": line.decode("utf-8", "replace"), "base64": base64.b64encode(line).decode()}
