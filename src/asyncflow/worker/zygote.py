"""The zygote: imports the flow once, forks workers from itself, and outlives the engine by moments.

It is a fresh interpreter, started by the engine with one end of a socket pair. It has one thread, which waits
for orders, for the end of a worker and for the end of the engine. When the engine is gone, however it went,
all workers and all that they started are killed, and then it exits.

Where forking isn't safe it starts workers as fresh interpreters, which import the flow themselves.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections import deque
from typing import TYPE_CHECKING, NoReturn

from asyncflow.events import Failure
from asyncflow.worker import kernel
from asyncflow.worker.program import import_failure, load_program
from asyncflow.worker.serve import Channels, bound, live, prepare_streams
from asyncflow.worker.wire import (
    Begin,
    Brief,
    Broken,
    Exited,
    Forget,
    Made,
    Make,
    Ready,
    Signal,
    Unmade,
    frame,
    orders,
    receive,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from asyncflow.events import RunContext
    from asyncflow.worker.program import Program, Tasks
    from asyncflow.worker.wire import Notice, Order

ROOM = 64 * 1024


def main(control: int, engine: int) -> NoReturn:
    """``control`` is our end of the socket pair, ``engine`` the pid of who started us."""
    # Until the flow is imported nothing looks at the engine, and an import may take forever.
    kernel.die_with_parent()
    os.set_inheritable(control, False)
    zygote = Zygote(socket.socket(fileno=control), engine)
    try:
        zygote.serve()
    except ConnectionError:
        pass  # the engine went away in the middle of a message
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    zygote.end()


class Zygote:
    def __init__(self, control: socket.socket, engine: int) -> None:
        self._control = control
        self._engine = engine
        self._orders = orders()
        self._descriptors: deque[int] = deque()
        """Received, and not yet a worker's."""
        self._program: Program | None = None
        self._begin: Begin | None = None
        self._start_method = ""
        """Empty until the flow is imported."""
        self._contexts: dict[int, RunContext] = {}
        self._runs: dict[int, Tasks | Failure] = {}
        self._pids: dict[int, int] = {}
        self._workers: dict[int, int] = {}
        """Number of a worker to its pid, and back."""
        self._family: frozenset[int] = frozenset()
        """Processes that the flow's import started."""
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        self._watched = kernel.watch(engine)
        self._on_sigchld: object = signal.SIG_DFL

    # -- the loop ----------------------------------------------------------------------------------

    def serve(self) -> None:
        """Until the engine is gone."""
        kernel.adopt_orphans()
        poll = select.poll()
        for descriptor in (self._control.fileno(), self._wake, self._watched):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        while os.getppid() == self._engine:
            # Where nothing tells of the engine's end, looking once a second does.
            ready = {descriptor for descriptor, _ in poll.poll(1000 if self._watched is None else None)}
            if self._watched in ready:
                return
            if self._wake in ready:
                os.read(self._wake, ROOM)
                self._reap()
            if self._control.fileno() in ready and not self._listen():
                return

    def _listen(self) -> bool:
        received, descriptors = receive(self._control, ROOM)
        self._descriptors.extend(descriptors)
        for order in self._orders.feed(received):
            self._obey(order)
        return bool(received)

    def _obey(self, order: Order) -> None:
        match order:
            case Begin():
                self._import(order)
            case Brief(run=run, context=context):
                self._contexts[run] = context
            case Forget(run=run):
                self._contexts.pop(run, None)
                self._runs.pop(run, None)
            case Make():
                channels = Channels(*(self._descriptors.popleft() for _ in Channels._fields))
                if self._start_method:
                    self._make(order, channels)
                for descriptor in channels:
                    os.close(descriptor)
            case Signal(worker=worker, number=number):
                if worker in self._pids:
                    kernel.kill_group(self._pids[worker], number)

    def _tell(self, notice: Notice) -> None:
        self._control.sendall(frame(notice))

    # -- the flow ----------------------------------------------------------------------------------

    def _import(self, order: Begin) -> None:
        self._begin = order
        method, reason = order.start_method, ""
        prepare_streams()
        if method != "spawn":
            gc.disable()
            try:
                self._program = load_program(order.program, order.source)
            except BaseException as error:
                self._tell(Broken(import_failure(error)))
                return
            if not method:
                reason = _why_not_fork()
                method = "spawn" if reason else "fork"
        if method == "spawn":
            self._program = None
        _flush()
        self._family = frozenset(kernel.children())
        self._on_sigchld = signal.signal(signal.SIGCHLD, _do_nothing)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        kernel.die_with_parent(None)
        self._start_method = method
        self._tell(Ready(method, reason))

    # -- workers -----------------------------------------------------------------------------------

    def _make(self, order: Make, channels: Channels) -> None:
        try:
            pid = self._spawn(order, channels) if self._program is None else self._fork(self._program, order, channels)
        except OSError as error:
            self._tell(Unmade(order.worker, str(error)))
            return
        self._pids[order.worker] = pid
        self._workers[pid] = order.worker
        self._tell(Made(order.worker, pid))

    def _fork(self, program: Program, order: Make, channels: Channels) -> int:
        zygote = os.getpid()
        tasks = self._runs.get(order.run)
        if tasks is None:
            tasks = self._runs[order.run] = bound(program, self._contexts[order.run])
        if order.foreseen is not None and not isinstance(tasks, Failure):
            # What goes wrong here goes wrong again in the worker, which tells.
            with contextlib.suppress(Exception):
                tasks.foresee(order.foreseen)
        _flush()
        # What is there before a fork isn't looked at by the worker's collections: so its pages stay shared.
        gc.freeze()
        with _no_fork_warning():
            pid = os.fork()
        if not pid:
            self._become(tasks, order, channels, zygote)
        return pid

    def _become(self, tasks: Tasks | Failure, order: Make, channels: Channels, zygote: int) -> NoReturn:
        """In the child: let go of all that is the zygote's, and live as a worker."""
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, self._on_sigchld)  # type: ignore[arg-type]
            self._control.close()
            for descriptor in (self._wake, self._waker, self._watched, *self._descriptors):
                if descriptor is not None:
                    os.close(descriptor)
            gc.enable()
        except BaseException:
            os._exit(1)
        live(tasks, order, channels, zygote)

    def _spawn(self, order: Make, channels: Channels) -> int:
        from asyncflow.worker.spawned import spawn

        assert self._begin is not None
        return spawn(self._begin, self._contexts[order.run], order, channels)

    def _reap(self) -> None:
        """Look after all children that have ended, and tell of those that were workers."""
        gone: list[Exited] = []
        while (ended := _ended_child()) is not None:
            pid, status = ended
            worker = self._workers.pop(pid, None)
            if worker is not None:
                # Before its pid is free for others: as long as it isn't waited for, the group is the worker's.
                kernel.kill_group(pid, signal.SIGKILL)
                del self._pids[worker]
                gone.append(Exited(worker, pid, status))
            _wait(pid)
        # Each worker adopts the orphans below it. So what has come to us now was a dead worker's.
        for pid in kernel.children():
            if pid not in self._workers and pid not in self._family:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        for notice in gone:
            self._tell(notice)

    def end(self) -> NoReturn:
        """Kill all workers and what they started, wait for their end, and exit."""
        try:
            for pid in self._workers:
                kernel.kill_group(pid, signal.SIGKILL)
            kernel.kill_descendants()
        finally:
            os._exit(0)


# -- small ones ------------------------------------------------------------------------------------


def _why_not_fork() -> str:
    """Why workers can't be forked from this process as the flow's import left it; empty when they can."""
    if sys.platform == "darwin":
        return "macOS doesn't bear forks of a process that has used its frameworks"
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate()[1:])
        return f"importing the flow started Python threads ({names})"
    if kernel.uses_cuda():
        return "importing the flow started CUDA"
    names = ", ".join(sorted(set(kernel.native_threads())))
    return f"importing the flow started threads ({names})" if names else ""


def _ended_child() -> tuple[int, int] | None:
    """Pid and status of a child that has ended, and is still to be waited for where that can be had."""
    try:
        if not hasattr(os, "waitid"):
            pid, status = os.waitpid(-1, os.WNOHANG)
            return (pid, os.waitstatus_to_exitcode(status)) if pid else None
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    if found is None:
        return None
    return found.si_pid, found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _wait(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _flush() -> None:
    """Leave nothing in buffers that each worker would print again."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    kernel.flush_c()


@contextlib.contextmanager
def _no_fork_warning() -> Generator[None]:
    """From 3.12 on Python warns of forks beside native threads: ``_why_not_fork`` has looked at them."""
    if sys.version_info < (3, 12):
        yield
        return
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _do_nothing(_number: int, _frame: object) -> None:
    """A signal with a handler wakes the poll through its descriptor."""
