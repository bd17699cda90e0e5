"""Runs: how they stand, what they kept, while they go on and after."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
from client_runs import BEGAN, BOOM, Writer, write_movie_run

from asyncflow.client import Flow, Run, Task, namespace
from asyncflow.errors import MetaflowNotFound
from asyncflow.events import FailureKind, RunState
from asyncflow.store.local import LocalStore


def test_a_successful_run(root):
    write_movie_run(root, "100")
    run = Run("MovieFlow/100")
    assert run.state is RunState.SUCCEEDED
    assert run.state == "succeeded"
    assert run.successful
    assert run.finished
    assert run.finished_at == datetime.fromtimestamp(BEGAN + 6.5)
    assert run.end_task == Task("MovieFlow/100/end/6")
    assert run.data.xs == [0, 10, 20]
    assert run.first_failure is None
    assert run.first_failed_task is None


def test_a_failed_run_has_an_end_and_says_what_failed_first(root):
    writer = Writer(root, "100")
    writer.succeeded("start", 1, {"items": [1]})
    writer.failed("work", 2, {"x": 1}, path=(0, 0))
    writer.finished(RunState.FAILED, failure=BOOM, task="work/2")
    run = Run("MovieFlow/100")
    assert run.state is RunState.FAILED
    assert not run.successful
    assert not run.finished
    assert run.finished_at == datetime.fromtimestamp(BEGAN + 10)
    assert run.end_task is None
    assert run.data is None
    assert run.first_failure.kind is FailureKind.USER
    assert run.first_failure.message == "ValueError: no such carrier"
    assert run.first_failed_task == Task("MovieFlow/100/work/2")


def test_a_run_whose_end_was_caught_finished_without_success(root):
    writer = Writer(root, "100")
    writer.succeeded("end", 1, {"xs": []}, caught=True)
    writer.finished()
    assert Run("MovieFlow/100").finished
    assert not Run("MovieFlow/100").successful
    assert Flow("MovieFlow").latest_successful_run is None


def test_one_object_shows_a_run_go_on(root):
    writer = Writer(root, "100", created=time.time())
    run = Run("MovieFlow/100")
    assert run.state is RunState.RUNNING
    assert (run.finished, run.successful, run.finished_at, run.end_task, run.data) == (False, False, None, None, None)
    assert list(run) == []
    with pytest.raises(KeyError):
        run["work"]

    writer.succeeded("start", 1, {"items": [1]})
    writer.started("work", 2, path=(0, 0))
    assert [step.id for step in run] == ["work", "start"]
    step = run["work"]
    task = step.task
    assert (task.finished, task.successful, task.finished_at, step.finished_at) == (False, False, None, None)
    assert list(task) == []
    assert repr(task.data) == "<MetaflowData: >"

    writer.succeeded("work", 2, {"x": 1}, path=(0, 0))
    assert task.finished
    assert task.data.x == 1
    assert step.finished_at == task.finished_at

    writer.succeeded("end", 3, {"x": 1})
    assert run.finished
    assert run.finished_at == run.end_task.finished_at  # the engine hasn't said it yet
    assert run.state is RunState.RUNNING
    writer.finished()
    assert run.state is RunState.SUCCEEDED
    assert run.finished_at > run.end_task.finished_at


@pytest.mark.parametrize(
    ("state", "silent", "seen"),
    [
        (RunState.RUNNING, 0, RunState.RUNNING),
        (RunState.RUNNING, 20, RunState.RUNNING),
        (RunState.RUNNING, 31, RunState.LOST),
        (RunState.CANCELLED, 31, RunState.CANCELLED),
        (RunState.FAILED, 31, RunState.FAILED),
    ],
)
def test_a_run_without_a_heartbeat_is_lost(root, state, silent, seen):
    now = time.time()
    writer = Writer(root, "100", created=now - 100, heartbeat=now - silent)
    if state is not RunState.RUNNING:
        writer.finished(state, at=100 - silent)
    assert Run("MovieFlow/100").state is seen
    assert (Run("MovieFlow/100").finished_at is None) == (state is RunState.RUNNING)


def test_the_latest_runs(root):
    write_movie_run(root, "100")
    write_movie_run(root, "101", created=BEGAN + 100)
    failed = Writer(root, "102", created=BEGAN + 200)
    failed.finished(RunState.FAILED)
    Writer(root, "103", created=BEGAN + 300)
    assert Flow("MovieFlow").latest_run == Run("MovieFlow/103")
    assert Flow("MovieFlow").latest_successful_run == Run("MovieFlow/101")


def test_without_a_success_there_is_no_latest_one(root):
    Writer(root, "100")
    assert Flow("MovieFlow").latest_successful_run is None


def test_a_run_of_a_given_store(root, tmp_path):
    write_movie_run(tmp_path / "other", "100", user="bob")
    store = LocalStore.open(tmp_path / "other")
    run = Run.of_store(store, "100")
    store.close()
    assert run == Run._at(run._place, None, ("MovieFlow", "100"))
    assert run.data.xs == [0, 10, 20]
    assert [step.id for step in run] == ["end", "join", "work", "start"]
    with pytest.raises(MetaflowNotFound, match="9"):
        Run.of_store(store, "9")


def test_tags_are_those_of_the_run_at_every_level(root):
    write_movie_run(root, "100", tags=("mine",))
    run = Run("MovieFlow/100")
    system = {"user:ann", "runtime:dev", "python_version:3.11.7", "asyncflow_version:0.1"}
    for found in (run, run["work"], run["work"].task, run["work"].task["x"]):
        assert found.tags == system | {"mine"}
        assert found.user_tags == {"mine"}
        assert found.system_tags == system
    assert Flow("MovieFlow").tags == Flow("MovieFlow").user_tags == Flow("MovieFlow").system_tags == frozenset()


def test_a_run_that_was_deleted_is_not_found(root):
    write_movie_run(root, "100")
    namespace(None)
    run = Run("MovieFlow/100")
    gone = Run._at(run._place, None, ("MovieFlow", "999"))
    with pytest.raises(MetaflowNotFound, match="999"):
        gone.state
