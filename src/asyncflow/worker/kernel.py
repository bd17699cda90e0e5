"""What we ask of the operating system that Python has no name for, with what stands in for it elsewhere.

Only Linux has all of it. Where something is missing the functions say so or do nothing: then a process that
detached itself on purpose can outlive its task, and nothing else changes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None)
_fflush = _libc.fflush
if _LINUX:
    _libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


def die_with_parent(how: signal.Signals | None = signal.SIGKILL) -> None:
    """Have the kernel kill this process when the *thread* that started it ends; None takes that back."""
    if _LINUX:
        _libc.prctl(_PR_SET_PDEATHSIG, 0 if how is None else int(how), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, however it detached itself."""
    if _LINUX:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def flush_c() -> None:
    """Write what C code has buffered in its stdout and stderr."""
    _fflush(None)


def umask() -> int:
    """This process's umask, which can be asked for only by setting another: for one thread at a time."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def watch(pid: int) -> int | None:
    """A descriptor that becomes readable when ``pid`` ends; None where there is no such thing."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return None


def children() -> list[int]:
    """The processes whose parent is this process's main thread, ended ones that nobody waited for included."""
    pid = os.getpid()
    try:
        with open(f"/proc/self/task/{pid}/children", "rb") as file:  # noqa: PTH123 - pathlib isn't imported here
            return [int(child) for child in file.read().split()]
    except OSError:
        return [child for child, parent, _ in processes() if parent == pid]


def processes() -> list[tuple[int, int, int]]:
    """(pid, parent's pid, session) of everything that runs; empty where there is no ``/proc``."""
    found: list[tuple[int, int, int]] = []
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - likewise
    except OSError:
        return found
    for name in names:
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - likewise
                line = file.read()
            # The command's name stands in parentheses and may hold anything; what follows it doesn't.
            state, parent, _, session, *_ = line[line.rindex(b")") + 2 :].split()
            if state != b"Z":
                found.append((int(name), int(parent), int(session)))
    return found


def kill_group(pid: int, number: int) -> None:
    """Signal the process group that ``pid`` leads, or ``pid`` alone while it leads none; nothing if it is gone."""
    try:
        os.killpg(pid, number)
    except OSError:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def kill_sessions(sessions: frozenset[int], mark: str) -> bool:
    """Kill all members of these sessions, whose leaders may be gone, and all that carry ``mark`` in the environment
    that they were started with, whatever session they made for themselves; whether there were any.

    Where that can't be asked, only the process groups of the leaders are killed.
    """
    running = processes()
    if not running:
        for leader in sessions:
            kill_group(leader, signal.SIGKILL)
    members = [pid for pid, _, session in running if session in sessions or _carries(pid, mark)]
    for pid in members:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return bool(members)


def _carries(pid: int, mark: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - likewise
            return mark.encode() in file.read()
    except OSError:  # it ended just now, or belongs to somebody else
        return False


def kill_descendants() -> None:
    """Kill and wait until this process has no children left: orphans come to it as their parents die.

    For a process that adopts orphans; elsewhere it ends its own children and their process groups.
    """
    while True:
        for pid in children():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def native_threads() -> list[str]:
    """The names of this process's threads that Python didn't start, without those that survive a fork.

    Threads of BLAS and OpenMP carry the process's own name, and are stopped and started again around a fork;
    so are jemalloc's. A runtime that names its threads (polars, tokio, grpc, CUDA) makes no such promise.
    """
    names: list[str] = []
    with contextlib.suppress(OSError):
        mine = _read("/proc/self/comm")
        for task in os.listdir("/proc/self/task"):  # noqa: PTH208 - likewise
            name = _read(f"/proc/self/task/{task}/comm")
            if name != mine and not name.startswith("jemalloc"):
                names.append(name)
    return names


def uses_cuda() -> bool:
    """Whether this process holds a CUDA context, none of which survives a fork."""
    with contextlib.suppress(OSError):
        for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208 - likewise
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/self/fd/{descriptor}").startswith("/dev/nvidia"):  # noqa: PTH115 - likewise
                    return True
    return False


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - likewise
        return file.read().strip()
