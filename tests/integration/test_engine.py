"""The engine with real workers and a real store, on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from asyncflow.engine.runner import Engine
from asyncflow.errors import ParameterError, RunCancelled, RunFailed, UsageError
from asyncflow.events import FailureKind, OnFailure, RunFinished, RunState, TaskLog, TaskStarted, TaskSucceeded
from asyncflow.executors.local import LocalExecutor
from flows.shapes import BranchFlow, CountdownFlow, LinearFlow, NestedFlow, SquaresFlow, SwitchFlow, TalkingFlow
from flows.trouble import BadForeachFlow, OneBadItemFlow, WaitingFlow, WrongNextFlow

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
def store(tmp_path):
    return tmp_path / ".asyncflow"


async def until(condition, *, seconds=20.0):
    """Wait for ``condition`` by asking again and again; fails after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)  # polling a condition, not waiting for a time


async def test_a_linear_flow_carries_its_artifacts_to_the_end(store):
    run = await Engine(LinearFlow, store=store).run(alpha=3)
    assert run.successful
    assert run.data.y == 60
    assert run.data.alpha == 3
    assert [step.id for step in run] == ["end", "middle", "start"]
    assert run["end"].task.stdout == "hello 60\n"


async def test_a_fan_out_joins_in_item_order(store):
    run = await Engine(SquaresFlow, store=store).run(n=50)
    assert run["join"].task.data.squares == [i * i for i in range(50)]
    assert len(list(run["work"].tasks())) == 50


async def test_nested_fan_outs_join_inside_out(store):
    run = await Engine(NestedFlow, store=store).run()
    assert run.data.words == ["a1", "a2", "b1", "b2", "c1", "c2"]
    assert run.data.stacks[3] == [(1, 3, "b"), (1, 2, 2)]


async def test_static_branches_come_in_declaration_order_and_merge(store):
    run = await Engine(BranchFlow, store=store).run()
    assert run.data.sides == ["left", "right"]
    assert run.data.by_name == ("left", "right")
    assert (run.data.only_left, run.data.only_right, run.data.common) == ("l", "r", {"k": 1})


@pytest.mark.parametrize(("way", "took"), [("fast", "quick"), ("slow", "careful")])
async def test_a_switch_takes_one_way(store, way, took):
    run = await Engine(SwitchFlow, store=store).run(way=way)
    assert run.data.took == took
    assert len(list(run)) == 3


async def test_recursion_makes_a_task_for_each_iteration(store):
    run = await Engine(CountdownFlow, store=store).run(n=4)
    assert run.data.seen == [4, 3, 2, 1]
    assert len(list(run["tick"].tasks())) == 4


@pytest.mark.parametrize("isolation", ["step", "task"])
async def test_both_isolations_give_the_same(store, isolation):
    run = await Engine(SquaresFlow, store=store, isolation=isolation, max_workers=2).run(n=20)
    assert run.successful


async def test_the_inline_executor_gives_the_same(store):
    run = await Engine(NestedFlow, store=store, executor="inline").run()
    assert run.data.words == ["a1", "a2", "b1", "b2", "c1", "c2"]


@pytest.mark.parametrize(
    ("way", "kind", "says"),
    [
        ("raise", FailureKind.USER, "item 2 is bad"),
        ("exit", FailureKind.CRASH, "3"),
        ("segfault", FailureKind.CRASH, "SIGSEGV"),
        ("kill", FailureKind.CRASH, "SIGKILL"),
        ("sysexit", FailureKind.USER, "SystemExit"),
        ("unpicklable", FailureKind.USER, "lock"),
    ],
)
async def test_one_bad_task_fails_the_run_and_says_how(store, way, kind, says):
    with pytest.raises(RunFailed) as caught:
        await Engine(OneBadItemFlow, store=store, max_workers=2).run(way=way)
    assert caught.value.failure.kind is kind
    assert says in str(caught.value)
    from asyncflow.client import Run, namespace
    from asyncflow.store.local import LocalStore

    namespace(None)
    local = LocalStore.open(store, create=False)
    run = Run.of_store(local, caught.value.pathspec.split("/")[1])
    assert run.state is RunState.FAILED
    assert not run.successful
    assert not run.finished
    assert run.finished_at is not None
    local.close()


async def test_keep_going_runs_what_does_not_need_the_failed_task(store):
    items = []
    async with Engine(OneBadItemFlow, store=store, on_failure=OnFailure.KEEP_GOING, max_workers=1).start() as handle:
        async for event in handle.events():
            if isinstance(event, TaskSucceeded) and event.attempt.task.step == "work":
                items.append(event.attempt.task.path[0])
        with pytest.raises(RunFailed):
            await handle.result()
    assert sorted(items) == [0, 1, 3]


async def test_a_next_that_differs_from_the_graph_fails_the_task(store):
    with pytest.raises(RunFailed, match="next"):
        await Engine(WrongNextFlow, store=store).run()


@pytest.mark.parametrize(("what", "says"), [("none", "iterable"), ("int", "iterable"), ("empty", "start")])
async def test_a_bad_foreach_says_what_is_wrong(store, what, says):
    with pytest.raises(RunFailed, match=says):
        await Engine(BadForeachFlow, store=store).run(what=what)


async def test_too_many_splits_are_refused(store):
    with pytest.raises(RunFailed, match="5"):
        await Engine(SquaresFlow, store=store, max_num_splits=5).run(n=6)


async def test_wrong_parameters_are_said_before_anything_is_written(store):
    with pytest.raises(ParameterError, match="alpha"):
        await Engine(LinearFlow, store=store).run(alpha="many")
    with pytest.raises(ParameterError, match="beta"):
        await Engine(LinearFlow, store=store).run(beta=1)
    assert not store.exists()


@pytest.mark.parametrize("number", [0, -1, 1_000_001, 10**20])
async def test_a_number_of_workers_that_cannot_be_is_refused(number, store):
    with pytest.raises(UsageError, match="from 1 to 1,000,000"):
        Engine(LinearFlow, store=store, max_workers=number)


async def test_a_handle_cannot_be_entered_twice(store):
    handle = Engine(LinearFlow, store=store).start()
    async with handle:
        pass
    with pytest.raises(UsageError):
        await handle.__aenter__()


async def test_events_come_in_order_and_end_with_the_run(store):
    async with Engine(LinearFlow, store=store).start() as handle:
        events = [event async for event in handle.events()]
    ends = [event.attempt.task.step for event in events if isinstance(event, TaskSucceeded)]
    assert ends == ["start", "middle", "end"]
    assert [event.line for event in events if isinstance(event, TaskLog)] == [b"hello 40"]
    assert isinstance(events[-1], RunFinished)
    assert events[-1].state is RunState.SUCCEEDED
    again = [event async for event in handle.events()]
    assert again == events[-1:]


async def test_a_start_comes_before_its_lines_and_its_lines_before_its_end(store):
    speaking, lines = set(), 0
    async with Engine(TalkingFlow, store=store, max_workers=2).start(n=300) as handle:
        async for event in handle.events():
            if isinstance(event, TaskStarted):
                speaking.add(event.attempt)
            elif isinstance(event, TaskLog):
                assert event.attempt in speaking
                lines += 1
            elif isinstance(event, TaskSucceeded):
                speaking.remove(event.attempt)
    assert lines == 600


async def waiting_pids(folder: Path, n: int) -> list[int]:
    await until(lambda: all((folder / f"pid-{i}").exists() for i in range(n)))
    return [int((folder / f"pid-{i}").read_text()) for i in range(n)]


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_cancelling_the_waiter_stops_the_workers_and_lets_them_clean_up(store, tmp_path):
    waiter = asyncio.create_task(Engine(WaitingFlow, store=store, max_workers=2).run(folder=str(tmp_path)))
    pids = await waiting_pids(tmp_path, 2)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert all(gone(pid) for pid in pids)
    assert (tmp_path / "cleaned-0").exists()
    assert (tmp_path / "cleaned-1").exists()


async def test_a_timeout_around_the_run_works(store, tmp_path):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await Engine(WaitingFlow, store=store, max_workers=2).run(folder=str(tmp_path))


async def test_a_second_cancellation_skips_the_grace_period(store, tmp_path):
    engine = Engine(WaitingFlow, store=store, max_workers=2, grace=1000.0)
    waiter = asyncio.create_task(engine.run(folder=str(tmp_path), stubborn=True))
    pids = await waiting_pids(tmp_path, 2)
    waiter.cancel()
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(waiter), 20)
    assert all(gone(pid) for pid in pids)


async def test_a_handle_that_is_cancelled_says_why(store, tmp_path):
    async with Engine(WaitingFlow, store=store, max_workers=2).start(folder=str(tmp_path)) as handle:
        await waiting_pids(tmp_path, 2)
        handle.cancel("enough of it")
        with pytest.raises(RunCancelled, match="enough of it"):
            await handle.result()


async def test_an_exception_in_the_block_cancels_the_run(store, tmp_path):
    with pytest.raises(LookupError):
        async with Engine(WaitingFlow, store=store, max_workers=2).start(folder=str(tmp_path)) as handle:
            await waiting_pids(tmp_path, 2)
            raise LookupError
    async for event in handle.events():
        assert event.state is RunState.CANCELLED


async def test_subprocesses_of_a_step_die_with_the_run(store, tmp_path):
    engine = Engine(WaitingFlow, store=store, max_workers=2)
    waiter = asyncio.create_task(engine.run(folder=str(tmp_path), child=True))
    await waiting_pids(tmp_path, 2)
    children = [int((tmp_path / f"child-{i}").read_text()) for i in range(2)]
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await until(lambda: all(gone(pid) for pid in children))


async def test_subprocesses_in_sessions_of_their_own_die_with_a_zygote_that_is_killed(store, tmp_path):
    waiter = asyncio.create_task(Engine(WaitingFlow, store=store, max_workers=2).run(folder=str(tmp_path), child=True))
    await waiting_pids(tmp_path, 2)
    children = [int((tmp_path / f"child-{i}").read_text()) for i in range(2)]
    (zygote,) = psutil.Process().children()
    zygote.kill()
    await until(lambda: all(gone(pid) for pid in children))
    (tmp_path / "go").touch()
    assert (await waiter).successful  # what was lost with the zygote was run again


async def test_engines_share_one_open_executor(store, tmp_path):
    async with LocalExecutor(max_workers=2) as executor:
        runs = await asyncio.gather(
            Engine(SquaresFlow, store=store, executor=executor).run(n=30),
            Engine(SquaresFlow, store=store, executor=executor).run(n=20),
            Engine(LinearFlow, store=tmp_path / "other", executor=executor).run(),
        )
    assert [run.successful for run in runs] == [True, True, True]
    assert len({run.id for run in runs}) == 3


async def test_engines_of_their_own_run_at_once_on_one_store(store):
    runs = await asyncio.gather(*(Engine(SquaresFlow, store=store, max_workers=1).run(n=10) for _ in range(3)))
    assert all(run.data.total == 285 for run in runs)


async def test_no_descendant_outlives_a_run(store):
    before = {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
    await Engine(SquaresFlow, store=store, max_workers=2).run(n=10)
    after = {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
    assert after <= before
