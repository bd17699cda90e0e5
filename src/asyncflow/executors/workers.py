"""The engine's side of one worker: its queue, what it says, what it prints."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections import deque
from errno import EMSGSIZE, ENOBUFS
from typing import TYPE_CHECKING, Protocol

from asyncflow.executors.handout import Seat
from asyncflow.executors.pipes import Output, new_tag
from asyncflow.worker.wire import (
    CHUNK,
    INLINE,
    PACKETS,
    Hand,
    HandFile,
    Leave,
    Make,
    packet,
    receive,
    reports,
    spec_chunks,
    unpack,
)

if TYPE_CHECKING:
    from typing import BinaryIO

    from asyncflow.events import Stream, TaskSpec
    from asyncflow.executors.handout import Errand
    from asyncflow.executors.listener import Listener
    from asyncflow.executors.session import StepLane, Submission
    from asyncflow.executors.zygote import ZygoteProcess
    from asyncflow.worker.wire import Report

ROOM = 64 * 1024


class Audience(Protocol):
    """Who hears what a worker says and prints."""

    def reported(self, member: Member, report: Report) -> None: ...

    def printed(self, seq: int, stream: Stream, at: float, text: bytes, /) -> None: ...

    def marked(self, seq: int, /) -> None:
        """One of the task's two streams has been read to the end of the task."""
        ...

    def background(self, task: asyncio.Task[None]) -> None:
        """Watch this task."""
        ...


class Member(Seat):
    """One worker, from the order to make it until its descriptors are closed.

    The engine keeps both ends of the worker's queue: through the worker's end it takes back what is unread.
    Raises ``OSError`` when there are no descriptors left.
    """

    def __init__(
        self, number: int, lane: StepLane, zygote: ZygoteProcess, listener: Listener, audience: Audience
    ) -> None:
        super().__init__(lane)
        self.number = number
        self.session = lane.session
        self.zygote = zygote
        self.pid = 0
        """0 until it is known."""
        self.began = False
        """Whether any of its tasks has."""
        self.silent = False
        """It will say nothing more."""
        self.paused = lane.session.paused
        self.unsettled: dict[int, Submission] = {}
        """Tasks that it has ended and whose output isn't read to the end."""
        self.timer: asyncio.TimerHandle | None = None
        """When it is killed if it is still there."""
        self._listener = listener
        self._audience = audience
        self._spooling: dict[int, asyncio.Task[None]] = {}
        self._unframer = reports()
        self._unheard: deque[Report] = deque()
        self._tag = new_tag()
        with contextlib.ExitStack() as opened:
            self._ours, self._unread = _socket_pair(opened, PACKETS)
            self._reports, theirs = _socket_pair(opened, socket.SOCK_STREAM)
            (stdout, its_stdout), (stderr, its_stderr) = _pipe(opened), _pipe(opened)
            its_packets = os.dup(self._unread.fileno())
            opened.pop_all()
        self._given = (its_packets, theirs.detach(), its_stdout, its_stderr)
        for descriptor in (self._ours.fileno(), self._reports.fileno(), stdout, stderr):
            os.set_blocking(descriptor, False)
        self.outputs = (self._output(stdout, "stdout"), self._output(stderr, "stderr"))

    def _output(self, descriptor: int, stream: Stream) -> Output:
        return Output(
            descriptor,
            stream,
            self._tag,
            line=self._audience.printed,
            marked=self._audience.marked,
            asks=self.catch_up,
        )

    def order(self, run: int, most_tasks: int, most_growth: int, foreseen: TaskSpec | None) -> None:
        """Have the zygote make it; from here on it is listened to. The arguments are those of ``Make``."""
        order = Make(self.number, run, self._tag, most_tasks, most_growth, foreseen)
        self.zygote.make(order, self._given)
        self._listener.add(self._reports.fileno(), self._on_reports)
        if not self.paused:
            self._listen_to_output()

    # -- its queue ---------------------------------------------------------------------------------

    def give(self, errand: Errand) -> bool:
        """False: the queue is full."""
        if len(errand.spec.inputs) <= CHUNK:
            message = packet(Hand(errand.seq, errand.spec))
            if len(message) <= INLINE:
                try:
                    return self._put(message)
                except OSError as error:
                    if error.errno != EMSGSIZE:  # a system whose packets are small
                        raise
        task = asyncio.get_running_loop().create_task(
            self._spool(errand.seq, errand.spec), name=f"asyncflow-long-spec-{errand.seq}"
        )
        self._spooling[errand.seq] = task
        self._audience.background(task)
        return True

    def _put(self, message: bytes, descriptors: tuple[int, ...] = ()) -> bool:
        try:
            if descriptors:
                socket.send_fds(self._ours, [message], descriptors)
            else:
                self._ours.send(message)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == ENOBUFS:
                return False
            raise
        return True

    async def _spool(self, seq: int, spec: TaskSpec) -> None:
        """Write a long spec to a file piece by piece, so that the loop isn't held, and hand over its descriptor.

        The file has no name: it is gone when the last who holds it is.
        """
        with tempfile.TemporaryFile() as file:
            await _write_spec(file, spec)
            while not self._put(packet(HandFile(seq)), (file.fileno(),)):  # noqa: ASYNC110 - nobody tells of room in it
                await asyncio.sleep(0.001)
        del self._spooling[seq]

    def recall(self) -> list[Errand]:
        """What the worker hasn't read, and now never will."""
        seqs = list(self._spooling)
        for task in self._spooling.values():
            task.cancel()
        self._spooling.clear()
        with contextlib.suppress(BlockingIOError):
            while True:
                message, descriptors = receive(self._unread, ROOM, socket.MSG_DONTWAIT)
                for descriptor in descriptors:
                    os.close(descriptor)
                taken = unpack(message)
                if not isinstance(taken, Leave):
                    seqs.append(taken.seq)
        return [self.errands[seq] for seq in sorted(seqs)]

    def dismiss(self) -> None:
        """Tell it to exit once it has nothing else to read."""
        self._put(packet(Leave()))

    # -- what it says and prints -------------------------------------------------------------------

    def _on_reports(self) -> None:
        self._receive()
        self._hear()

    def catch_up(self) -> None:
        """Hear all that it has said by now."""
        self._hear()
        while self._receive():
            self._hear()

    def _hear(self) -> None:
        # Hearing of one report may lead to catching up: so each is taken off before it is heard.
        while self._unheard:
            self._audience.reported(self, self._unheard.popleft())

    def _receive(self) -> bool:
        try:
            received = self._reports.recv(ROOM)
        except BlockingIOError:
            return False
        except OSError:
            received = b""
        if not received:
            # Its end is closed. That isn't its death, of which the zygote tells.
            self._listener.remove(self._reports.fileno())
            self.silent = True
            return False
        self._unheard.extend(self._unframer.feed(received))
        return True

    def expect_output(self, seq: int) -> None:
        for output in self.outputs:
            output.expect(seq)

    def read_output(self) -> None:
        """Now rather than in its turn: a task's ending waits for it."""
        if not self.paused:
            for output in self.outputs:
                output.read()

    def pause(self, paused: bool) -> None:
        """Stop reading what it prints, or go on; when the pipe is full, who prints waits."""
        if paused == self.paused:
            return
        self.paused = paused
        if paused:
            for output in self.outputs:
                self._listener.remove(output.descriptor)
        else:
            self._listen_to_output()

    def _listen_to_output(self) -> None:
        stdout, stderr = self.outputs
        self._listener.add(stdout.descriptor, lambda: self._on_output(stdout))
        self._listener.add(stderr.descriptor, lambda: self._on_output(stderr))

    def _on_output(self, output: Output) -> None:
        if not output.read() and output.ended:
            self._listener.remove(output.descriptor)

    # -- its end -----------------------------------------------------------------------------------

    def drain(self) -> None:
        """After its death: read what it still said and printed."""
        self.catch_up()
        for output in self.outputs:
            output.drain()

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        for task in self._spooling.values():
            task.cancel()
        self._listener.remove(self._reports.fileno())
        for output in self.outputs:
            self._listener.remove(output.descriptor)
            os.close(output.descriptor)
        self._ours.close()
        self._unread.close()
        self._reports.close()


def _socket_pair(opened: contextlib.ExitStack, kind: int) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    opened.callback(ours.close)
    opened.callback(theirs.close)
    return ours, theirs


def _pipe(opened: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        opened.callback(os.close, end)
    return ends


async def _write_spec(file: BinaryIO, spec: TaskSpec) -> None:
    for chunk in spec_chunks(spec):
        file.write(chunk)
        await asyncio.sleep(0)
    file.flush()
