"""A worker's life: take a task spec, run it, say how it ended, take the next.

The loop writes an ending together with the beginning of the next task, in one system call, and never keeps
an ending back while it waits. What a task changed around itself is put back at its end, so that nothing can go wrong
between taking a spec and announcing it. What it promises the engine:

- A spec that it took and whose beginning it didn't announce hasn't run a line of the user's code.
- All output of a task is in the pipes before the task's ending is written, and followed by a marker in each.
- SIGTERM raises ``Terminated`` in the step. Between tasks it makes the worker leave, and no ending is lost.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from msgspec.structs import replace

from asyncflow.events import Failure, FailureKind, TaskFailed
from asyncflow.worker import kernel
from asyncflow.worker.hygiene import Hygiene, flush, reseed
from asyncflow.worker.wire import Began, Broken, Ended, Hand, Leave, frame, read_spec, receive, unpack

if TYPE_CHECKING:
    from asyncflow.events import Ending, RunContext, TaskSpec
    from asyncflow.protocols import SmallBlob
    from asyncflow.worker.program import Program, Tasks
    from asyncflow.worker.wire import Make

ROOM = 64 * 1024
"""Bytes that a packet may have; ``wire.INLINE`` and some."""
LOST_CHANNEL = 74
"""Exit status of a worker whose descriptors were closed under it (``EX_IOERR``)."""

# A step may put something else in their places, and whatever that does, the task must be heard of.
_exit, _fdopen, _getpid, _set_blocking, _write = os._exit, os.fdopen, os.getpid, os.set_blocking, os.write
_now = time.time


class Terminated(SystemExit):
    """Raised in a step whose task is told to stop, so that its ``finally`` blocks run.

    A subclass of ``SystemExit``: ``except Exception`` doesn't stop it. What runs on past the grace period is killed.
    """


class Channels(NamedTuple):
    """A worker's descriptors, in the order in which they come with ``Make``."""

    packets: int
    reports: int
    stdout: int
    stderr: int


class Worker:
    """Serves until it is told to leave, has reached a limit, or the engine is gone."""

    def __init__(self, channels: Channels, order: Make, tasks: Tasks) -> None:
        self._packets = socket.socket(fileno=channels.packets)
        self._reports = channels.reports
        self._streams = (channels.stdout, channels.stderr)
        self._tag = order.tag
        self._most_tasks = order.most_tasks
        self._tasks = tasks
        self._pid = _getpid()
        self._name = f"pid {self._pid}"
        self._done = 0
        self._interruptible = False
        """Whether SIGTERM may raise: in the user's code, and where nothing is kept that must be said first."""
        self._told_to_stop = False
        signal.signal(signal.SIGTERM, self._on_sigterm)
        # A process for one task needs no way back.
        self._hygiene = Hygiene(self._streams, order.most_growth) if order.most_tasks > 1 else None
        reseed()

    def serve(self) -> None:
        said = b""
        while not self._told_to_stop:
            try:
                taken = self._take(wait=not said)
            except BlockingIOError:
                self._write(said)
                said = b""
                continue
            except Terminated:
                break
            if taken is None:
                break
            said, leaving = self._serve_one(*taken, said)
            if leaving:
                break
        if said:
            self._write(said)

    # -- one task ----------------------------------------------------------------------------------

    def _serve_one(self, seq: int, spec: TaskSpec, said: bytes) -> tuple[bytes, str]:
        """Run it; what there is to say then, and why the worker must leave, if it must."""
        began = _now()
        self._write(said + frame(Began(seq, began, self._pid)))
        ending, blobs = self._run(spec, began)
        flush()
        if _getpid() != self._pid:
            # The step forked, and this is its child, back from the step: only the parent answers.
            _exit(isinstance(ending, TaskFailed) and ending.failure.retriable)
        self._done += 1
        self._mark(seq)
        leaving = self._why_leave()
        return frame(Ended(seq, ending, blobs, leaving)), leaving

    def _run(self, spec: TaskSpec, began: float) -> tuple[Ending, list[SmallBlob]]:
        ending: Ending
        blobs: list[SmallBlob] = []
        try:
            self._interruptible = True
            outcome = self._tasks.run(spec, self._name)
            self._interruptible = False
            ending, blobs = outcome.ending, outcome.blobs
        except BaseException as error:
            self._interruptible = False
            from asyncflow.worker.failures import failure_of

            failure = failure_of(error, kind=FailureKind.CRASH)
            ending = TaskFailed(spec.attempt, failure, _now(), began, self._name)
        if self._told_to_stop and isinstance(ending, TaskFailed):
            message = "The worker was told to stop by SIGTERM, and the step ended."
            ending = replace(ending, failure=replace(ending.failure, kind=FailureKind.CRASH, message=message))
        return ending, blobs

    def _mark(self, seq: int) -> None:
        mark = b"%b%d\n" % (self._tag, seq)
        for stream in self._streams:
            try:
                _write(stream, mark)
            except BlockingIOError:
                # A program that the step started has set the pipe, which it shares with us, to non-blocking.
                _set_blocking(stream, True)
                _write(stream, mark)
            except OSError:
                _exit(LOST_CHANNEL)

    def _why_leave(self) -> str:
        if self._told_to_stop:
            return "it was told to stop"
        if self._done >= self._most_tasks or self._hygiene is None:
            return "it has served enough tasks"
        return self._hygiene.clean()

    # -- channels ----------------------------------------------------------------------------------

    def _take(self, *, wait: bool) -> tuple[int, TaskSpec] | None:
        """The next spec; None when it is time to leave. Raises ``BlockingIOError`` where none is there."""
        self._interruptible = wait
        received, descriptors = receive(self._packets, ROOM, 0 if wait else socket.MSG_DONTWAIT)
        self._interruptible = False
        if not received:
            return None
        packet = unpack(received)
        if isinstance(packet, Leave):
            return None
        if isinstance(packet, Hand):
            return packet.seq, packet.spec
        with _fdopen(descriptors[0], "rb") as file:
            return packet.seq, read_spec(file)

    def _write(self, said: bytes) -> None:
        left = memoryview(said)
        while left:
            try:
                left = left[_write(self._reports, left) :]
            except OSError:
                _exit(LOST_CHANNEL)

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        first = not self._told_to_stop
        self._told_to_stop = True
        if _getpid() != self._pid or (first and self._interruptible):
            raise Terminated(128 + signal.SIGTERM)


# -- becoming a worker -----------------------------------------------------------------------------


def prepare_streams() -> None:
    """Lines leave as they are printed, and a crash says where it was. Once, before there are workers."""
    import faulthandler

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable(file=2, all_threads=False)


def bound(program: Program, context: RunContext) -> Tasks | Failure:
    """What runs the run's tasks, or why nothing can."""
    try:
        return program.bind(context)
    except Exception as error:
        from asyncflow.worker.failures import failure_of

        return replace(failure_of(error, kind=FailureKind.LOST), retriable=False)


def live(tasks: Tasks | Failure, order: Make, channels: Channels, parent: int) -> NoReturn:
    """Make this process, just forked or spawned by ``parent`` and in a session of its own, a worker; never returns."""
    kernel.die_with_parent()
    if os.getppid() != parent:
        _exit(1)
    kernel.adopt_orphans()
    os.dup2(channels.stdout, 1)
    os.dup2(channels.stderr, 2)
    status = 1
    try:
        if isinstance(tasks, Failure):
            _write(channels.reports, frame(Broken(tasks)))
        else:
            Worker(channels, order, tasks).serve()
        status = 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        leave(status)


def leave(status: int) -> NoReturn:
    """Exit as an interpreter does (what was registered with ``atexit`` runs), but without waiting for threads."""
    try:
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage] - the only way to run them without the interpreter's end
        flush()
    finally:
        _exit(status)
