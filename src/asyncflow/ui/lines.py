"""Console lines: ``2026-11-23 08:43:25.345 [run/step/task (pid N)] text``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow.ui.text import count, duration, plain, rate, safe, stamp

if TYPE_CHECKING:
    from asyncflow.events import Attempt, Ending, RunId, TaskFailed, TaskLog, TaskStarted
    from asyncflow.ui.tally import Row, Tally

_DIM = "\x1b[2m"
_RED = "\x1b[31m"
_RESET = "\x1b[0m"


class Lines:
    """Turns the events of one run into lines, each with its line end. ``tally`` knows which worker runs a task.

    Ask before the tally has taken the event: an ending takes the worker's name along.
    """

    def __init__(self, run_id: RunId, tally: Tally, *, colour: bool = False) -> None:
        self._run_id = run_id
        self._tally = tally
        self._dim, self._red, self._reset = (_DIM, _RED, _RESET) if colour else ("", "", "")

    def log(self, item: TaskLog) -> str:
        """A line of a step's output."""
        running = self._tally.running.get(item.attempt.serial)
        return f"{self._head(item.at, item.attempt, running.worker if running else '')}{safe(item.line)}\n"

    def started(self, item: TaskStarted) -> str:
        again = f" (attempt {item.attempt.number + 1})" if item.attempt.number else ""
        return f"{self._head(item.at, item.attempt, item.worker)}Task started{again}.\n"

    def succeeded(self, item: Ending) -> str:
        return f"{self._head(item.ended, item.attempt, item.worker)}Task succeeded in {_took(item)}.\n"

    def caught(self, item: Ending) -> str:
        return f"{self._head(item.ended, item.attempt, item.worker)}Task failed after {_took(item)}; @catch took it.\n"

    def cancelled(self, item: Ending) -> str:
        return f"{self._head(item.ended, item.attempt, item.worker)}Task cancelled.\n"

    def failed(self, item: TaskFailed, *, again: bool) -> str:
        what = plain(item.failure.message).partition("\n")[0]
        after = f" after {_took(item)}" if item.started is not None else ""
        how = (
            f"Attempt {item.attempt.number + 1} failed{after}, and will be tried again"
            if again
            else f"Task failed{after}"
        )
        return f"{self._head(item.ended, item.attempt, item.worker)}{self._red}{how}: {what}{self._reset}\n"

    def summary(self, at: float, row: Row) -> str:
        """How far a wide step is."""
        return f"{self._dim}{stamp(at)} [{self._run_id}/{row.name}]{self._reset} {progress(row)}\n"

    def remark(self, at: float, text: str) -> str:
        """A word of our own about the run as a whole."""
        return f"{self._dim}{stamp(at)} [{self._run_id}]{self._reset} {text}\n"

    def _head(self, at: float, attempt: Attempt, worker: str) -> str:
        where = f"{self._run_id}/{attempt.task.step}/{attempt.serial}"
        if worker:
            where += f" ({worker})"
        return f"{self._dim}{stamp(at)} [{where}]{self._reset} "


def progress(row: Row) -> str:
    """``4,120 of 10,000 done, 16 running, 2 failed, 830/s, about 7 s left``."""
    parts = [f"{count(row.done)} of {count(row.total)} done" if row.total else f"{count(row.done)} done"]
    if row.running:
        parts.append(f"{count(row.running)} running")
    if trouble := troubles(row):
        parts.append(trouble)
    if row.rate is not None:
        parts.append(rate(row.rate))
    if row.left and not row.complete:
        parts.append(f"about {duration(row.left)} left")
    return ", ".join(parts)


def troubles(row: Row) -> str:
    """``2 failed, 1 to be tried again``; empty when all is well."""
    parts = ((row.failed, "failed"), (row.cancelled, "cancelled"), (row.waiting, "to be tried again"))
    return ", ".join(f"{count(number)} {word}" for number, word in parts if number)


def _took(item: Ending) -> str:
    return duration(item.ended - (item.started if item.started is not None else item.ended))
