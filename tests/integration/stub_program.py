"""What workers run in tests of the local executor: no flow and no store, only what a step could do to its process.

A step's name is the method that is called, the first index of its task's path is the argument.
"""

import ctypes
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from asyncflow.events import BlobRef, TaskFailed, TaskSucceeded
from asyncflow.protocols import SmallBlob
from asyncflow.worker import serve
from asyncflow.worker.failures import failure_of

NOTHING = BlobRef(b"\0" * 32, 0)
now = time.time
"""Poisoned steps take the other name away."""


class Outcome(NamedTuple):
    ending: TaskSucceeded | TaskFailed
    blobs: list


def spoil(how):
    """Of a process that was just forked."""
    if how == "Stillborn":
        random.seed = die_at_once
    else:
        serve.Began = die_at_once


def die_at_once(*_):
    print("not today", file=sys.stderr, flush=True)
    os._exit(9)


def leave(file):
    """Our pid in ``file``, which is there at once with all that it holds."""
    partial = file.with_name(f"{file.name} of {os.getpid()}")
    partial.write_text(str(os.getpid()))
    partial.rename(file)


def start_native_thread(name=None):
    """A thread that Python knows nothing of."""
    libc = ctypes.CDLL(None)
    thread = ctypes.c_ulong()
    libc.pthread_create(ctypes.byref(thread), None, libc.pause, None)
    if name:
        libc.pthread_setname_np(thread, name)


class StubProgram:
    """Steps leave files beside the flow; its ``qualname`` says what importing it does."""

    def __init__(self, source):
        self.place = Path(source.location).parent
        leave(self.place / "imported")
        match source.qualname:
            case "Broken":
                raise ValueError("this flow doesn't import")
            case "Threads":
                threading.Thread(target=threading.Event().wait, name="background", daemon=True).start()
            case "Runtime":
                start_native_thread(b"polars-0")
            case "Blas":
                start_native_thread()
                import numpy.random  # noqa: F401
            case "Hangs":
                threading.Event().wait()
            case "Nobody":
                if not os.getuid():
                    os.setuid(65534)
                resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
            case "Dies":
                os._exit(5)
            case "DiesOnce" if not (self.place / "died").exists():
                (self.place / "died").touch()
                os._exit(5)

    def bind(self, context):
        if context.flow_name == "Unbound":
            raise OSError("the store is gone")
        if context.flow_name in {"Stillborn", "Poisoned"}:
            os.register_at_fork(after_in_child=lambda: spoil(context.flow_name))

        return StubTasks(self.place)


class StubTasks:
    def __init__(self, place):
        self.place = place

    def foresee(self, spec):
        raise OSError("this is only a chance to be quick")

    def run(self, spec, worker):
        began = now()
        steps = Steps(self.place, spec)
        try:
            value = getattr(steps, spec.attempt.task.step)(*spec.attempt.task.path[:1])
        except BaseException as error:
            return Outcome(TaskFailed(spec.attempt, failure_of(error), now(), began, worker), [])
        blobs = [] if value is None else [SmallBlob(b"value", str(value).encode())]
        return Outcome(TaskSucceeded(spec.attempt, NOTHING, None, began, now(), worker), blobs)


class Steps:
    kept = b""

    def __init__(self, place, spec):
        self.place = place
        self.spec = spec

    def here(self, name="here"):
        """Tell the test that the step is running, and under which pid."""
        leave(self.place / f"{name}.{self.spec.attempt.serial}")

    def until(self, name):
        """Wait until the test says so."""
        while not (self.place / name).exists():
            time.sleep(0.001)

    # -- what goes well

    def quick(self, index=0):
        return index

    def log(self, index=0):
        print("task", index)
        return index

    def once(self, index):
        """Leaves a trace that shows if it ran twice."""
        with open(self.place / "traces", "ab", buffering=0) as file:
            file.write(b"%d\n" % index)
        return index

    def nap(self, milliseconds):
        time.sleep(milliseconds / 1000)

    def wait(self, index=0):
        self.here()
        self.until("go")
        return index

    def pid(self, index=0):
        return os.getpid()

    def inputs(self, index=0):
        return len(self.spec.inputs), sum(each.manifest.size for each in self.spec.inputs)

    def fails(self, index=0):
        raise KeyError("no such carrier")

    # -- output

    def speaks(self, index=0):
        print("out of Python", flush=False)
        print("err of Python", file=sys.stderr)
        libc = ctypes.CDLL(None)
        libc.puts(b"out of C")
        subprocess.run(["sh", "-c", "echo out of a child; echo err of a child >&2"], check=True)
        os.write(2, b"no line end")  # of stderr: what C keeps for stdout comes when the task ends, behind anything

    def binary(self, index=0):
        os.write(1, bytes(range(256)) + b"\n")

    def floods(self, megabytes):
        line = b"x" * 1023 + b"\n"
        for _ in range(megabytes):
            for _ in range(16):
                os.write(1, line * 64)

    def long_line(self, megabytes):
        sys.stdout.write("y" * (megabytes << 20))

    def talks(self, index=0):
        print("first")
        self.until("go")
        print("second")

    def decorates(self, index=0):
        print("\n   indented\n\n\x1b[31mred\x1b[0m\r\n\nlast")

    def prints_and_dies(self, index=0):
        os.write(1, b"one\nand half")
        os._exit(1)

    def unblocks(self, index=0):
        """Fills the pipe and leaves it non-blocking, as some programs do with a pipe that they share with us."""
        self.here()
        os.set_blocking(1, False)
        try:
            while True:
                os.write(1, b"x" * 1023 + b"\n")
        except BlockingIOError:
            pass

    # -- what goes wrong

    def exits(self, status):
        self.here()
        os._exit(status)

    def segfaults(self, index=0):
        print("before the fall")
        ctypes.string_at(0)

    def killed(self, number):
        os.kill(os.getpid(), number)
        self.until("never")

    def raises_exit(self, index=0):
        raise SystemExit(3)

    def closes_everything(self, index=0):
        os.closerange(3, 256)

    # -- other processes and threads

    def forks(self, index=0):
        pid = os.fork()
        if not pid:
            print("from the child")
            return 1
        os.waitpid(pid, 0)
        print("from the parent")
        return 0

    def leaves_child(self, index=0):
        child = subprocess.Popen(["sleep", "1000"])
        child.returncode = 0
        (self.place / "child").write_text(str(child.pid))
        return os.getpid()

    def leaves_daemon(self, index=0):
        """A grandchild in a session of its own, whose parent is gone."""
        subprocess.run(["sh", "-c", f"setsid sleep 1000 & echo $! > {self.place}/child"], check=True)
        return os.getpid()

    def leaves_thread(self, index=0):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        return os.getpid()

    def waits_with_child(self, index=0):
        child = subprocess.Popen(["sh", "-c", "sleep 1000 & setsid sleep 1000 & wait"])
        self.here()
        child.wait()

    # -- being stopped

    def cleans_up(self, index=0):
        try:
            self.here()
            self.until("never")
        finally:
            print("cleaning up")

    def stubborn(self, index=0):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.here()
        self.until("never")

    def finishes_first(self, index=0):
        self.here()
        try:
            self.until("go")
        except SystemExit:
            self.until("go")

    # -- what it finds and leaves

    def surroundings(self, litter):
        """Looks around; with ``litter`` it then makes a mess of what it has seen."""
        umask = os.umask(0)
        os.umask(umask)
        print("looking around")
        seen = (
            os.getcwd(),
            sorted(os.environ.items()),
            umask,
            signal.getsignal(signal.SIGUSR1),
            [signal.getitimer(timer) for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
            sys.getrecursionlimit(),
            [(stream.encoding, stream.errors, stream.line_buffering) for stream in (sys.stdout, sys.stderr)],
            signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            sys.argv,
            sys.path,
            Steps.kept,
        )
        if litter:
            self.litter()
        return os.getpid(), repr(seen)

    def litter(self):
        os.chdir("/")
        os.environ["LITTER"] = "1"
        del os.environ["PATH"]
        os.umask(0o777)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 1000)
        sys.setrecursionlimit(5000)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        sys.argv.append("litter")
        sys.path = ["/litter"]
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
        os.set_blocking(1, False)
        os.close(1)
        os.close(2)

    def ruins_streams(self, how):
        """Every later task of a worker could be without them."""
        print("said")
        print("so", file=sys.stderr)
        match how:
            case 0:
                sys.stdout.close()
                sys.stderr.close()
            case 1:
                sys.stdout.detach()
                sys.stderr.detach()
            case 2:
                sys.stdout.buffer.close()
                sys.stderr.buffer.close()
        return os.getpid()

    def changes_standing(self, index=0):
        os.nice(1)
        return os.getpid()

    def leaves_raw_thread(self, index=0):
        runs = threading.Event()

        def wait_for_ever() -> None:
            runs.set()
            threading.Event().wait()

        threading._start_new_thread(wait_for_ever, ())
        runs.wait()  # Python counts a thread once it runs
        return os.getpid()

    def leaves_native_thread(self, name):
        """With a name it is a runtime's, without one a pool's of BLAS."""
        start_native_thread(b"polars-0" if name else None)
        return os.getpid()

    def environment(self, index=0):
        return dict(os.environ)

    def poisons(self, poison):
        """Its worker will die of the next spec before it begins."""
        if poison:
            serve.Began = die_at_once
        return os.getpid()

    def replaces(self, index=0):
        """What a worker itself needs of ``os`` and ``time`` is no longer there for it."""
        os.write = os.getpid = os.set_blocking = os.fdopen = time.time = None
        return 0

    def draws(self, index=0):
        return random.random()

    def draws_numpy(self, index=0):
        import numpy as np

        drawn = np.random.random()  # noqa: NPY002
        np.random.seed(1)  # noqa: NPY002
        return drawn

    def grows(self, megabytes):
        Steps.kept = b"x" * (megabytes << 20)
        return os.getpid()
