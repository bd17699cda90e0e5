"""Progress where there is no terminal: a line for each start and end, and for wide steps a summary now and then."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from asyncflow.events import EventsDropped, TaskCancelled, TaskFailed, TaskLog, TaskStarted, TaskSucceeded
from asyncflow.ui.lines import Lines
from asyncflow.ui.output import say
from asyncflow.ui.tally import Tally
from asyncflow.ui.text import counted
from asyncflow.ui.view import Backlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.events import Attempt, RunId, StreamItem
    from asyncflow.graph import FlowGraph
    from asyncflow.ui.output import Output

NARROW = 100
"""A step of at most so many tasks has a line for each start and end."""
SUMMARY_EVERY = 5.0
"""Seconds between the summaries of a wider step."""


class PlainView:
    """Lines on ``output``. With ``quiet`` only the steps' own output and failures."""

    period = 0.05
    idle = 0.5
    full = False
    tells_the_end = False

    def __init__(self, run_id: RunId, graph: FlowGraph, output: Output, *, quiet: bool = False) -> None:
        self.tally = Tally(graph)
        self._run_id = run_id
        self._lines = Lines(run_id, self.tally)
        self._output = output
        self._quiet = quiet
        self._backlog = Backlog()
        self._wide: dict[str, int] = {}
        """Wide steps, with how many of their tasks the last summary knew as ended."""
        self._failures: dict[str, int] = {}
        self._next_summary = 0.0

    def take(self, item: StreamItem) -> None:
        match item:
            case TaskLog():
                self._backlog.add(self._lines.log(item))
                return  # counts nothing
            case TaskStarted():
                if self._shows(item.attempt):
                    self._backlog.add(self._lines.started(item))
            case TaskSucceeded():
                if self._shows(item.attempt):
                    self._backlog.add(self._lines.caught(item) if item.caught else self._lines.succeeded(item))
            case TaskCancelled():
                if self._shows(item.attempt):
                    self._backlog.add(self._lines.cancelled(item))
            case TaskFailed():
                self._take_failure(item)
            case EventsDropped():
                self._backlog.left_out += item.count
            case _:
                pass
        self.tally.take(item)

    def _take_failure(self, item: TaskFailed) -> None:
        step = item.attempt.task.step
        self._shows(item.attempt)  # a wide step is found out by any of its events
        self._failures[step] = self._failures.get(step, 0) + 1
        if self._failures[step] <= NARROW:
            again = self.tally.will_retry(item.attempt, item.failure)
            self._backlog.add(self._lines.failed(item, again=again))

    def _shows(self, attempt: Attempt) -> bool:
        """Whether single tasks of this step have lines."""
        step = attempt.task.step
        if self._quiet or step in self._wide:
            return False
        if (self.tally.total(step) or 0) > NARROW:
            self._wide[step] = -1
            return False
        return True

    def note(self, text: str) -> None:
        say(text)

    def frame(self, now: float, *, last: bool) -> Callable[[], None] | None:
        if self._wide and not self._quiet:
            self._summarize(now, last=last)
        if not self._backlog:
            return None
        text, left_out = self._backlog.empty()
        if left_out:
            lines = counted(left_out, "line")
            text += self._lines.remark(now, f"… {lines} not shown here; asyncflow logs has them all.")
        return partial(self._output.write, text)

    def _summarize(self, now: float, *, last: bool) -> None:
        """Every ``SUMMARY_EVERY`` seconds, and once more when a step is complete or the run over."""
        due = now >= self._next_summary
        if due:
            self._next_summary = now + SUMMARY_EVERY
        for row in self.tally.rows(now) if due or last or self._completed() else ():
            told = self._wide.get(row.name)
            if told is not None and told != row.ended and (due or last or row.complete):
                self._wide[row.name] = row.ended
                self._backlog.add(self._lines.summary(now, row))

    def _completed(self) -> bool:
        """Whether a wide step has come to its end since its last summary."""
        for name, told in self._wide.items():
            step = self.tally.steps[name]
            if told != step.ended and not step.running and step.ended >= (self.tally.total(name) or 0):
                return True
        return False

    def close(self) -> None:
        pass
