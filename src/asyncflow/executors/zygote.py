"""The engine's side of a zygote: starts it, gives it orders, hears of its workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from typing import TYPE_CHECKING, Protocol

from asyncflow.executors.deaths import manner
from asyncflow.executors.launch import launch
from asyncflow.worker.wire import Begin, Brief, Broken, Exited, Forget, Made, Ready, Signal, Unmade, frame, notices

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from asyncflow.events import Failure, FlowSource, RunContext
    from asyncflow.executors.listener import Listener
    from asyncflow.worker.wire import Make, Notice, Order

ROOM = 64 * 1024
_TAIL = 8 * 1024


class Owner(Protocol):
    """Who hears what a zygote says."""

    def ready(self, zygote: ZygoteProcess, reason: str) -> None:
        """Workers can be made; ``reason`` says why they are spawned, where they are."""
        ...

    def broken(self, zygote: ZygoteProcess, failure: Failure) -> None:
        """No worker will ever come from it."""
        ...

    def made(self, worker: int, pid: int) -> None: ...

    def unmade(self, worker: int, message: str) -> None: ...

    def exited(self, worker: int, status: int) -> None: ...

    def zygote_gone(self, zygote: ZygoteProcess, why: str) -> None:
        """The process ended. Its workers are dying or dead."""
        ...


class ZygoteProcess:
    """One zygote, from its start to its end. ``gone`` is set once it has been waited for."""

    def __init__(
        self, source: FlowSource, *, program: str, start_method: str, listener: Listener, owner: Owner
    ) -> None:
        self.source = source
        self.failure: Failure | None = None
        """Why no worker will come from it."""
        self.is_ready = False
        self.is_open = True
        self.runs: set[int] = set()
        self.pids: set[int] = set()
        """Of the workers that live; each leads a session."""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._listener = listener
        self._notices = notices()
        self._outbox: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._tail = b""
        self._process = self._start()
        self._send(Begin(source, program, start_method))

    @property
    def pid(self) -> int:
        return self._process.pid

    # -- orders ------------------------------------------------------------------------------------

    def brief(self, run: int, context: RunContext) -> None:
        if run not in self.runs:
            self.runs.add(run)
            self._send(Brief(run, context))

    def forget(self, run: int) -> None:
        if run in self.runs:
            self.runs.remove(run)
            self._send(Forget(run))

    def make(self, order: Make, descriptors: Sequence[int]) -> None:
        """``descriptors`` are those of ``Channels``; they are ours to close."""
        self._send(order, descriptors)

    def signal(self, worker: int, number: signal.Signals) -> None:
        self._send(Signal(worker, number))

    def close(self) -> None:
        """Let it kill its workers and exit; ``gone`` tells when it has."""
        if self.is_open:
            self.is_open = False
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """At once, with what importing the flow has started. Its workers die with it, but not what detached itself from
        them."""
        self.is_open = False
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    # -- the process -------------------------------------------------------------------------------

    def _start(self) -> subprocess.Popen[bytes]:
        process, self._control, self._output, self.mark = launch()
        self._control.setblocking(False)
        os.set_blocking(self._output, False)
        self._listener.add(self._control.fileno(), self._on_notices)
        self._listener.add(self._output, self._on_output)
        return process

    def _send(self, order: Order, descriptors: Sequence[int] = ()) -> None:
        if not self.is_open:
            _close(descriptors)
            return
        self._outbox.append((memoryview(frame(order)), descriptors))
        if len(self._outbox) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._outbox:
            left, descriptors = self._outbox[0]
            try:
                sent = socket.send_fds(self._control, [left], descriptors) if descriptors else self._control.send(left)
            except BlockingIOError:
                self._listener.when_writable(self._control.fileno(), self._flush)
                return
            except OSError:
                return  # it is gone, and we are about to hear of it
            _close(descriptors)
            if sent < len(left):
                self._outbox[0] = (left[sent:], ())
            else:
                self._outbox.popleft()

    def _on_notices(self) -> None:
        try:
            received = self._control.recv(ROOM)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._end()
            return
        for notice in self._notices.feed(received):
            self._hear(notice)

    def _hear(self, notice: Notice) -> None:
        match notice:
            case Ready(reason=reason):
                self.is_ready = True
                self._owner.ready(self, reason)
            case Broken(failure=failure):
                self.failure = failure
                self._owner.broken(self, failure)
            case Made(worker=worker, pid=pid):
                self.pids.add(pid)
                self._owner.made(worker, pid)
            case Unmade(worker=worker, message=message):
                self._owner.unmade(worker, message)
            case Exited(worker=worker, pid=pid, status=status):
                self.pids.discard(pid)
                self._owner.exited(worker, status)

    def _on_output(self) -> None:
        with contextlib.suppress(BlockingIOError):
            received = os.read(self._output, ROOM)
            if not received:
                self._listener.remove(self._output)
            self._tail = (self._tail + received)[-_TAIL:]

    def _end(self) -> None:
        """It closed its end: it is exiting, or was killed."""
        self._on_output()
        status = self.abandon()
        self.gone.set_result(None)
        self._owner.zygote_gone(self, self._why(status))

    def abandon(self) -> int:
        """Kill it, wait for it, close what is ours; its exit status."""
        self.is_open = False
        self._listener.remove(self._control.fileno())
        self._listener.remove(self._output)
        self._control.close()
        os.close(self._output)
        for _, descriptors in self._outbox:
            _close(descriptors)
        self._outbox.clear()
        self.kill()
        # It has one thread and is killed, or has exited so far that its end of the socket is closed: this takes moments.
        return self._process.wait()

    def _why(self, status: int) -> str:
        said = self._tail.decode(errors="replace").strip()
        return f"The zygote of the workers {manner(status)}." + (f" It said last:\n{said}" if said else "")


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
