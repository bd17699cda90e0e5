"""What a worker's death means for the task that it was running."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from asyncflow.events import Failure, FailureKind
from asyncflow.worker.serve import LOST_CHANNEL

KILLED = -9
COUNTERS = ("/sys/fs/cgroup/memory.events", "/proc/vmstat")
"""Where the kernel counts the processes that it killed for want of memory: in our container, or on this machine."""


class MemoryKills:
    """Tells whether the kernel has killed anything for want of memory since it was last asked."""

    def __init__(self, counters: tuple[str, ...] = COUNTERS) -> None:
        self._counters = tuple(Path(counter) for counter in counters)
        self._seen = self._count()

    def any_since(self) -> bool:
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        for counter in self._counters:
            with contextlib.suppress(OSError, ValueError):
                for line in counter.read_text().splitlines():
                    name, _, number = line.partition(" ")
                    if name == "oom_kill":
                        return int(number)
        return 0


def manner(status: int) -> str:
    """How a process with this exit status, or minus a signal, ended: ``was killed by SIGSEGV``."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def failure_of_death(status: int, kills: MemoryKills) -> Failure:
    """Of a task whose worker ended with this status, or minus a signal; nobody here had asked for it."""
    if status == KILLED and kills.any_since():
        return Failure(
            FailureKind.MEMORY,
            "The worker was killed by SIGKILL: the system was out of memory. "
            "Run fewer tasks at a time with --max-workers, or let the step need less.",
        )
    message = f"The worker {manner(status)}"
    if status == KILLED:
        message += ", from outside of asyncflow."
    elif status == LOST_CHANNEL:
        message = "The worker lost its connection to the engine: the step closed descriptors that it hadn't opened."
    elif status >= 0:
        message += " in the middle of the step (os._exit?)."
    else:
        message += "."
    return Failure(FailureKind.CRASH, message)
