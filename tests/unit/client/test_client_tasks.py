"""Tasks: attempts, artifacts, failures, metadata, output."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime

import pytest
from client_runs import BEGAN, BOOM, Writer, write_movie_run

from asyncflow.client import Run, Task
from asyncflow.errors import BlobDamaged, MetaflowNotFound, StoreError
from asyncflow.events import Failure, FailureKind
from asyncflow.store.local import LocalStore
from asyncflow.store.serializers import to_blob


@pytest.fixture
def movie(root):
    write_movie_run(root, "100")
    return Run("MovieFlow/100")


@pytest.fixture
def writer(root):
    return Writer(root, "100")


# -- attempts --------------------------------------------------------------------------------------


def test_a_task_that_was_tried_again_shows_its_last_attempt(movie):
    task = movie["work"]["3"]
    assert task.current_attempt == 1
    assert task.finished
    assert task.successful
    assert task.exception is None
    assert task.data.x == 10
    assert task.finished_at == datetime.fromtimestamp(BEGAN + 4)


def test_an_earlier_attempt_can_be_asked_for(movie):
    first = Task("MovieFlow/100/work/3", attempt=0)
    assert repr(first) == "Task('MovieFlow/100/work/3', attempt=0)"
    assert first.current_attempt == 0
    assert not first.finished
    assert not first.successful
    assert first.finished_at == datetime.fromtimestamp(BEGAN + 2.5)
    assert first.data.x == -1
    assert repr(first["x"]) == "DataArtifact('MovieFlow/100/work/3/x', attempt=0)"
    assert first["x"].data == -1
    assert first["x"].parent == first
    assert first.exception.type == "builtins.ValueError"
    assert first.metadata_dict["attempt"] == "0"
    assert first.metadata_dict["attempt_ok"] == "False"


def test_an_object_follows_from_attempt_to_attempt(writer):
    writer.failed("work", 1, {"x": 1}, path=(0, 0))
    task = Task("MovieFlow/100/work/1")
    artifact = task["x"]
    assert (task.current_attempt, artifact.data) == (0, 1)
    writer.started("work", 1, number=1, path=(0, 0), at=3.0)
    assert (task.current_attempt, task.finished_at, task.exception) == (1, None, None)
    assert list(task) == []
    with pytest.raises(MetaflowNotFound):
        artifact.data
    writer.succeeded("work", 1, {"x": 2}, number=1, path=(0, 0), at=4.0)
    assert (task.current_attempt, artifact.data, task.finished) == (1, 2, True)


def test_a_failed_task(writer):
    writer.failed("work", 1, {"x": 1}, path=(0, 0))
    task = Task("MovieFlow/100/work/1")
    assert (task.finished, task.successful) == (False, False)
    assert task.finished_at is not None
    assert task.data.x == 1
    error = task.exception
    assert isinstance(error, Exception)
    assert (error.exception, error.type) == ("no such carrier", "builtins.ValueError")
    assert error.stacktrace == str(error) == BOOM.traceback
    assert pickle.loads(pickle.dumps(error)).type == error.type


def test_a_task_that_died_says_how(writer):
    crash = Failure(kind=FailureKind.CRASH, message="the worker was killed by SIGSEGV")
    writer.failed("work", 1, path=(0, 0), failure=crash)
    task = Task("MovieFlow/100/work/1")
    assert (task.exception.type, str(task.exception)) == ("crash", "the worker was killed by SIGSEGV")
    assert list(task) == []
    with pytest.raises(AttributeError, match="none at all"):
        task.data.x


def test_a_caught_task_is_finished_and_not_successful(writer):
    writer.succeeded("work", 1, {"x": 1}, path=(0, 0), caught=True)
    task = Task("MovieFlow/100/work/1")
    assert (task.finished, task.successful, task.exception) == (True, False, None)
    assert task.metadata_dict["attempt_ok"] == "False"


def test_a_cancelled_task(writer):
    writer.cancelled("work", 1, path=(0, 0))
    task = Task("MovieFlow/100/work/1")
    assert (task.finished, task.successful, task.exception) == (False, False, None)
    assert task.finished_at is not None


# -- where it stands in the graph ------------------------------------------------------------------


def test_the_index_is_that_of_the_innermost_foreach(movie):
    # `work` names itself, so the last part of its path counts iterations.
    assert [task.index for task in movie["work"]] == [2, 1, 0]
    assert movie["start"].task.index is None
    assert movie["join"].task.index is None


def test_the_index_inside_of_two_fan_outs(writer):
    writer.succeeded("join", 1, {}, path=(4, 7))
    assert Task("MovieFlow/100/join/1").index == 7


# -- artifacts -------------------------------------------------------------------------------------


def test_names_with_an_underscore_are_hidden_but_there(movie):
    task = movie["work"]["2"]
    assert [artifact.id for artifact in task] == ["alpha", "x"]
    assert "_hidden" in task
    assert task["_hidden"].data == 7
    assert "_hidden" not in task.data
    assert task.artifacts._fields == ("alpha", "x")
    with pytest.raises(AttributeError):
        task.data._hidden
    with pytest.raises(AttributeError):
        task.artifacts._hidden


def test_companions_are_hidden_always(movie):
    task = movie["start"].task
    assert [artifact.id for artifact in task] == ["alpha", "items"]
    assert "items[]" not in task
    assert "items[]" not in task.data
    with pytest.raises(KeyError):
        task["items[]"]


def test_data_has_values_as_attributes(movie):
    data = movie["work"]["2"].data
    assert data.x == 0
    assert "x" in data
    assert "y" not in data
    assert repr(data) == "<MetaflowData: alpha, x>"
    assert {"alpha", "x"} <= set(dir(data))
    assert data._artifacts == {"alpha": movie["work"]["2"]["alpha"], "x": movie["work"]["2"]["x"]}
    assert getattr(data, "y", "default") == "default"
    with pytest.raises(AttributeError, match=r"Task\('MovieFlow/100/work/2'\) has no artifact 'y'. It has: alpha, x"):
        data.y


def test_each_use_loads_a_value_of_its_own(movie):
    data = movie.data
    data.xs.append(99)
    assert data.xs == [0, 10, 20]


def test_data_can_be_copied_and_pickled(movie):
    assert copy.copy(movie.data).xs == [0, 10, 20]
    assert copy.deepcopy(movie.data).xs == [0, 10, 20]
    assert pickle.loads(pickle.dumps(movie.data)).xs == [0, 10, 20]


def test_artifacts_are_like_a_named_tuple(movie):
    task = movie["work"]["2"]
    artifacts = task.artifacts
    assert list(artifacts) == [task["alpha"], task["x"]]
    assert artifacts.x.data == 0
    assert artifacts[1] == task["x"]
    assert len(artifacts) == 2
    assert "x" in artifacts
    assert task["x"] in artifacts
    assert artifacts._asdict()["x"] == task["x"]
    assert {"alpha", "x"} <= set(dir(artifacts))
    assert copy.copy(artifacts).x == task["x"]
    assert repr(artifacts).startswith("MetaflowArtifacts(alpha=DataArtifact('MovieFlow/100/work/2/alpha'), x=")
    with pytest.raises(AttributeError, match="nope"):
        artifacts.nope


def test_an_artifact_knows_its_size_and_hash(movie):
    blob = to_blob([0, 10, 20], "xs")
    artifact = movie.end_task["xs"]
    assert artifact.data == [0, 10, 20]
    assert artifact.size == blob.size
    assert artifact.sha == blob.key.hex()
    assert artifact.sha == movie["join"].task["xs"].sha


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
def test_values_of_every_size_come_back(writer, size):
    writer.succeeded("work", 1, {"x": b"v" * size, "numbers": list(range(size // 100))}, path=(0, 0))
    task = Task("MovieFlow/100/work/1")
    assert task.data.x == b"v" * size
    assert task.data.numbers == list(range(size // 100))


def test_a_damaged_blob_names_the_artifact(writer, root):
    writer.succeeded("work", 1, {"x": "v" * 100_000}, path=(0, 0))
    artifact = Task("MovieFlow/100/work/1")["x"]
    with LocalStore.open(root) as store:
        path = store.blobs.path(bytes.fromhex(artifact.sha))
    with open(path, "r+b") as file:
        file.seek(50)
        file.write(b"w")
    with pytest.raises(BlobDamaged, match=f"MovieFlow/100/work/1/x.*{artifact.sha}"):
        artifact.data


def test_a_damaged_manifest_names_the_task(writer, root):
    writer.succeeded("work", 1, {f"name_{i}": i for i in range(1000)}, path=(0, 0))
    (path,) = [path for path in (root / "blobs").rglob("*") if path.is_file()]
    path.write_bytes(b"")
    with pytest.raises(BlobDamaged, match=r"The artifacts of Task\('MovieFlow/100/work/1'\) can't be read"):
        list(Task("MovieFlow/100/work/1"))


class Unloadable:
    def __reduce__(self):
        return int, ("no number",)


def test_a_value_that_cannot_be_unpickled_names_the_artifact(writer):
    writer.succeeded("work", 1, {"x": Unloadable(), "y": 1}, path=(0, 0))
    task = Task("MovieFlow/100/work/1")
    with pytest.raises(StoreError, match="MovieFlow/100/work/1/x"):
        task.data.x
    assert task.data.y == 1


# -- metadata --------------------------------------------------------------------------------------


def test_metadata(movie):
    task = movie["work"]["3"]
    found = task.metadata_dict
    assert found["attempt"] == "1"
    assert found["attempt_ok"] == "True"
    assert found["attempt-done"] == "1"
    assert found["origin-run-id"] == "None"
    assert found["python_version"] == "3.11.7"
    assert found["script-name"] == "movie.py"
    assert found["worker"] == "pid 7"
    assert "origin-task-id" not in found
    fact = next(fact for fact in task.metadata if fact.type == "attempt_ok")
    assert (fact.name, fact.value, fact.task) == ("attempt_ok", "True", task)
    assert fact.created_at == task.finished_at
    assert task.runtime_name == "dev"


def test_a_running_task_has_no_verdict(writer):
    writer.started("work", 1, path=(0, 0))
    assert "attempt_ok" not in Task("MovieFlow/100/work/1").metadata_dict
    assert Task("MovieFlow/100/work/1").metadata_dict["attempt"] == "0"


# -- output ----------------------------------------------------------------------------------------


def test_output_by_stream_and_line(writer):
    writer.started("work", 1, path=(0, 0))
    task = Task("MovieFlow/100/work/1")
    assert (task.stdout, task.stderr, task.stdout_size) == ("", "", 0)
    writer.printed(1, [("stdout", 1.0, b"one"), ("stderr", 1.5, b"  oops"), ("stdout", 2.0, b"")])
    assert task.stdout == "one\n\n"
    writer.printed(1, [("stdout", 3.0, "zwölf".encode())])
    assert task.stdout == "one\n\nzwölf\n"
    assert task.stderr == "  oops\n"
    assert (task.stdout_size, task.stderr_size) == (12, 7)
    lines = list(task.loglines("stdout"))
    assert [line for _, line in lines] == ["one", "", "zwölf"]
    assert lines[0][0] == datetime.fromtimestamp(BEGAN + 1)
    assert [line for _, line in task.loglines("stderr", as_unicode=False)] == [b"  oops"]


def test_output_is_that_of_the_attempt(writer):
    writer.printed(1, [("stdout", 1.0, b"first")])
    writer.failed("work", 1, path=(0, 0))
    assert Task("MovieFlow/100/work/1").stdout == "first\n"
    writer.printed(1, [("stdout", 3.0, b"second")], number=1)
    writer.succeeded("work", 1, {}, number=1, path=(0, 0), at=4.0)
    assert Task("MovieFlow/100/work/1").stdout == "second\n"
    assert Task("MovieFlow/100/work/1", attempt=0).stdout == "first\n"


def test_bytes_that_are_no_text_are_kept_and_shown_with_replacements(writer):
    writer.started("work", 1, path=(0, 0))
    writer.printed(1, [("stdout", 1.0, b"a\xffb\0c")])
    task = Task("MovieFlow/100/work/1")
    assert task.stdout == "a�b\0c\n"
    assert next(task.loglines("stdout", as_unicode=False))[1] == b"a\xffb\0c"


def test_another_stream_is_an_error(movie):
    with pytest.raises(ValueError, match="'stdout' and 'stderr', not 'stdin'"):
        movie.end_task.loglines("stdin")
