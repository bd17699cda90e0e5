"""Which store is read, and that reading works wherever it is done."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from client_runs import BEGAN, Writer, write_movie_run

from asyncflow.client import (
    Flow,
    Metaflow,
    Run,
    Task,
    default_metadata,
    default_namespace,
    get_metadata,
    get_namespace,
    metadata,
    namespace,
    stores,
    use_store,
)
from asyncflow.current import TaskValues, enter_task, leave_task
from asyncflow.errors import MetaflowNamespaceMismatch, MetaflowNotFound


@pytest.fixture
def two_stores(root, tmp_path):
    write_movie_run(root, "100")
    write_movie_run(tmp_path / "b" / ".asyncflow", "200", created=BEGAN + 100)
    return root, tmp_path / "b" / ".asyncflow"


def test_the_store_of_the_settings_is_the_default(two_stores):
    assert get_metadata() == f"local@{two_stores[0]}"
    assert [run.id for run in Flow("MovieFlow")] == ["100"]


@pytest.mark.parametrize("form", ["local@{}", "{}"])
@pytest.mark.parametrize("parent", [False, True])
def test_another_store_can_be_chosen(two_stores, form, parent):
    other = two_stores[1]
    assert metadata(form.format(other.parent if parent else other)) == f"local@{other}"
    assert get_metadata() == f"local@{other}"
    assert [run.id for run in Flow("MovieFlow")] == ["200"]
    assert default_metadata() == f"local@{two_stores[0]}"
    assert [run.id for run in Flow("MovieFlow")] == ["100"]
    metadata(str(other))
    assert metadata("local") == f"local@{two_stores[0]}"


def test_a_store_that_is_not_there_cannot_be_chosen(two_stores, tmp_path):
    with pytest.raises(MetaflowNotFound, match="nothing"):
        metadata(f"local@{tmp_path}/nothing")
    assert get_metadata() == f"local@{two_stores[0]}"


def test_objects_stay_with_their_store(two_stores):
    run = Run("MovieFlow/100")
    flows = Metaflow()
    use_store(two_stores[1])
    assert run.data.xs == [0, 10, 20]
    assert run.parent.latest_run.id == "100"
    assert flows["MovieFlow"].latest_run.id == "100"
    with pytest.raises(MetaflowNotFound):
        Run("MovieFlow/100")


@contextmanager
def in_task(store, ns="user:ann", task_id="3", retry_count=0):
    values = TaskValues(
        flow_name="MovieFlow",
        run_id="200",
        step_name="work",
        task_id=task_id,
        retry_count=retry_count,
        namespace=ns,
        store=str(store),
    )
    token = enter_task(values)
    try:
        yield
    finally:
        leave_task(token)


def test_in_a_step_its_run_is_the_default(two_stores):
    with in_task(two_stores[1]):
        assert get_metadata() == f"local@{two_stores[1]}"
        assert get_namespace() == "user:ann"
        assert Flow("MovieFlow").latest_run.id == "200"
    with in_task(two_stores[1], "team"):
        assert get_namespace() == "team"
        assert Flow("MovieFlow", _namespace_check=False).latest_run is None
    assert get_metadata() == f"local@{two_stores[0]}"
    assert get_namespace() == "user:ann"


def test_what_a_step_chooses_holds_for_its_task_only(two_stores):
    namespace("shared")
    with in_task(two_stores[1]):
        assert namespace(None) is None
        use_store(two_stores[0])
        assert (get_namespace(), get_metadata()) == (None, f"local@{two_stores[0]}")
    with in_task(two_stores[1]):
        assert (get_namespace(), get_metadata()) == ("user:ann", f"local@{two_stores[1]}")
        assert default_namespace() == "user:ann"
    assert (get_namespace(), get_metadata()) == ("shared", f"local@{two_stores[0]}")


def test_a_step_may_always_read_its_own_run(two_stores):
    with in_task(two_stores[1], "team"):
        assert Run("MovieFlow/200")["work"]["3"] == Task("MovieFlow/200/work/3")
        with pytest.raises(MetaflowNamespaceMismatch):
            Flow("MovieFlow")


def test_a_task_sees_itself_run_before_it_is_written_down(two_stores):
    with pytest.raises(MetaflowNotFound):
        Task("MovieFlow/200/work/77", _namespace_check=False)
    with in_task(two_stores[1], task_id="77"):
        task = Task("MovieFlow/200/work/77")
        assert (task.current_attempt, task.finished, task.finished_at) == (0, False, None)
        assert task.created_at == task.created_at
        assert task.metadata_dict["attempt"] == "0"
    with in_task(two_stores[1], task_id="3", retry_count=2):
        task = Task("MovieFlow/200/work/2")
        assert task.finished
        assert Task("MovieFlow/200/work/3", attempt=0).finished_at is not None
    with pytest.raises(MetaflowNotFound):
        Task("MovieFlow/200/work/77")


def test_a_task_sees_its_own_retry(root):
    writer = Writer(root, "200")
    writer.failed("work", 1, {"x": 1}, path=(0, 0))
    with in_task(root, task_id="1", retry_count=1):
        task = Task("MovieFlow/200/work/1")
        assert (task.current_attempt, task.finished_at) == (1, None)
        assert Task("MovieFlow/200/work/1", attempt=0).data.x == 1
    assert Task("MovieFlow/200/work/1").current_attempt == 0


def test_a_store_that_was_deleted_and_made_anew_is_read_anew(root):
    write_movie_run(root, "100")
    flow = Flow("MovieFlow")
    task = Task("MovieFlow/100/work/2")
    assert task.data.x == 0
    shutil.rmtree(root)
    assert list(Metaflow()) == []
    with pytest.raises(MetaflowNotFound, match="no store"):
        flow.latest_run
    write_movie_run(root, "101")
    assert [run.id for run in flow] == ["101"]


def test_few_stores_stay_open(tmp_path, root):
    write_movie_run(root, "100")
    namespace(None)
    for number in range(stores.KEPT_OPEN + 3):
        shutil.copytree(root, tmp_path / str(number))
        use_store(tmp_path / str(number))
        assert Flow("MovieFlow").latest_run.data.xs == [0, 10, 20]
    assert len(stores._open) == stores.KEPT_OPEN


def test_threads_read_at_the_same_time(root):
    write_movie_run(root, "100")
    run = Run("MovieFlow/100")
    results, failures = [], []

    def read():
        try:
            results.extend(sorted(task.data.x for task in run["work"]) for _ in range(20))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert results == [[0, 10, 20]] * 80


def test_a_running_event_loop_does_not_matter(root):
    write_movie_run(root, "100")

    async def read():
        return Run("MovieFlow/100").data.xs

    assert asyncio.run(read()) == [0, 10, 20]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_reads_on(root):
    write_movie_run(root, "100")
    run = Run("MovieFlow/100")
    assert run.data.xs == [0, 10, 20]
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if run.data.xs == [0, 10, 20] and next(step.id for step in run) == "end" else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert run.data.xs == [0, 10, 20]


def test_importing_the_client_is_cheap():
    code = (
        "import sys, asyncflow.client\n"
        "heavy = {'asyncio', 'typer', 'rich', 'structlog', 'cloudpickle', 'anyio', 'aiofiles', 'numpy'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
