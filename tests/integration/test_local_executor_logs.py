"""What steps print on the local executor: whole, in order, before the ending, and with flat memory."""

import asyncio
import fcntl
import os
import sys
import termios

import psutil
import pytest
from local_rig import attached, check_endings, eventually, executor, running_pid, spec

from asyncflow.events import TaskSucceeded

pytestmark = pytest.mark.anyio

MIB = 1 << 20


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["step", "task", "spawn"])
def using(request):
    if request.param == "spawn":
        return executor(start_method="spawn")
    return executor(isolation=request.param)


async def test_python_c_and_children_are_heard(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        await rig.run(spec("speaks"))
        assert sorted(rig.out()) == [b"out of C", b"out of Python", b"out of a child"]
        assert sorted(rig.err()) == [b"err of Python", b"err of a child", b"no line end"]


async def test_each_line_belongs_to_the_task_that_printed_it(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        await rig.run(*(spec("log", serial, index=serial) for serial in range(1, 201)))
        for serial in range(1, 201):
            assert rig.out(serial) == [b"task %d" % serial]
            assert rig.err(serial) == []


async def test_lines_come_while_the_step_runs(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        rig.session.submit([spec("talks")])
        await rig.until(lambda: rig.out() == [b"first"])
        assert rig.endings == {}
        (tmp_path / "go").touch()
        await rig.ended(1)
        assert rig.out() == [b"first", b"second"]


async def test_bytes_are_kept_as_they_are(tmp_path):
    async with attached(tmp_path) as rig:
        await rig.run(spec("binary"))
        assert b"\n".join(rig.out()) == bytes(range(256))


async def test_leading_blanks_colours_and_empty_lines_are_kept(tmp_path):
    async with attached(tmp_path) as rig:
        await rig.run(spec("decorates"))
        assert rig.out() == [b"", b"   indented", b"", b"\x1b[31mred\x1b[0m\r", b"", b"last"]


async def test_a_long_line_becomes_several(tmp_path):
    async with attached(tmp_path) as rig:
        await rig.run(spec("long_line", index=3))
        assert [len(line) for line in rig.out()] == [MIB, MIB, MIB]
        assert b"".join(rig.out()) == b"y" * 3 * MIB


async def test_nothing_prints_into_the_protocol(tmp_path):
    """Whatever stands in its way: the descriptors that a step gets are never the protocol's."""
    async with attached(tmp_path, executor(1)) as rig:
        await rig.run(*(spec("surroundings", serial, index=1) for serial in range(1, 5)), spec("quick", 5))
        assert rig.value(5) == 0


async def test_100_mb_are_read_with_flat_memory(tmp_path):
    class Counts:
        bytes = 0

    async with attached(tmp_path) as rig:

        def count(log):
            Counts.bytes += len(log.line) + 1
            return True

        rig.session._emit_log = count
        await rig.run(spec("floods", 1, index=10))
        before = psutil.Process().memory_info().rss
        await rig.run(spec("floods", 2, index=100))
        assert Counts.bytes == 110 * MIB
        assert psutil.Process().memory_info().rss - before < 16 * MIB


async def test_what_prints_waits_while_the_log_store_is_behind(tmp_path):
    async with attached(tmp_path) as rig:
        rig.takes_logs = False
        rig.session.submit([spec("floods", 1, index=2)])
        await rig.until(rig.out)
        (worker,) = rig.session.members
        await eventually(lambda: unread(worker.outputs[0].descriptor) == 64 * 1024)
        heard = len(rig.out())
        assert heard < 2048
        rig.session.resume_logs()  # takes one more chunk, and is behind again
        await rig.until(lambda: len(rig.out()) > heard)
        assert 1 not in rig.endings
        rig.takes_logs = True
        rig.session.resume_logs()
        await rig.ended(1)
        assert len(rig.out()) == 2048


def unread(pipe):
    """Bytes that stand in it."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


async def test_being_behind_with_one_run_does_not_hold_another(tmp_path):
    shared = executor(2)
    async with shared, attached(tmp_path, shared) as one, attached(tmp_path, shared, run_id="2") as two:
        one.takes_logs = False
        one.session.submit([spec("floods", 1, index=1)])
        await one.until(one.out)
        await two.run(*(spec("log", serial, index=serial) for serial in range(1, 51)))
        assert two.out(50) == [b"task 50"]


async def test_a_run_that_is_behind_can_be_cancelled(tmp_path):
    async with attached(tmp_path) as rig:
        rig.takes_logs = False
        flood = spec("floods", 1, index=2)
        rig.session.submit([flood])
        await rig.until(rig.out)
        rig.session.cancel([flood.attempt], grace=0.1)
        await rig.ended(1)


async def test_what_a_dying_worker_had_printed_is_kept(tmp_path):
    async with attached(tmp_path) as rig:
        await rig.run(spec("prints_and_dies"))
        assert rig.out() == [b"one", b"and half"]


async def test_the_loop_stays_free_under_a_flood(tmp_path):
    """Others get their turn between any two turns of ours."""
    async with attached(tmp_path, executor(2)) as rig:
        rig.session.submit([spec("floods", serial, index=4) for serial in (1, 2)])
        turns = 0
        while len(rig.endings) < 2:
            await asyncio.sleep(0)
            turns += 1
        check_endings(rig)
        assert turns > 100


async def test_a_pipe_that_a_child_made_non_blocking_is_no_trouble(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        rig.takes_logs = False
        rig.session.submit([spec("unblocks", 1), spec("quick", 2)])
        await rig.until(rig.out)
        while len(rig.endings) < 2:
            rig.session.resume_logs()
            await asyncio.sleep(0)
        assert isinstance(rig.endings[1], TaskSucceeded)
        assert os.getpid() != int(await running_pid(tmp_path))
