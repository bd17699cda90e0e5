"""``kill -9`` of the engine in the middle of a run: nothing that was reported done is lost, nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from cli_rig import Asyncflow, until

from asyncflow.client import Run
from asyncflow.events import RunState
from asyncflow.store.local import LocalStore

FLOWS = Path(__file__).parents[1] / "flows"


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("reported", [1, 300, 2500])
def test_what_was_reported_done_is_there_after_the_engine_was_killed(tmp_path, reported):
    asyncflow = Asyncflow(tmp_path)
    engine = asyncflow.start("run", f"{FLOWS / 'shapes.py'}:SquaresFlow", "--n", 20_000, "--json")
    done = []
    for line in engine.stdout:
        event = json.loads(line)
        if event["type"] == "TaskSucceeded" and event["step"] == "work":
            done.append(event)
            if len(done) == reported:
                break
    family = psutil.Process(engine.pid).children(recursive=True)
    assert len(family) >= 2
    engine.send_signal(signal.SIGKILL)
    done += [event for event in map(whole, engine.stdout) if event and event["type"] == "TaskSucceeded"]
    engine.wait()
    engine.stdout.close()
    engine.stderr.close()
    until(lambda: not any(map(alive, family)), "all of the engine's processes are gone")

    with LocalStore.open(tmp_path / ".asyncflow", create=False) as store:
        with sqlite3.connect(tmp_path / ".asyncflow/asyncflow.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()
        run = Run.of_store(store, done[0]["run"].split("/")[1])
        assert run.state is RunState.RUNNING  # until its heartbeat is half a minute old
        for event in done:
            task = run[event["step"]][event["id"]]
            assert task.successful
            if event["step"] == "work":
                assert task.data.square == event["path"][0] ** 2
    asyncflow("verify")
    assert asyncflow("run", f"{FLOWS / 'shapes.py'}:SquaresFlow").returncode == 0


def whole(line: str) -> dict | None:
    """The event of a line; None for one that the kill cut short."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def test_long_tasks_and_what_they_started_die_with_the_engine(tmp_path):
    asyncflow = Asyncflow(tmp_path)
    engine = asyncflow.start(
        "run", f"{FLOWS / 'trouble.py'}:WaitingFlow", "--folder", tmp_path, "--child", "true", "--stubborn", "true",
        "--max-workers", 2,
    )  # fmt: skip
    until(lambda: all((tmp_path / f"pid-{i}").exists() for i in range(2)), "both tasks wait")
    children = [psutil.Process(int((tmp_path / f"child-{i}").read_text())) for i in range(2)]
    family = [*psutil.Process(engine.pid).children(recursive=True), *children]
    engine.send_signal(signal.SIGKILL)
    engine.communicate()
    until(lambda: not any(map(alive, family)), "all of the engine's processes are gone")


def test_an_embedded_engine_that_is_killed_leaves_nothing(tmp_path):
    program = (
        "import asyncio, sys\n"
        "from asyncflow import Engine\n"
        "from flows.trouble import WaitingFlow\n"
        f"asyncio.run(Engine(WaitingFlow, store={str(tmp_path / 'store')!r}).run(folder={str(tmp_path)!r}, n=1))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(FLOWS.parent)}
    engine = subprocess.Popen([sys.executable, "-c", program], env=environment)
    until((tmp_path / "pid-0").exists, "the task waits")
    family = psutil.Process(engine.pid).children(recursive=True)
    engine.kill()
    engine.wait()
    until(lambda: not any(map(alive, family)), "all of the engine's processes are gone")
