"""Between two tasks of one worker: what a task changed around itself is put back, what it left is noticed.

Module globals stay as a task left them. What else is restored: working directory, environment, umask,
signal handlers and timers, ``sys.argv``, ``sys.path``, the recursion limit, the standard streams. ``random`` and numpy's global
generator start anew, from the operating system's entropy: forked workers would otherwise draw the same
numbers, and a task that seeds would decide what the next one draws.
"""

from __future__ import annotations

import _thread
import os
import resource
import signal
import sys
from typing import Any, TextIO

from asyncflow.worker import kernel

SIGNALS = tuple(
    getattr(signal, name)
    for name in (
        "SIGTERM",
        "SIGINT",
        "SIGHUP",
        "SIGQUIT",
        "SIGUSR1",
        "SIGUSR2",
        "SIGALRM",
        "SIGVTALRM",
        "SIGPROF",
        "SIGCHLD",
        "SIGPIPE",
    )
)
"""Those for which programs install handlers; asking for all 64 before each task costs more than the rest together."""


TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Surroundings:
    """How a worker found its process. Take it once, ``restore`` it after each task."""

    def __init__(self, streams: tuple[int, int]) -> None:
        """``streams`` are descriptors of the pipes that stdout and stderr are to lead to."""
        self._streams = streams
        self._directory = _open_directory()
        self._variables: dict[bytes, bytes] = vars(os.environ)["_data"]
        """What ``os.environ`` keeps inside: comparing it costs 1 µs, comparing the decoded mapping 30."""
        self._environment = dict(self._variables)
        self._umask = kernel.umask()
        self._handlers = [(number, signal.getsignal(number)) for number in SIGNALS]
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._argv = list(sys.argv)
        self._search = sys.path
        self._path = list(sys.path)
        self._recursion = sys.getrecursionlimit()
        self._objects = (sys.stdin, sys.stdout, sys.stderr)
        self._texts = [(stream.encoding, stream.errors) for stream in (sys.stdout, sys.stderr)]

    def restore(self) -> None:
        if self._directory is not None:
            os.fchdir(self._directory)
        if self._variables != self._environment:
            self._restore_environment()
        os.umask(self._umask)
        self._restore_signals()
        sys.argv = list(self._argv)
        sys.path = self._search
        if self._search != self._path:
            self._search[:] = self._path
        sys.setrecursionlimit(self._recursion)
        stdout, stderr = self._streams
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        if _is_closed(self._objects[1]) or _is_closed(self._objects[2]):
            self._reopen_streams()
        sys.stdin, sys.stdout, sys.stderr = self._objects

    def _reopen_streams(self) -> None:
        outputs: list[Any] = list(self._objects[1:])
        for descriptor, (encoding, errors) in enumerate(self._texts, 1):
            if _is_closed(outputs[descriptor - 1]):
                # Line by line, as ``serve.prepare_streams`` has them.
                stream = open(descriptor, "w", 1, encoding, errors, closefd=False)  # noqa: SIM115 - stays open
                outputs[descriptor - 1] = stream
        self._objects = (self._objects[0], outputs[0], outputs[1])
        sys.__stdout__, sys.__stderr__ = outputs  # type: ignore[misc]

    def _restore_environment(self) -> None:
        kept = {os.fsdecode(name): os.fsdecode(value) for name, value in self._environment.items()}
        for name in [name for name in os.environ if name not in kept]:
            del os.environ[name]
        os.environ.update(kept)

    def _restore_signals(self) -> None:
        for number, handler in self._handlers:
            if signal.getsignal(number) != handler and handler is not None:
                signal.signal(number, handler)
        for timer in TIMERS:
            signal.setitimer(timer, 0)
        faulthandler: Any = sys.modules.get("faulthandler")
        if faulthandler is not None:
            faulthandler.cancel_dump_traceback_later()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def _is_closed(stream: TextIO | None) -> bool:
    try:
        return stream is None or stream.closed
    except ValueError:  # its buffer was detached
        return True


def _open_directory() -> int | None:
    try:
        return os.open(".", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:  # it was deleted, or can't be read: a worker starts all the same
        return None


def reseed() -> None:
    """New random numbers for the task to come, in those generators that are loaded."""
    generator = sys.modules.get("random")
    if generator is not None:
        generator.seed()
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None:
        # An array of 128 bits; without an argument numpy takes five times as long to say the same.
        numpy.seed(list(memoryview(os.urandom(16)).cast("I")))


def flush() -> None:
    """Write what the task's prints have left in buffers, Python's and C's."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()  # type: ignore[union-attr]
        except Exception:  # noqa: S112 - closed, or replaced by something that can't be flushed: nothing to write then
            continue
    kernel.flush_c()


class Hygiene:
    """Of a worker that serves many tasks. Made before the first, asked to ``clean`` after each."""

    def __init__(self, streams: tuple[int, int], most_growth: int) -> None:
        self._surroundings = Surroundings(streams)
        self._threads = Threads()
        self._standing = _standing()
        self._memory = Memory()
        self._most_growth = most_growth

    def clean(self) -> str:
        """Put everything back for the next task; where that can't be done, why."""
        if self._memory.growth() > self._most_growth:
            return "its memory has grown"
        if _has_children():
            return "a task left processes behind"
        if self._threads.left():
            return "a task left threads behind"
        if _standing() != self._standing:
            return "a task changed its user, priority or limits"
        self._surroundings.restore()
        reseed()
        return ""


def _has_children() -> bool:
    """Those that have ended, and that nobody waited for, are waited for here."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _standing() -> tuple[object, ...]:
    """What a process may be and use, which often can't be put back."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_AS)
    return (*limits, os.getpriority(os.PRIO_PROCESS, 0), os.getuid(), os.geteuid(), os.getgid(), os.getegid())


class Threads:
    """Those that were started since: Python's, and native ones with names of their own.

    Pools of BLAS and OpenMP come with a task's first product of matrices, stay, and do no harm.
    """

    def __init__(self) -> None:
        self._started = _thread._count()  # pyright: ignore[reportPrivateUsage] - `threading` counts only its own
        self._named = len(_named_threads())
        try:
            self._directory = os.open("/proc/self/task", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._directory = -1
        self._links = self._count()

    def left(self) -> bool:
        if _thread._count() > self._started:  # pyright: ignore[reportPrivateUsage] - likewise
            return True
        links = self._count()
        if links == self._links:
            return False
        # Asking for their names costs a hundred times as much.
        self._links = links
        return len(_named_threads()) > self._named

    def _count(self) -> int:
        return 0 if self._directory < 0 else os.fstat(self._directory).st_nlink


def _named_threads() -> list[str]:
    from asyncflow.worker.kernel import native_threads

    return native_threads()


class Memory:
    """How much memory this process holds, asked after every task (1 µs on Linux)."""

    def __init__(self) -> None:
        try:
            self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
            self._page = os.sysconf("SC_PAGE_SIZE")
        except OSError:
            self._statm = -1
        self._begin = self._held()

    def growth(self) -> int:
        """Bytes over what it was when this object was made."""
        return self._held() - self._begin

    def _held(self) -> int:
        if self._statm < 0:
            import resource

            # The most it ever held, in bytes on macOS: the next best thing.
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(os.pread(self._statm, 64, 0).split()[1]) * self._page
