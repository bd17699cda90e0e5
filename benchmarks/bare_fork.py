"""The flow's own program, whose zygote measures what a fork of itself costs. Imports nothing that a zygote lacks."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from asyncflow.worker.program import FlowProgram

if TYPE_CHECKING:
    from asyncflow.events import FlowSource

FORKS = 300


class MeasuredProgram(FlowProgram):
    """Writes the milliseconds to the file that the variable ``BARE_FORK`` names."""

    def __init__(self, source: FlowSource) -> None:
        super().__init__(source)
        Path(os.environ["BARE_FORK"]).write_text(str(fork_and_wait()))


def fork_and_wait() -> float:
    """Milliseconds to fork, have the child exit at once, and wait for it."""
    began = time.perf_counter()
    for _ in range(FORKS):
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
    return (time.perf_counter() - began) / FORKS * 1e3
