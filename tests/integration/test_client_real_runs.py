"""The client on runs that the engine made, while they go on and after."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys

import pytest

from asyncflow.client import Flow, Metaflow, Run, Task, default_metadata, default_namespace, namespace
from asyncflow.engine.runner import Engine
from asyncflow.errors import MetaflowNamespaceMismatch, RunFailed
from asyncflow.events import FailureKind, RunState, TaskSucceeded
from flows.reading import KeptFlow, SelfReadingFlow

EXECUTORS = ["inline", "local"]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("ASYNCFLOW_STORE", str(tmp_path / ".asyncflow"))
    monkeypatch.setenv("ASYNCFLOW_USER", "ann")
    default_namespace()
    default_metadata()
    yield tmp_path / ".asyncflow"
    default_namespace()
    default_metadata()


def play(flow, **parameters):
    executor = parameters.pop("executor", "local")
    return asyncio.run(Engine(flow, executor=executor, max_workers=2).run(**parameters))


def failed_run(flow, **parameters):
    with pytest.raises(RunFailed) as caught:
        play(flow, **parameters)
    return Run(caught.value.pathspec)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_a_run_kept(store, executor):
    run = play(KeptFlow, executor=executor)
    assert run == Flow("KeptFlow").latest_run == Flow("KeptFlow").latest_successful_run
    assert list(Metaflow()) == [Flow("KeptFlow")]
    assert (run.state, run.successful, run.finished) == (RunState.SUCCEEDED, True, True)
    assert run.finished_at >= run.end_task.finished_at >= run.created_at
    assert run.data.all == [20, 40, 60]
    assert run.data.constant == ("a", 1)
    assert run.data.bad == -1
    assert run.data.table == bytearray(b"t" * 2_000_000)
    assert [step.id for step in run] == ["end", "join", "work", "start"]
    assert run["_parameters"].task.data.bad == -1
    assert {"user:ann", "runtime:dev"} <= run.system_tags


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_tasks_of_a_fan_out(store, executor):
    run = play(KeptFlow, executor=executor)
    tasks = sorted(run["work"], key=lambda task: task.index)
    assert [task.index for task in tasks] == [0, 1, 2]
    assert [task.data.place for task in tasks] == [0, 1, 2]  # as each saw itself while it ran
    assert [task.data.twice for task in tasks] == [20, 40, 60]
    assert all("[]" not in artifact.id for task in tasks for artifact in task)
    start = run["start"].task
    assert start.index is None
    assert start.data.items == [10, 20, 30]
    assert "_secret" not in [artifact.id for artifact in start]
    assert start["_secret"].data == "MainThread"
    assert tasks[0]["items"].sha == start["items"].sha


def test_output(store):
    run = play(KeptFlow)
    task = run["start"].task
    assert task.stdout == "zwölf\na�b\n"
    assert task.stderr == "  from the start\n"
    assert [line for _, line in task.loglines("stdout", as_unicode=False)] == ["zwölf".encode(), b"a\xffb"]
    # The engine dates a line when it comes in, which may be after the worker has dated the task's end.
    assert task.created_at <= next(task.loglines("stdout"))[0] <= run.finished_at


def test_metadata(store):
    found = play(KeptFlow)["start"].task.metadata_dict
    assert found["attempt"] == "0"
    assert found["attempt_ok"] == "True"
    assert found["attempt-done"] == "0"
    assert found["origin-run-id"] == "None"
    assert found["user"] == "ann"
    assert found["runtime"] == "dev"
    assert found["python_version"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert found["script-name"].endswith("reading.py")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_failed_run(store, executor):
    run = failed_run(KeptFlow, bad=1, executor=executor)
    assert (run.state, run.successful, run.finished, run.data) == (RunState.FAILED, False, False, None)
    assert run.finished_at is not None
    assert run.first_failure.kind is FailureKind.USER
    task = run.first_failed_task
    assert task.parent.id == "work"
    assert (task.index, task.finished, task.successful) == (1, False, False)
    assert task.finished_at is not None
    assert task.data.before == 20
    assert "twice" not in task
    assert task.exception.type.endswith("ValueError")
    assert task.exception.exception == "item 1 is bad"
    assert 'raise ValueError(f"item {self.index} is bad")' in str(task.exception)
    assert Flow("KeptFlow").latest_run == run
    assert Flow("KeptFlow").latest_successful_run is None


@pytest.mark.parametrize("executor", EXECUTORS)
def test_steps_read_their_own_run(store, executor):
    first = play(SelfReadingFlow, executor=executor)
    second = play(SelfReadingFlow, executor=executor)
    middle = second["middle"].task.data
    assert middle.seen == 5
    assert middle.state == "running"
    assert middle.namespace_here == "user:ann"
    assert middle.latest == second.pathspec
    assert middle.before == first
    assert first["middle"].task.data.before is None
    assert second.data.run == second
    assert second.data.me == second.end_task
    assert second.data.namespace_after == "user:ann"  # what a step chooses holds for its task


def test_a_run_in_progress_shows_each_task_once_it_was_reported(store):
    async def watch():
        reported = 0
        async with Engine(KeptFlow, max_workers=2).start() as handle:
            run = Run(handle.pathspec)
            assert run.state is RunState.RUNNING
            assert run.finished_at is None
            async for event in handle.events():
                if isinstance(event, TaskSucceeded):
                    reported += 1
                    task = run[event.attempt.task.step][event.attempt.serial]
                    assert task.finished
                    assert task.data.constant == ("a", 1)
            assert run.successful
        return reported

    assert asyncio.run(watch()) == 6


def test_two_users_of_one_store(store, monkeypatch):
    mine = play(KeptFlow)
    monkeypatch.setenv("ASYNCFLOW_USER", "bob")
    with pytest.raises(MetaflowNamespaceMismatch):
        Run(mine.pathspec)
    his = play(KeptFlow)
    assert list(Flow("KeptFlow")) == [his]
    namespace(None)
    assert list(Flow("KeptFlow")) == [his, mine]


def test_a_run_of_another_store_stays_with_it(store, tmp_path):
    run = asyncio.run(Engine(KeptFlow, store=tmp_path / "other", executor="inline").run())
    assert run.data.all == [20, 40, 60]
    assert pickle.loads(pickle.dumps(run)).data.all == [20, 40, 60]
    assert list(Metaflow()) == []


def test_another_program_reads_it(store, tmp_path):
    run = play(KeptFlow)
    body = tmp_path / "task.pickle"
    body.write_bytes(pickle.dumps(Task(f"{run.end_task.pathspec}")))
    code = (
        "import pickle, sys\n"
        "from asyncflow import Flow\n"
        "print(Flow('KeptFlow').latest_run.data.all)\n"
        "print(len(pickle.load(open(sys.argv[1], 'rb')).data.table))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(body)], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("[20, 40, 60]\n2000000\n", "")
