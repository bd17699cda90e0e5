"""How errors reach the user, and which exit code they become.

0: it worked. 1: it failed or was interrupted. 2: it can't be done as asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow import settings
from asyncflow.errors import AsyncflowError, InvalidTransition, MetaflowInvalidPathspec, UsageError
from asyncflow.ui.output import say
from asyncflow.ui.text import plain

if TYPE_CHECKING:
    from asyncflow.events import Failure

FAILED = 1
USAGE = 2


def report(error: BaseException) -> int:
    """Say what went wrong; returns the exit code. The traceback comes only with ``ASYNCFLOW_DEBUG=1``."""
    if debugging():
        import traceback

        say("".join(traceback.format_exception(error)))
    match error:
        case InvalidTransition():
            return report_bug(error)
        case UsageError() | MetaflowInvalidPathspec():
            say(f"{error.headline}: {error.message}")
            return USAGE
        case AsyncflowError():
            say(f"{error.headline}: {error.message}")
            return FAILED
        case KeyboardInterrupt():
            say("Interrupted.")
            return FAILED
        case OSError() if error.strerror:
            where = f": {error.filename}" if error.filename is not None else ""
            say(f"The system refused: {error.strerror}{where}")
            return FAILED
        case _:
            return report_bug(error)


def report_bug(error: BaseException) -> int:
    """Something that we didn't think of."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f" at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else ""
    say(f"This is a bug in asyncflow: {type(error).__name__}: {error}{where}")
    if not debugging():
        say(
            "Please report it, with `asyncflow version` and with what the same command says when "
            "ASYNCFLOW_DEBUG=1 is in its environment."
        )
    return FAILED


def debugging() -> bool:
    return (settings.option("debug") or "0").lower() not in {"0", "false", "no", "off"}


def task_failure(pathspec: str, failure: Failure, logs: str) -> str:
    """The last words about a failed task: what it raised, with its own frames only, and where its output is."""
    said = plain(failure.traceback).rstrip() or plain(failure.message)
    return f"Task {pathspec} failed ({_KINDS[failure.kind.value]}).\n\n{said}\n\nIts output: {logs}"


_KINDS = {
    "user": "it raised an error",
    "timeout": "it took too long",
    "crash": "its process died",
    "memory": "it ran out of memory",
    "lost": "it was lost with the machine or process that ran it",
}
