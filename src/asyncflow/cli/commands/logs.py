"""``logs``: the output of tasks, as it was and as it comes."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from asyncflow.cli.commands.common import StoreOption, invocation_of, required
from asyncflow.cli.places import find_place, open_store, state_of, tasks_at
from asyncflow.events import RunState
from asyncflow.ui.output import Output, is_terminal, say
from asyncflow.ui.text import safe, stamp

if TYPE_CHECKING:
    from asyncflow.cli.places import Place
    from asyncflow.protocols import LogLine, TaskRecord
    from asyncflow.store.local import LocalStore

POLL = 0.25
"""Seconds between looks with ``--follow``; more, when a look takes long."""
_BATCH = 1 << 16
"""Bytes written at a time."""


def logs(
    context: typer.Context,
    pathspec: Annotated[str | None, typer.Argument(metavar="PATHSPEC", help="A run, step or task.")] = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Only what was printed to stdout.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only what was printed to stderr.")] = False,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Put its time before each line.")] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="N", help="Of this attempt, from 0. [default: the last one]")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until it has ended.")] = False,
    store: StoreOption = None,
) -> None:
    """Print the output of tasks.

    Of one task, or of all tasks of a step or run.
    """
    opened = open_store(invocation_of(context).store(store))
    place = find_place(opened, required(pathspec), deepest=4)
    both = stdout == stderr
    streams = frozenset({"stdout", "stderr"} if both else {"stdout"} if stdout else {"stderr"})
    printer = _Printer(opened, place, streams, timestamps, attempt)
    if follow:
        _follow(opened, place, printer)
    else:
        printer.print_new()


@dataclass(slots=True)
class _Printer:
    """Prints what it hasn't printed yet. To a terminal, control sequences are made harmless; elsewhere bytes are kept."""

    store: LocalStore
    place: Place
    streams: frozenset[str]
    timestamps: bool
    attempt: int | None
    output: Output = field(default_factory=lambda: Output(sys.stdout))
    terminal: bool = field(default_factory=lambda: is_terminal(sys.stdout))
    printed: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    """How many chunks of each (serial, attempt)."""
    complete: set[int] = field(default_factory=set[int])
    """Serials of tasks that nothing more will come from."""

    def print_new(self) -> None:
        tasks = tasks_at(self.store, self.place)
        for task in tasks:
            if task.serial not in self.complete and self.output.error is None:
                done = bool(task.attempts) and task.attempts[-1].state == "succeeded"
                self._print_task(task)
                if done:  # noted before the lines were read, so that none is missed
                    self.complete.add(task.serial)

    def _print_task(self, task: TaskRecord) -> None:
        attempt = self.attempt
        if attempt is None:
            attempt = task.attempts[-1].number if task.attempts else 0
        chunks = self.store.reader.logs(self.place.run.run_id, task.serial, attempt)
        key = (task.serial, attempt)
        new = chunks[self.printed.get(key, 0) :]
        self.printed[key] = len(chunks)
        head = "" if self.place.serial is not None else f"[{task.step}/{task.serial}] "
        waiting: list[bytes] = []
        size = 0
        for line in self.store.logs.read(self.place.run.run_id, new):
            if line.stream in self.streams:
                waiting.append(self._format(line, head))
                size += len(waiting[-1])
                if size >= _BATCH:
                    self.output.write_bytes(b"".join(waiting))
                    waiting, size = [], 0
                    if self.output.error is not None:
                        return
        if waiting:
            self.output.write_bytes(b"".join(waiting))

    def _format(self, line: LogLine, head: str) -> bytes:
        if self.timestamps:
            head = f"{stamp(line.at)} {head}"
        text = safe(line.line).encode() if self.terminal else line.line
        return head.encode() + text + b"\n"


def _follow(store: LocalStore, place: Place, printer: _Printer) -> None:
    """Until the task, or the run, is over. Ctrl-C ends it, and not the run."""
    while printer.output.error is None:
        began = time.monotonic()
        state = _state(store, place)
        printer.print_new()
        if state is not RunState.RUNNING:
            if state is RunState.LOST:
                say(f"{place.run.flow_name}/{place.run.run_id} is lost: its engine has died.")
            return
        if place.serial is not None and place.serial in printer.complete:
            return
        time.sleep(max(POLL, 4 * (time.monotonic() - began)))


def _state(store: LocalStore, place: Place) -> RunState:
    run = store.reader.run(place.run.run_id)
    return RunState.LOST if run is None else state_of(run)
