"""The local executor when processes die, fork, hang or leave things behind: one task pays, the rest goes on."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import structlog
from local_rig import attached, descendants, eventually, executor, is_alive, running_pid, spec

from asyncflow.events import FailureKind, TaskFailed, TaskSucceeded
from asyncflow.executors.deaths import MemoryKills, failure_of_death

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=["step", "task"])
def using(request):
    return executor(isolation=request.param)


def workers(rig):
    return [psutil.Process(member.pid) for member in rig.session.members if member.pid]


# -- a task kills its worker -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "index", "said"),
    [
        ("exits", 3, "exited with status 3"),
        ("exits", 0, "exited with status 0"),
        ("segfaults", 0, "killed by SIGSEGV"),
        ("killed", signal.SIGKILL, "killed by SIGKILL"),
        ("killed", signal.SIGABRT, "killed by SIGABRT"),
        ("closes_everything", 0, "closed descriptors"),
    ],
)
async def test_a_crash_fails_one_task_and_says_how(tmp_path, using, step, index, said):
    async with attached(tmp_path, using) as rig:
        crashed, *others = await rig.run(
            spec(step, 1, index=int(index)), *(spec("once", n, index=n) for n in range(2, 40))
        )
        assert isinstance(crashed, TaskFailed)
        assert crashed.failure.kind is FailureKind.CRASH
        assert said in crashed.failure.message
        assert crashed.failure.retriable
        assert crashed.started is not None
        assert crashed.worker.startswith("pid ")
        assert all(isinstance(ending, TaskSucceeded) for ending in others)
        assert isinstance((await rig.run(spec(step, 50, index=int(index))))[0], TaskFailed)


async def test_a_segfault_shows_where_it_was_and_what_was_printed_before(tmp_path):
    async with attached(tmp_path) as rig:
        await rig.run(spec("segfaults"))
        assert rig.out() == [b"before the fall"]
        assert b"Segmentation fault" in b"\n".join(rig.err())
        assert b"in segfaults" in b"\n".join(rig.err())


async def test_being_told_to_stop_by_somebody_else_is_a_crash_too(tmp_path):
    async with attached(tmp_path) as rig:
        (ending,) = await rig.run(spec("killed", index=int(signal.SIGTERM)))
        assert ending.failure.kind is FailureKind.CRASH
        assert "SIGTERM" in ending.failure.message
        assert isinstance((await rig.run(spec("quick", 2)))[0], TaskSucceeded)


def test_a_kill_for_want_of_memory_is_told_from_others(tmp_path):
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom 3\noom_kill 3\n")
    kills = MemoryKills((str(tmp_path / "absent"), str(counter)))
    assert failure_of_death(-signal.SIGKILL, kills).kind is FailureKind.CRASH
    counter.write_text("low 0\noom 4\noom_kill 4\n")
    assert failure_of_death(-signal.SIGSEGV, kills).kind is FailureKind.CRASH
    assert failure_of_death(-signal.SIGKILL, kills).kind is FailureKind.MEMORY
    assert failure_of_death(-signal.SIGKILL, kills).kind is FailureKind.CRASH


# -- workers killed from outside -------------------------------------------------------------------


async def test_a_worker_killed_while_idle_costs_nothing(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        for serial in range(1, 6):
            await rig.run(spec("quick", serial))
            (worker,) = workers(rig)
            worker.kill()
            (ending,) = await rig.run(spec("quick", 100 + serial))
            assert isinstance(ending, TaskSucceeded)
            await eventually(lambda worker=worker: not is_alive(worker.pid))


async def test_a_worker_killed_at_work_fails_that_task(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        rig.session.submit([spec("wait", 1), spec("quick", 2)])
        os.kill(await running_pid(tmp_path), signal.SIGKILL)
        crashed, fine = await rig.ended(1, 2)
        assert crashed.failure.kind is FailureKind.CRASH
        assert "SIGKILL" in crashed.failure.message
        assert isinstance(fine, TaskSucceeded)


@pytest.mark.parametrize("seed", range(3))
async def test_killing_workers_at_random_loses_nothing_and_does_nothing_twice(tmp_path, seed):
    chance = random.Random(seed)
    everything = range(1, 2_001)
    async with attached(tmp_path, executor(2)) as rig:
        rig.session.submit([spec("once", serial, index=serial) for serial in everything])
        kills = 0
        while len(rig.endings) < len(everything):
            done = len(rig.endings)
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(chance.uniform(0.0005, 0.03)):
                    await rig.until(lambda: len(rig.endings) == len(everything))
            if kills < 60 and done < 1_900:
                with contextlib.suppress(IndexError, psutil.NoSuchProcess):
                    chance.choice(workers(rig)).kill()
                    kills += 1
        await rig.ended(*everything)
        endings = rig.endings
    ran = [int(line) for line in (tmp_path / "traces").read_text().split()]
    assert len(ran) == len(set(ran))
    assert set(ran) >= {serial for serial in everything if isinstance(endings[serial], TaskSucceeded)}
    failed = [ending for ending in endings.values() if isinstance(ending, TaskFailed)]
    assert kills
    assert len(failed) <= kills
    # LOST, which is tried again, where a busy machine had its workers die before it began again and again.
    assert {ending.failure.kind for ending in failed} <= {FailureKind.CRASH, FailureKind.LOST}
    assert {serial for serial in everything if serial not in set(ran)} <= {each.attempt.serial for each in failed}


async def test_a_worker_that_stops_answering_between_tasks_delays_nobody(tmp_path):
    """Stopped, it can't be told to exit, nor read what is in its queue."""
    async with attached(tmp_path, executor(1, grace=0.2)) as rig:
        await rig.run(spec("quick", 1))
        (worker,) = workers(rig)
        worker.suspend()
    assert not is_alive(worker.pid)


# -- the zygote ----------------------------------------------------------------------------------


async def test_a_flow_that_does_not_import_fails_every_task_with_its_traceback(tmp_path):
    async with attached(tmp_path, flow="Broken") as rig:
        endings = await rig.run(spec("quick", 1), spec("quick", 2))
        for ending in (*endings, *await rig.run(spec("quick", 3))):
            assert ending.failure.kind is FailureKind.USER
            assert "this flow doesn't import" in ending.failure.message
            assert "stub_program.py" in ending.failure.traceback
            assert not ending.failure.retriable


async def test_spawned_workers_say_so_too(tmp_path):
    async with attached(tmp_path, executor(start_method="spawn"), flow="Broken") as rig:
        (ending,) = await rig.run(spec("quick"))
        assert "this flow doesn't import" in ending.failure.message
        assert not ending.failure.retriable


async def test_a_flow_whose_import_kills_the_process(tmp_path):
    async with attached(tmp_path, flow="Dies") as rig:
        (ending,) = await rig.run(spec("quick"))
        assert isinstance(ending, TaskFailed)
        assert "dies again and again" in ending.failure.message
        assert not ending.failure.retriable


async def test_a_flow_whose_import_kills_the_process_once(tmp_path):
    async with attached(tmp_path, flow="DiesOnce") as rig:
        (ending,) = await rig.run(spec("quick"))
        assert isinstance(ending, TaskSucceeded)


async def test_a_worker_that_can_not_open_the_store(tmp_path, using):
    async with attached(tmp_path, using, name="Unbound") as rig:
        (ending,) = await rig.run(spec("quick"))
        assert ending.failure.kind is FailureKind.LOST
        assert "the store is gone" in ending.failure.message


async def test_a_zygote_that_is_killed_loses_what_runs_and_only_that(tmp_path):
    async with attached(tmp_path, executor(2)) as rig:
        await rig.run(*(spec("once", n, index=n) for n in range(1, 51)))
        rig.session.submit(
            [spec("waits_with_child", 51), spec("wait", 52), *(spec("once", n, index=n) for n in range(53, 91))]
        )
        for serial in (51, 52):
            await running_pid(tmp_path, serial)
        before = descendants()
        (zygote,) = {each.ppid() for each in workers(rig)}
        os.kill(zygote, signal.SIGKILL)
        lost = await rig.ended(51, 52)
        assert {each.failure.kind for each in lost} == {FailureKind.LOST}
        assert "killed by SIGKILL" in lost[0].failure.message
        fine = await rig.ended(*range(53, 91))
        assert all(isinstance(each, TaskSucceeded) for each in fine)
        alive = [each.pid for each in before if is_alive(each.pid)]
        # What left its worker's session when there was no zygote to watch it can't be known.
        assert [psutil.Process(pid).cmdline() for pid in alive] in ([], [["sleep", "1000"]])
        for pid in alive:
            os.kill(pid, signal.SIGKILL)


async def test_a_zygote_killed_in_a_flood_loses_nothing(tmp_path):
    everything = range(1, 1_501)
    async with attached(tmp_path, executor(2)) as rig:
        rig.session.submit([spec("once", serial, index=serial) for serial in everything])
        for many in (100, 500, 900):
            await rig.until(lambda many=many: len(rig.endings) > many)
            (zygote,) = {member.zygote.pid for member in rig.session.members}
            os.kill(zygote, signal.SIGKILL)
        await rig.ended(*everything)
        ran = (tmp_path / "traces").read_text().split()
        assert len(ran) == len(set(ran))
        failed = [each for each in rig.endings.values() if isinstance(each, TaskFailed)]
        assert {each.failure.kind for each in failed} <= {FailureKind.LOST}
        assert len(failed) <= 6


async def test_a_zygote_that_hangs_is_killed_when_its_run_closes(tmp_path):
    async with attached(tmp_path, executor(1, grace=0.2)) as rig:
        await rig.run(spec("quick"))
        (zygote,) = {member.zygote.pid for member in rig.session.members}
        os.kill(zygote, signal.SIGSTOP)
    assert not is_alive(zygote)
    assert descendants() == []


# -- forking or spawning ---------------------------------------------------------------------------


async def test_a_flow_that_starts_threads_is_spawned_and_that_is_said_once(tmp_path):
    with structlog.testing.capture_logs() as logs:
        shared = executor(2)
        async with shared:
            for run_id in ("1", "2"):
                async with attached(tmp_path, shared, flow="Threads", run_id=run_id) as rig:
                    await rig.run(spec("pid", 1), spec("pid", 2))
    (line,) = logs
    assert "spawned" in line["event"]
    assert "background" in line["reason"]


async def test_so_is_one_that_starts_a_runtime_with_threads_of_its_own(tmp_path):
    with structlog.testing.capture_logs() as logs:
        async with attached(tmp_path, flow="Runtime") as rig:
            await rig.run(spec("quick"))
    (line,) = logs
    assert "polars-0" in line["reason"]


async def test_threads_of_blas_survive_a_fork(tmp_path):
    """They carry no name of their own. numpy's random numbers differ from worker to worker and from task to task."""
    with structlog.testing.capture_logs() as logs:
        async with attached(tmp_path, executor(2), flow="Blas") as rig:
            await rig.run(*(spec("draws_numpy", serial) for serial in range(1, 21)))
            assert len({rig.value(serial) for serial in range(1, 21)}) == 20
    assert logs == []


# -- what a step starts ----------------------------------------------------------------------------


async def test_a_step_that_forks_answers_once(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        await rig.run(spec("forks"))
        assert rig.value() == 0
        assert sorted(rig.out()) == [b"from the child", b"from the parent"]


@pytest.mark.parametrize("step", ["leaves_child", "leaves_daemon"])
async def test_a_process_that_a_task_left_behind_ends_with_it(tmp_path, using, step):
    async with attached(tmp_path, using) as rig:
        await rig.run(spec(step))
        child = int((tmp_path / "child").read_text())
        await eventually(lambda: not is_alive(child))
        await rig.run(spec("pid", 2))
        assert rig.value(2) != rig.value(1)


@pytest.mark.parametrize(
    ("step", "index"),
    [("leaves_thread", 0), ("leaves_raw_thread", 0), ("leaves_native_thread", 1), ("changes_standing", 0)],
)
async def test_a_worker_in_which_a_task_left_what_can_not_be_put_back_is_replaced(tmp_path, step, index):
    async with attached(tmp_path, executor(1)) as rig:
        await rig.run(spec(step, 1, index=index))
        await rig.run(spec(step, 2, index=index))
        assert rig.value(1) != rig.value(2)


async def test_threads_of_blas_are_no_reason_to_replace_a_worker(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        await rig.run(spec("leaves_native_thread", 1, index=0))
        await rig.run(spec("leaves_native_thread", 2, index=0))
        assert rig.value(1) == rig.value(2)


@pytest.mark.parametrize("how", [0, 1, 2], ids=["closed", "detached", "closed below"])
async def test_streams_that_a_task_ruined_are_there_for_the_next(tmp_path, how):
    async with attached(tmp_path, executor(1)) as rig:
        for serial in (1, 2, 3):
            await rig.run(spec("ruins_streams", serial, index=how))
        assert rig.value(1) == rig.value(2) == rig.value(3)
        assert rig.out(2) == rig.out(3) == [b"said"]
        assert rig.err(2) == rig.err(3) == [b"so"]


async def test_a_step_may_replace_what_its_worker_needs_of_the_standard_library(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        for serial in (1, 2):
            await rig.run(spec("replaces", serial))
        assert all(isinstance(rig.endings[serial], TaskSucceeded) for serial in (1, 2))


async def test_a_worker_whose_memory_has_grown_is_replaced(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        await rig.run(spec("grows", 1, index=10), spec("grows", 2, index=300), spec("grows", 3, index=10))
        assert rig.value(1) == rig.value(2) != rig.value(3)


async def test_a_worker_is_replaced_after_many_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr("asyncflow.executors.crew.MOST_TASKS", 7)
    async with attached(tmp_path, executor(1)) as rig:
        await rig.run(*(spec("pid", serial) for serial in range(1, 29)))
        assert len({rig.value(serial) for serial in range(1, 29)}) == 4


async def test_everything_around_a_task_is_as_if_none_had_been_before(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        await rig.run(*(spec("surroundings", serial, index=1) for serial in (1, 2, 3)))
        assert rig.value(1) == rig.value(2) == rig.value(3)
        assert rig.out(1) == rig.out(2) == rig.out(3) == [b"looking around"]


async def test_a_spec_whose_worker_died_before_it_began_goes_back_as_the_same_attempt(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        for serial in range(1, 6):
            await rig.run(spec("poisons", serial, index=int(serial == 2)))
        assert all(isinstance(rig.endings[serial], TaskSucceeded) for serial in range(1, 6))
        assert rig.value(1) == rig.value(2) != rig.value(3)


async def test_but_not_for_ever(tmp_path):
    async with attached(tmp_path, executor(1), name="Poisoned") as rig:
        (ending,) = await rig.run(spec("quick"))
        assert ending.failure.kind is FailureKind.LOST
        assert "before it began" in ending.failure.message
        assert ending.started is None


async def test_workers_that_die_at_their_start_are_not_made_for_ever(tmp_path, using):
    async with attached(tmp_path, using, name="Stillborn") as rig:
        (ending,) = await rig.run(spec("quick"))
        assert ending.failure.kind is FailureKind.LOST
        assert "exited with status 9" in ending.failure.message
        assert "not today" in ending.failure.message


async def test_random_numbers_differ_between_workers_and_tasks(tmp_path):
    async with attached(tmp_path, executor(2)) as rig:
        await rig.run(*(spec("draws", serial) for serial in range(1, 41)))
        assert len({rig.value(serial) for serial in range(1, 41)}) == 40


# -- the engine dies -------------------------------------------------------------------------------

ENGINE = """
import asyncio, sys
from pathlib import Path
from local_rig import attached, executor, spec
async def main():
    place = Path({place!r})
    async with attached(place, executor(3, isolation={isolation!r}, start_method={start_method!r})) as rig:
        rig.session.submit([spec("waits_with_child", 1), spec("stubborn", 2), spec("once", 3), spec("wait", 4)])
        await rig.until(lambda: False)
asyncio.run(main())
"""


def start_engine(code):
    return subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)


def family_of(process):
    return psutil.Process(process.pid).children(recursive=True)


def sleepers(processes):
    count = 0
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            count += each.name() == "sleep"
    return count


@pytest.mark.parametrize(("isolation", "start_method"), [("step", None), ("task", None), ("step", "spawn")])
async def test_nothing_outlives_an_engine_that_is_killed(tmp_path, isolation, start_method):
    code = ENGINE.format(place=str(tmp_path), isolation=isolation, start_method=start_method)
    engine = start_engine(code)
    try:
        for serial in (1, 2, 4):
            await running_pid(tmp_path, serial)
        # The zygote, a worker for each of three tasks, and what one of them has started.
        family = await eventually(lambda: family if sleepers(family := family_of(engine)) == 2 else None)
        assert len(family) >= 1 + 3 + 3
    finally:
        engine.kill()
        engine.wait()
    await eventually(lambda: not any(is_alive(each.pid) for each in family))


async def test_nothing_outlives_an_engine_that_is_killed_while_the_flow_is_imported(tmp_path):
    code = ENGINE.format(place=str(tmp_path), isolation="step", start_method=None).replace(
        "attached(place,", "attached(place, flow='Hangs', using="
    )
    engine = start_engine(code)
    try:
        await eventually((tmp_path / "imported").exists)
        zygote = int((tmp_path / "imported").read_text())
    finally:
        engine.kill()
        engine.wait()
    await eventually(lambda: not is_alive(zygote))
