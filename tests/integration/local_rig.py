"""A run on the local executor without an engine: what was emitted, what was printed, and waiting for more of it."""

import asyncio
import contextlib
import os
from pathlib import Path

import psutil

from asyncflow.events import (
    Attempt,
    BlobRef,
    FlowSource,
    RunContext,
    SourceKind,
    TaskCancelled,
    TaskFailed,
    TaskId,
    TaskInput,
    TaskSpec,
    TaskStarted,
    TaskSucceeded,
)
from asyncflow.executors.local import LocalExecutor

PATIENCE = 30.0
"""Seconds after which a test has failed, on a machine that others use too."""
ENDINGS = (TaskSucceeded, TaskFailed, TaskCancelled)
NOTHING = BlobRef(b"\0" * 32, 0)


def executor(max_workers=2, isolation="step", **options):
    options.setdefault("program", "stub_program:StubProgram")
    return LocalExecutor(max_workers, isolation, **options)


def spec(step, serial=1, *, index=None, number=0, inputs=1):
    path = () if index is None else (index,)
    one = TaskInput(TaskId("start"), NOTHING)
    many = (
        (one,) if inputs == 1 else tuple(TaskInput(TaskId("each", (i,)), BlobRef(b"\0" * 32, i)) for i in range(inputs))
    )
    return TaskSpec(Attempt(TaskId(step, path), number, serial), many)


def context(place, *, run_id="1", flow="Works", name="Stub"):
    source = FlowSource(SourceKind.FILE, str(place / "flow.py"), flow, (str(Path(__file__).parent),))
    return RunContext(run_id, name, source, str(place), NOTHING)


class Rig:
    """One attached session. Events are in ``events``, in their order; ``lines`` maps serial and stream to what came."""

    def __init__(self):
        self.session = None
        self.events = []
        self.endings = {}
        self.lines = {}
        self.order = []
        self.blobs = {}
        self.takes_logs = True
        self._change = asyncio.Event()

    def emit(self, event, blobs):
        self.events.append(event)
        if isinstance(event, ENDINGS):
            self.endings[event.attempt.serial] = event
            self.order.append(("ended", event.attempt.serial))
            self.blobs[event.attempt.serial] = [blob.content for blob in blobs]
        self._change.set()

    def emit_log(self, log):
        self.lines.setdefault((log.attempt.serial, log.stream), []).append(log.line)
        self.order.append(("line", log.attempt.serial))
        self._change.set()
        return self.takes_logs

    @property
    def started(self):
        return [event.attempt.serial for event in self.events if isinstance(event, TaskStarted)]

    def value(self, serial=1):
        """What the stub's step returned."""
        (content,) = self.blobs[serial]
        return eval(content)

    def out(self, serial=1):
        return self.lines.get((serial, "stdout"), [])

    def err(self, serial=1):
        return self.lines.get((serial, "stderr"), [])

    async def until(self, condition):
        """Wait for what the executor emits to make ``condition()`` true."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._change.clear()
                await self._change.wait()

    async def ended(self, *serials):
        """The endings of these tasks, once they are there."""
        await self.until(
            lambda: len(self.endings) >= len(serials) and all(serial in self.endings for serial in serials)
        )
        check_endings(self)
        return [self.endings[serial] for serial in serials]

    async def run(self, *specs):
        self.session.submit(specs)
        return await self.ended(*(each.attempt.serial for each in specs))


def check_endings(rig):
    """Exactly one ending for each attempt, at most one beginning, and nothing printed after the end."""
    ended, started = set(), set()
    for event in rig.events:
        if isinstance(event, ENDINGS):
            assert event.attempt not in ended
            ended.add(event.attempt)
        else:
            assert isinstance(event, TaskStarted)
            assert event.attempt not in started
            started.add(event.attempt)
    over = set()
    for what, serial in rig.order:
        if what == "ended":
            over.add(serial)
        else:
            assert serial not in over


@contextlib.asynccontextmanager
async def attached(place, using=None, **of_context):
    """A rig on ``using``, or on an executor of its own."""
    rig = Rig()
    using = using or executor()
    async with using.attach(context(place, **of_context), rig.emit, rig.emit_log) as session:
        rig.session = session
        yield rig


async def eventually(condition):
    """Wait for something outside of this process, which tells nobody."""
    async with asyncio.timeout(PATIENCE):
        while not (found := condition()):
            await asyncio.sleep(0.002)  # the time between two looks, not a time to wait
        return found


async def running_pid(place, serial=1):
    """The pid of the process in which the stub's step says that it is running."""
    file = place / f"here.{serial}"
    await eventually(file.exists)
    return int(file.read_text())


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def descendants():
    return [each for each in psutil.Process().children(recursive=True) if each.is_running() and is_alive(each.pid)]


def descriptors():
    return len(os.listdir("/proc/self/fd"))
