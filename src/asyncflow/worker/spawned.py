"""Workers as fresh interpreters, where forking a process that has imported the flow isn't safe."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import msgspec

from asyncflow.worker import kernel
from asyncflow.worker.interpreter import interpreter
from asyncflow.worker.serve import Channels, bound, live, prepare_streams
from asyncflow.worker.wire import Begin, Brief, Broken, Make, frame

if TYPE_CHECKING:
    from asyncflow.events import RunContext


class Letter(msgspec.Struct, frozen=True, array_like=True):
    """What a forked worker knows by birth."""

    begin: Begin
    brief: Brief
    order: Make
    channels: tuple[int, int, int, int]
    parent: int


def spawn(begin: Begin, context: RunContext, order: Make, channels: Channels) -> int:
    """Start a worker; returns its pid. Raises ``OSError``."""
    import subprocess
    import tempfile

    with tempfile.TemporaryFile() as file:
        letter = Letter(begin, Brief(order.run, context), order, tuple(channels), os.getpid())  # type: ignore[arg-type]
        file.write(msgspec.msgpack.encode(letter))
        file.flush()
        command = interpreter(f"asyncflow.worker.spawned.main({file.fileno()})")
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=(file.fileno(), *channels), start_new_session=True
        )
    # The zygote waits for its children itself, by pid.
    child.returncode = 0
    return child.pid


def main(descriptor: int) -> NoReturn:
    """A spawned worker's whole life; the ``Letter`` is in the file ``descriptor``."""
    kernel.die_with_parent()
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        letter = msgspec.msgpack.decode(file.read(), type=Letter)
    channels = Channels(*letter.channels)
    for each in channels:
        os.set_inheritable(each, False)
    os.dup2(channels.stdout, 1)
    os.dup2(channels.stderr, 2)
    prepare_streams()
    from asyncflow.worker.program import import_failure, load_program

    try:
        program = load_program(letter.begin.program, letter.begin.source)
    except BaseException as error:
        os.write(channels.reports, frame(Broken(import_failure(error))))
        os._exit(1)
    live(bound(program, letter.brief.context), letter.order, channels, letter.parent)
