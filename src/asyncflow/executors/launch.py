"""Starting a zygote's process, also before anybody knows which flow it is for.

A zygote's own start takes as long as the engine's. Who knows early that there will be one, as the command line
does, calls ``ahead()`` first and imports the engine while the process comes up.

Nothing of asyncflow's but what starts the process is imported here.
"""

from __future__ import annotations

import os
import socket
import subprocess
from typing import NamedTuple

from asyncflow.worker.interpreter import interpreter


class Launched(NamedTuple):
    """A zygote that waits for its first order."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    output: int
    """Where what it prints itself can be read."""
    mark: str
    """Stands in the environment of all that it starts, so that they are found if it is killed."""

    def dismiss(self) -> None:
        """End it before it had an order."""
        self.control.close()
        os.close(self.output)
        self.process.kill()
        self.process.wait()


_ahead: list[Launched] = []


def ahead() -> None:
    """Start a process now; the next ``launch`` in this process is given it. Raises ``OSError``."""
    _ahead.append(_start())


def launch() -> Launched:
    """A process, new or started ahead. Raises ``OSError``."""
    return _ahead.pop() if _ahead else _start()


def dismiss() -> None:
    """End what was started ahead and not asked for."""
    while _ahead:
        _ahead.pop().dismiss()


def _start() -> Launched:
    ours, theirs = socket.socketpair()
    output, its_output = os.pipe()
    mark = f"ASYNCFLOW_FAMILY={os.urandom(16).hex()}"
    name, _, value = mark.partition("=")
    try:
        process = subprocess.Popen(
            interpreter(f"asyncflow.worker.zygote.main({theirs.fileno()}, {os.getpid()})"),
            stdin=subprocess.DEVNULL,
            stdout=its_output,
            stderr=its_output,
            env={**os.environ, name: value},
            pass_fds=(theirs.fileno(),),
            # Signals from the terminal are for the engine, which tells its workers what to do.
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        os.close(output)
        raise
    finally:
        theirs.close()
        os.close(its_output)
    return Launched(process, ours, output, mark)
