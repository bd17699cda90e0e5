"""A zygote that is started before anybody knows which flow it is for."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from asyncflow.engine.runner import Engine
from asyncflow.executors import launch
from flows.shapes import LinearFlow


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    launch.dismiss()


def test_the_next_run_takes_what_was_started_ahead(tmp_path):
    launch.ahead()
    (started,) = psutil.Process().children()
    run = asyncio.run(Engine(LinearFlow, store=tmp_path / "store").run())
    assert run.successful
    assert not started.is_running()
    assert psutil.Process().children() == []


def test_what_nobody_asked_for_is_ended():
    launch.ahead()
    launch.ahead()
    started = psutil.Process().children()
    assert len(started) == 2
    launch.dismiss()
    assert not any(process.is_running() for process in started)


def test_two_runs_are_not_given_one_process(tmp_path):
    launch.ahead()

    async def main() -> list[int]:
        runs = await asyncio.gather(*(Engine(LinearFlow, store=tmp_path / "store").run(alpha=n) for n in (2, 3)))
        return [run.data.y for run in runs]

    assert asyncio.run(main()) == [40, 60]
