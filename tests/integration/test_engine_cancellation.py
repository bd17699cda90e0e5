"""Cancelled at any await, an engine leaves nothing behind: no task, no open run, no half-written store."""

from __future__ import annotations

import asyncio

import pytest

from asyncflow.client import Run
from asyncflow.engine.runner import Engine
from asyncflow.events import RunState
from asyncflow.store.local import LocalStore
from flows.shapes import SquaresFlow


async def turns(n: int) -> None:
    """Let the loop go round ``n`` times."""
    for _ in range(n):
        await asyncio.sleep(0)


def states_in(store) -> list[RunState]:
    with LocalStore.open(store) as opened:
        return [Run.of_store(opened, record.run_id).state for record in opened.reader.runs()]


@pytest.mark.parametrize("first", range(0, 60, 3))
def test_a_cancelled_run_ends_and_leaves_no_task(tmp_path, first):
    store = tmp_path / "store"

    async def main() -> None:
        run = asyncio.create_task(Engine(SquaresFlow, store=store, executor="inline").run(n=5))
        await turns(first)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert asyncio.all_tasks() == {asyncio.current_task()}
        again = await Engine(SquaresFlow, store=store, executor="inline").run(n=3)
        assert again.data.total == 5

    asyncio.run(main())
    *older, newest = reversed(states_in(store))
    assert newest is RunState.SUCCEEDED
    # Cancelled while it was being opened, there may be no run; once there is one, its end is written down.
    assert set(older) <= {RunState.CANCELLED, RunState.SUCCEEDED}


@pytest.mark.parametrize("second", range(0, 12, 2))
def test_cancelled_twice_it_still_ends(tmp_path, second):
    store = tmp_path / "store"

    async def main() -> None:
        run = asyncio.create_task(Engine(SquaresFlow, store=store, executor="inline").run(n=200))
        await turns(40)
        run.cancel()
        await turns(second)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert set(states_in(store)) <= {RunState.CANCELLED}


@pytest.mark.parametrize("after", range(0, 60, 4))
def test_a_loop_that_is_shut_down_under_a_run_records_its_end(tmp_path, after):
    store = tmp_path / "store"

    async def main() -> None:
        handle = Engine(SquaresFlow, store=store, executor="inline").start(n=200)
        await handle.__aenter__()
        await turns(after)
        # asyncio.run cancels what is left: the run's own task.

    asyncio.run(main())
    assert states_in(store) == [RunState.CANCELLED]
