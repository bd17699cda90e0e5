"""The local executor with real processes: tasks that end well, slots, windows, runs side by side."""

import asyncio
import contextlib
import os
import resource
import socket

import pytest
from local_rig import (
    Rig,
    attached,
    context,
    descendants,
    descriptors,
    eventually,
    executor,
    is_alive,
    running_pid,
    spec,
)
from msgspec import structs

from asyncflow.errors import ExecutorError, UsageError
from asyncflow.events import FailureKind, TaskCancelled, TaskFailed, TaskStarted, TaskSucceeded
from asyncflow.executors.local import LocalExecutor
from asyncflow.executors.workers import Member

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["fork", "spawn", "task"])
def using(request):
    """An executor in each way of having workers."""
    if request.param == "task":
        return executor(isolation="task")
    return executor(start_method=request.param)


# -- one task --------------------------------------------------------------------------------------


async def test_a_task_begins_and_ends_in_a_process_of_its_own(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        (ending,) = await rig.run(spec("pid"))
        pid = rig.value()
        assert isinstance(ending, TaskSucceeded)
        assert rig.events[0] == TaskStarted(ending.attempt, rig.events[0].at, f"pid {pid}")
        assert pid != os.getpid()
    await eventually(lambda: not is_alive(pid))


async def test_what_a_step_raises_is_its_failure(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        (ending,) = await rig.run(spec("fails"))
    assert isinstance(ending, TaskFailed)
    assert ending.failure.kind is FailureKind.USER
    assert ending.failure.message == "KeyError: 'no such carrier'"
    assert "no such carrier" in ending.failure.traceback


async def test_a_join_over_very_many_gets_all_of_its_inputs(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        await rig.run(spec("inputs", inputs=100_000))
        assert rig.value() == (100_000, sum(range(100_000)))


async def test_long_specs_wait_in_queues_like_others(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        await rig.run(*(spec("inputs", serial, inputs=1) for serial in range(1, 20)))
        await rig.run(*(spec("inputs", serial, inputs=3_000) for serial in range(20, 60)))
        assert rig.value(42) == (3_000, sum(range(3_000)))


async def test_nothing_can_be_adopted(tmp_path):
    async with attached(tmp_path) as rig:
        assert await rig.session.adopt({spec("quick").attempt: None}) == frozenset()


# -- many tasks ------------------------------------------------------------------------------------


async def test_many_tasks_are_served_by_few_workers(tmp_path):
    async with attached(tmp_path) as rig:
        await rig.run(*(spec("pid", serial, index=serial) for serial in range(1, 501)))
        assert len({rig.value(serial) for serial in range(1, 501)}) <= 2
        assert len(rig.started) == 500


async def test_with_isolation_task_each_has_its_own(tmp_path):
    async with attached(tmp_path, executor(isolation="task")) as rig:
        await rig.run(*(spec("pid", serial) for serial in range(1, 41)))
        pids = {rig.value(serial) for serial in range(1, 41)}
        assert len(pids) == 40
    await eventually(lambda: not any(is_alive(pid) for pid in pids))


async def test_no_more_tasks_run_than_there_are_slots(tmp_path):
    async with attached(tmp_path, executor(3)) as rig:
        rig.session.submit([spec("wait", serial) for serial in range(1, 11)])
        await rig.until(lambda: len(rig.started) == 3)
        rig.session.submit([spec("quick", 11)])
        await eventually(lambda: len(list(tmp_path.glob("here.[1-9]"))) == 3)
        assert rig.endings == {}
        (tmp_path / "go").touch()
        await rig.ended(*range(1, 12))
        assert set(rig.started[:3]) == {1, 2, 3}
        assert sorted(rig.started) == list(range(1, 12))


async def test_short_tasks_do_not_wait_behind_a_long_one(tmp_path):
    async with attached(tmp_path) as rig:
        await rig.run(*(spec("once", serial, index=serial) for serial in range(1, 101)))
        assert rig.session.window > 2
        long = [spec("wait", 101)]
        short = [spec("once", serial, index=serial) for serial in range(102, 302)]
        rig.session.submit([*long, *short])
        await rig.ended(*range(102, 302))
        assert 101 not in rig.endings
        (tmp_path / "go").touch()
        await rig.ended(101)


async def test_long_ones_of_the_same_step_take_nothing_along(tmp_path):
    """Behind a task that turns out long stand others that were handed out ahead."""
    async with attached(tmp_path) as rig:
        await rig.run(*(spec("nap", serial, index=0) for serial in range(1, 101)))
        naps = [spec("nap", serial, index=20_000 if serial == 101 else 0) for serial in range(101, 301)]
        rig.session.submit(naps)
        await rig.ended(*range(102, 301))
        assert 101 not in rig.endings


async def test_the_window_grows_for_short_tasks_and_shrinks_for_long_ones(tmp_path):
    async with attached(tmp_path) as rig:
        assert rig.session.window == 2
        await rig.run(*(spec("quick", serial) for serial in range(1, 51)))
        assert rig.session.window > 8
        await rig.run(*(spec("nap", serial, index=100) for serial in range(51, 59)))
        assert rig.session.window == 2


async def test_steps_have_workers_of_their_own_and_idle_ones_are_kept(tmp_path):
    async with attached(tmp_path, executor(1)) as rig:
        pids = {}
        for serial, step in enumerate(["pid", "quick", "once", "log", "pid"], 1):
            await rig.run(spec(step, serial, index=serial))
            pids[serial] = rig.events[-2].worker
        assert len(set(pids.values())) == 5  # the first worker had to go when two others were parked
        await eventually(lambda: len(descendants()) <= 1 + 3)  # who is told to go needs a moment


async def test_a_crash_and_a_cancel_on_either_loop(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        running = spec("cleans_up", 3)
        rig.session.submit([spec("exits", 1, index=1), running, spec("quick", 2)])
        await running_pid(tmp_path, 3)
        rig.session.cancel([running.attempt], grace=1000.0)
        crashed, fine, cancelled = await rig.ended(1, 2, 3)
        assert crashed.failure.kind is FailureKind.CRASH
        assert isinstance(fine, TaskSucceeded)
        assert isinstance(cancelled, TaskCancelled)


# -- runs side by side -----------------------------------------------------------------------------


async def test_two_runs_share_slots_and_a_zygote(tmp_path):
    shared = executor(2)
    async with shared, attached(tmp_path, shared) as one, attached(tmp_path, shared, run_id="2") as two:
        await one.run(spec("quick"))
        await two.run(spec("quick"))
        zygotes = {
            psutil_parent for psutil_parent in (each.ppid() for each in descendants()) if psutil_parent != os.getpid()
        }
        assert len(zygotes) == 1
        one.session.submit([spec("wait", serial) for serial in (2, 3)])
        await one.until(lambda: len(one.started) == 3)
        two.session.submit([spec("quick", 2)])
        one.session.submit([spec("quick", 4)])
        (tmp_path / "go").touch()
        await two.ended(2)
        await one.ended(2, 3, 4)


async def test_the_oldest_spec_of_all_runs_goes_first(tmp_path):
    shared = executor(1)
    async with shared, attached(tmp_path, shared) as one, attached(tmp_path, shared, run_id="2") as two:
        one.session.submit([spec("wait", 1)])
        await one.until(lambda: one.started == [1])
        two.session.submit([spec("once", 1, index=21)])
        one.session.submit([spec("once", 2, index=12)])
        two.session.submit([spec("once", 2, index=22)])
        (tmp_path / "go").touch()
        await asyncio.gather(one.ended(1, 2), two.ended(1, 2))
        order = (tmp_path / "traces").read_text().split()
        assert order == ["21", "12", "22"]


async def test_the_end_of_one_run_does_not_touch_another(tmp_path):
    shared = executor(4)
    async with shared, attached(tmp_path, shared) as staying:
        async with attached(tmp_path, shared, run_id="2") as leaving:
            staying.session.submit([spec("wait", 1)])
            leaving.session.submit([spec("wait", 2), spec("wait", 3)])
            pid = await running_pid(tmp_path, 2)
            await running_pid(tmp_path, 1)
        assert not is_alive(pid)
        assert leaving.endings == {}
        (tmp_path / "go").touch()
        await staying.ended(1)


async def test_another_flow_has_another_zygote_and_few_are_kept_warm(tmp_path):
    places = [tmp_path / str(n) for n in range(7)]
    shared = executor(1)
    async with shared:
        for place in places:
            place.mkdir()
            async with attached(place, shared) as rig:
                await rig.run(spec("quick"))
        zygotes = [int((place / "imported").read_text()) for place in places]
        assert len(set(zygotes)) == 7
        await eventually(lambda: sum(is_alive(pid) for pid in zygotes) <= 4)
        assert is_alive(zygotes[-1])
    assert not any(is_alive(pid) for pid in zygotes)


async def test_a_zygote_stays_warm_between_runs_of_an_open_executor(tmp_path):
    shared = executor(1)
    async with shared:
        for run_id in ("1", "2", "3"):
            async with attached(tmp_path, shared, run_id=run_id) as rig:
                await rig.run(spec("quick"))
                if run_id == "1":
                    first = (tmp_path / "imported").read_text()
        assert (tmp_path / "imported").read_text() == first


async def test_another_environment_is_another_zygote(tmp_path, monkeypatch):
    shared = executor(1)
    async with shared:
        for value in ("one", "two"):
            monkeypatch.setenv("LITTER", value)
            async with attached(tmp_path, shared) as rig:
                await rig.run(spec("environment"))
                assert rig.value()["LITTER"] == value
            (tmp_path / "imported").rename(tmp_path / f"imported {value}")
        assert (tmp_path / "imported one").read_text() != (tmp_path / "imported two").read_text()


async def test_an_edited_flow_is_imported_again(tmp_path):
    shared = executor(1)
    async with shared:
        for text in ("pass", "pass  # edited"):
            (tmp_path / "flow.py").write_text(text)
            (tmp_path / "imported").unlink(missing_ok=True)
            async with attached(tmp_path, shared) as rig:
                await rig.run(spec("quick"))
            assert (tmp_path / "imported").exists()


async def test_attaching_often_leaks_nothing(tmp_path):
    shared = executor(2)
    async with shared:
        async with attached(tmp_path, shared) as rig:
            await rig.run(spec("quick"))
        before = descriptors()
        for run_id in range(30):
            async with attached(tmp_path, shared, run_id=str(run_id)) as rig:
                await rig.run(spec("quick", 1), spec("log", 2))
        assert descriptors() == before
        assert len(descendants()) == 1
    assert descendants() == []


async def test_opening_often_leaks_nothing(tmp_path):
    before = None
    for _ in range(6):
        async with attached(tmp_path) as rig:
            await rig.run(spec("quick"))
        before = before or descriptors()
    assert descriptors() == before
    assert descendants() == []


# -- limits of the system --------------------------------------------------------------------------


async def test_with_packets_that_know_no_end(tmp_path, monkeypatch):
    """Where there is no SOCK_SEQPACKET, a worker can't see that its queue was closed."""
    monkeypatch.setattr("asyncflow.executors.workers.PACKETS", socket.SOCK_DGRAM)
    async with attached(tmp_path) as rig:
        await rig.run(
            *(spec("once", serial, index=serial) for serial in range(1, 301)), spec("inputs", 301, inputs=5_000)
        )
        await rig.run(spec("exits", 302, index=1), spec("quick", 303))
    async with attached(tmp_path, flow="Hangs") as rig:
        rig.session.submit([spec("quick")])
    assert descendants() == []


async def test_with_packets_that_are_small(tmp_path, monkeypatch):
    def small(self, *arguments):
        make(self, *arguments)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the system makes some kilobytes of it

    make = Member.__init__
    monkeypatch.setattr(Member, "__init__", small)
    async with attached(tmp_path) as rig:
        await rig.run(*(spec("inputs", serial, inputs=120) for serial in range(1, 20)))
        await rig.run(*(spec("quick", serial) for serial in range(20, 200)))
        assert rig.value(7) == (120, sum(range(120)))


@pytest.fixture
def few_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 40, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_with_few_descriptors_fewer_workers_do_the_work(tmp_path, few_descriptors):
    async with attached(tmp_path, executor(50)) as rig:
        endings = await rig.run(*(spec("nap", serial, index=20) for serial in range(1, 60)))
        assert {type(each) for each in endings} == {TaskSucceeded}


async def test_without_processes_the_task_is_lost_and_says_why(tmp_path):
    """The zygote has as many processes as it may have."""
    async with attached(tmp_path, executor(patience=0.3), flow="Nobody") as rig:
        (ending,) = await rig.run(spec("quick"))
        assert ending.failure.kind is FailureKind.LOST
        assert "No worker can be started" in ending.failure.message
        assert not ending.failure.retriable


async def test_without_descriptors_a_task_waits_until_there_are_some(tmp_path, few_descriptors):
    async with attached(tmp_path, executor(1)) as rig:
        taken = []
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        rig.session.submit([spec("quick")])
        for _ in range(20):
            await asyncio.sleep(0)
        for descriptor in taken:
            os.close(descriptor)
        (ending,) = await rig.ended(1)
        assert isinstance(ending, TaskSucceeded)


async def test_a_flow_that_travels_as_a_long_pickle(tmp_path):
    source = context(tmp_path).source
    long = structs.replace(context(tmp_path), source=structs.replace(source, payload=os.urandom(5_000_000)))
    rig = Rig()
    async with executor().attach(long, rig.emit, rig.emit_log) as rig.session:
        await rig.run(spec("quick"))


# -- opening and closing ---------------------------------------------------------------------------


async def test_a_run_that_ends_with_work_left_kills_it_and_says_nothing(tmp_path, using):
    async with attached(tmp_path, using) as rig:
        rig.session.submit([spec("stubborn", 1), spec("wait", 2), spec("quick", 3)])
        pids = [await running_pid(tmp_path, serial) for serial in (1, 2)]
        said = len(rig.events)
    assert not any(is_alive(pid) for pid in pids)
    assert len(rig.events) == said
    assert rig.endings == {}


async def test_a_run_may_end_before_its_flow_is_imported(tmp_path):
    async with attached(tmp_path, executor(grace=1000.0), flow="Hangs") as rig:
        rig.session.submit([spec("quick")])
        await eventually((tmp_path / "imported").exists)
    assert rig.events == []
    assert descendants() == []


async def test_cancelling_whoever_closes_a_run_leaves_nothing_either(tmp_path):
    async def use():
        async with attached(tmp_path) as rig:
            rig.session.submit([spec("stubborn", 1)])
            await running_pid(tmp_path, 1)
            await rig.session.adopt({})

    tasks = asyncio.all_tasks()
    task = asyncio.create_task(use())
    await running_pid(tmp_path, 1)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert descendants() == []
    assert asyncio.all_tasks() == tasks


async def test_a_flow_can_be_imported_before_its_run_begins(tmp_path):
    shared = executor()
    with pytest.raises(ExecutorError, match="async with"):
        shared.prepare(context(tmp_path).source)
    async with shared:
        shared.prepare(context(tmp_path).source)
        await eventually((tmp_path / "imported").exists)
        imported = (tmp_path / "imported").read_text()
        async with attached(tmp_path, shared) as rig:
            await rig.run(spec("quick"))
        assert (tmp_path / "imported").read_text() == imported


async def test_it_belongs_to_one_loop(tmp_path):
    shared = executor(1)

    def elsewhere():
        async def enter():
            async with shared:
                pass

        asyncio.run(enter())

    async with shared:
        with pytest.raises(ExecutorError, match="another event loop"):
            await asyncio.to_thread(elsewhere)


@pytest.mark.parametrize("options", [{"max_workers": 0}, {"isolation": "none"}, {"start_method": "thread"}])
def test_options_are_checked(options):
    with pytest.raises(UsageError, match=str(next(iter(options.values())))):
        LocalExecutor(**options)


def test_it_has_a_slot_for_each_processor_that_we_may_use():
    assert LocalExecutor().slots == len(os.sched_getaffinity(0))


async def test_a_bug_of_ours_ends_all_runs_with_its_error(tmp_path):
    shared = executor(2)
    rig = Rig()
    with pytest.raises(ExecutorError) as raised:
        async with shared, shared.attach(context(tmp_path), rig.emit, rig.emit_log) as session:
            rig.session = session
            session.submit([spec("wait", serial) for serial in (1, 2, 3)])
            await rig.until(lambda: len(rig.started) == 2)
            pids = [await running_pid(tmp_path, serial) for serial in (1, 2)]
            shared._crew._handout.pump = None
            (tmp_path / "go").touch()
            await rig.until(lambda: len(rig.endings) == 3)
            session.submit([spec("quick", 4)])
            await rig.ended(4)
    assert isinstance(raised.value.__cause__, TypeError)
    failures = [ending.failure for ending in rig.endings.values() if isinstance(ending, TaskFailed)]
    assert any("bug in asyncflow" in failure.message and not failure.retriable for failure in failures)
    await eventually(lambda: not any(is_alive(pid) for pid in pids))
    await eventually(lambda: descendants() == [])
