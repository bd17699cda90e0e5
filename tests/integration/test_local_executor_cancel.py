"""Cancelling on the local executor: what waits, what runs, what doesn't listen."""

import asyncio

import pytest
from local_rig import attached, eventually, executor, is_alive, running_pid, spec

from asyncflow.events import Attempt, TaskCancelled, TaskFailed, TaskId, TaskSucceeded

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=["step", "task", "spawn"])
def using(request):
    if request.param == "spawn":
        return executor(start_method="spawn")
    return executor(isolation=request.param)


def attempts(*specs):
    return [each.attempt for each in specs]


async def test_what_runs_is_asked_to_stop_and_cleans_up(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        running = spec("cleans_up")
        rig.session.submit([running])
        pid = await running_pid(tmp_path)
        rig.session.cancel(attempts(running), grace=1000.0)
        (ending,) = await rig.ended(1)
        assert isinstance(ending, TaskCancelled)
        assert ending.started is not None
        assert ending.worker == f"pid {pid}"
        assert rig.out() == [b"cleaning up"]
        await eventually(lambda: not is_alive(pid))
        assert isinstance((await rig.run(spec("quick", 2)))[0], TaskSucceeded)


async def test_what_does_not_listen_is_killed_after_the_grace(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        running = spec("stubborn")
        rig.session.submit([running])
        pid = await running_pid(tmp_path)
        rig.session.cancel(attempts(running), grace=0.1)
        (ending,) = await rig.ended(1)
        assert isinstance(ending, TaskCancelled)
        assert not is_alive(pid)


async def test_no_grace_is_no_grace_also_after_some_was_given(tmp_path):
    async with attached(tmp_path) as rig:
        running = [spec("stubborn", 1), spec("stubborn", 2)]
        rig.session.submit(running)
        for serial in (1, 2):
            await running_pid(tmp_path, serial)
        rig.session.cancel(attempts(*running), grace=1000.0)
        rig.session.cancel(attempts(*running), grace=0.0)
        assert {type(each) for each in await rig.ended(1, 2)} == {TaskCancelled}


async def test_a_shorter_grace_counts(tmp_path):
    async with attached(tmp_path) as rig:
        running = spec("stubborn")
        rig.session.submit([running])
        await running_pid(tmp_path)
        rig.session.cancel(attempts(running), grace=1000.0)
        rig.session.cancel(attempts(running), grace=0.05)
        rig.session.cancel(attempts(running), grace=1000.0)
        assert isinstance((await rig.ended(1))[0], TaskCancelled)


async def test_children_of_the_step_are_stopped_too(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        running = spec("waits_with_child")
        rig.session.submit([running])
        pid = await running_pid(tmp_path)
        family = await eventually(lambda: (found := children_of(pid)) and len(found) == 3 and found)
        rig.session.cancel(attempts(running), grace=1000.0)
        assert isinstance((await rig.ended(1))[0], TaskCancelled)
        await eventually(lambda: not any(is_alive(child) for child in family))


def children_of(pid):
    import psutil

    return [each.pid for each in psutil.Process(pid).children(recursive=True)]


async def test_what_waits_ends_at_once(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        waiting = [spec("wait", serial) for serial in range(2, 6)]
        rig.session.submit([spec("wait", 1), *waiting])
        await running_pid(tmp_path)
        rig.session.cancel(attempts(waiting[0], waiting[2]), grace=1000.0)
        cancelled = await rig.ended(2, 4)
        assert {type(each) for each in cancelled} == {TaskCancelled}
        assert {each.started for each in cancelled} == {None}
        (tmp_path / "go").touch()
        assert {type(each) for each in await rig.ended(1, 3, 5)} == {TaskSucceeded}
        assert sorted(rig.started) == [1, 3, 5]


async def test_what_waits_in_the_queue_of_a_worker_is_taken_back(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        await rig.run(*(spec("nap", serial, index=0) for serial in range(1, 60)))
        specs = [spec("nap", 60, index=300), *(spec("nap", serial, index=0) for serial in range(61, 70))]
        rig.session.submit(specs)
        await rig.until(lambda: 60 in rig.started)
        rig.session.cancel(attempts(*specs[1:6]), grace=1000.0)
        assert {type(rig.endings[serial]) for serial in range(61, 66)} == {TaskCancelled}
        rest = await rig.ended(60, *range(66, 70))
        assert {type(each) for each in rest} == {TaskSucceeded}
        assert not set(range(61, 66)) & set(rig.started)


async def test_a_task_that_ends_well_all_the_same_has_succeeded(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        running = spec("finishes_first")
        rig.session.submit([running])
        await running_pid(tmp_path)
        rig.session.cancel(attempts(running), grace=1000.0)
        (tmp_path / "go").touch()
        assert isinstance((await rig.ended(1))[0], TaskSucceeded)


async def test_cancelling_what_is_unknown_or_over_does_nothing(tmp_path):
    async with attached(tmp_path) as rig:
        await rig.run(spec("quick"))
        rig.session.cancel([spec("quick").attempt, Attempt(TaskId("never"), 0, 77)], grace=0.0)
        assert isinstance((await rig.run(spec("quick", 2)))[0], TaskSucceeded)
        assert len(rig.endings) == 2


async def test_one_run_is_cancelled_and_another_goes_on(tmp_path):
    shared = executor(4)
    async with shared, attached(tmp_path, shared) as one, attached(tmp_path, shared, run_id="2") as two:
        mine, other = spec("cleans_up", 1), spec("wait", 2)
        one.session.submit([mine])
        two.session.submit([other])
        for serial in (1, 2):
            await running_pid(tmp_path, serial)
        one.session.cancel(attempts(mine, other), grace=1000.0)
        assert isinstance((await one.ended(1))[0], TaskCancelled)
        (tmp_path / "go").touch()
        assert isinstance((await two.ended(2))[0], TaskSucceeded)


async def test_cancelled_before_the_flow_is_imported(tmp_path):
    async with attached(tmp_path, executor(grace=1000.0), flow="Hangs") as rig:
        waiting = [spec("quick", serial) for serial in range(1, 5)]
        rig.session.submit(waiting)
        await eventually((tmp_path / "imported").exists)
        rig.session.cancel(attempts(*waiting), grace=1000.0)
        assert {type(each) for each in await rig.ended(1, 2, 3, 4)} == {TaskCancelled}


@pytest.mark.parametrize("after", [0, 1, 5, 30, 150, 299])
async def test_cancelling_everything_in_a_flood_ends_everything_once(tmp_path, after):
    specs = [spec("once", serial, index=serial) for serial in range(1, 301)]
    async with attached(tmp_path, executor(2)) as rig:
        rig.session.submit(specs)
        await rig.until(lambda: len(rig.endings) >= after)
        rig.session.cancel(attempts(*specs), grace=1000.0)
        endings = await rig.ended(*range(1, 301))
        assert {type(each) for each in endings} <= {TaskCancelled, TaskSucceeded}
        traces = tmp_path / "traces"
        ran = [int(line) for line in traces.read_text().split()] if traces.exists() else []
        assert len(ran) == len(set(ran))
        assert {each.attempt.serial for each in endings if isinstance(each, TaskSucceeded)} <= set(ran)
        assert isinstance((await rig.run(spec("once", 1000, index=1000)))[0], TaskSucceeded)


async def test_cancelling_one_after_the_other_in_a_flood_hits_no_other(tmp_path):
    specs = [spec("once", serial, index=serial) for serial in range(1, 601)]
    async with attached(tmp_path, executor(2)) as rig:
        rig.session.submit(specs)
        for each in specs[::7]:
            rig.session.cancel([each.attempt], grace=1000.0)
            await asyncio.sleep(0)
        endings = await rig.ended(*range(1, 601))
        told = {each.attempt.serial for each in specs[::7]}
        for ending in endings:
            if ending.attempt.serial not in told and isinstance(ending, TaskFailed):
                assert ending.failure.kind == "lost"
            elif ending.attempt.serial not in told:
                assert isinstance(ending, TaskSucceeded)
