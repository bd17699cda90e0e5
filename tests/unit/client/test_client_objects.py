"""What all objects of the client share: paths, children, equality, errors, pickling."""

from __future__ import annotations

import pickle
from datetime import datetime

import pytest
from client_runs import BEGAN, Writer, write_movie_run

from asyncflow.client import Asyncflow, DataArtifact, Flow, Metaflow, Run, Step, Task, namespace
from asyncflow.errors import MetaflowInvalidPathspec, MetaflowNotFound

RUN = "MovieFlow/101"
LEVELS = [
    (Flow, "MovieFlow"),
    (Run, RUN),
    (Step, f"{RUN}/work"),
    (Task, f"{RUN}/work/3"),
    (DataArtifact, f"{RUN}/work/3/x"),
]


@pytest.fixture
def two_runs(root):
    write_movie_run(root, "100", created=BEGAN, tags=("first",))
    write_movie_run(root, "101", created=BEGAN + 100, tags=("second",))
    return root


@pytest.mark.parametrize(("kind", "path"), LEVELS)
def test_every_level_has_a_path_an_id_and_a_parent(two_runs, kind, path):
    found = kind(path)
    assert found.pathspec == path
    assert found.path_components == path.split("/")
    assert found.id == path.split("/")[-1]
    assert repr(found) == f"{kind.__name__}('{path}')"
    assert str(found) == repr(found)
    if kind is Flow:
        assert found.parent is None
    else:
        assert found.parent.pathspec == path.rpartition("/")[0]
        assert found in found.parent
        assert found.id in found.parent
        assert found.parent[found.id] == found


@pytest.mark.parametrize(("kind", "path"), LEVELS)
def test_equality_and_hash_go_by_path(two_runs, kind, path):
    assert kind(path) == kind(path)
    assert {kind(path): 1}[kind(path)] == 1
    assert kind(path) != path
    assert Run("MovieFlow/100") != Run("MovieFlow/101")
    assert Task(f"{RUN}/work/3") != Task(f"{RUN}/work/3", attempt=0)


@pytest.mark.parametrize(("kind", "path"), LEVELS)
def test_pickling_keeps_the_store_and_asks_for_no_namespace(two_runs, kind, path, monkeypatch, tmp_path):
    body = pickle.dumps(kind(path))
    namespace("user:bob")
    monkeypatch.setenv("ASYNCFLOW_STORE", str(tmp_path / "elsewhere"))
    back = pickle.loads(body)
    assert back == kind._at(back._place, None, tuple(path.split("/")))
    assert back.created_at is not None
    assert back.is_in_namespace()


def test_pickling_keeps_the_attempt(two_runs):
    first = Task(f"{RUN}/work/3", attempt=0)
    assert pickle.loads(pickle.dumps(first)).data.x == -1
    assert pickle.loads(pickle.dumps(first["x"])).data == -1


@pytest.mark.parametrize(("kind", "path"), LEVELS)
@pytest.mark.parametrize(
    "change", [lambda p: p + "/more", lambda p: p + "/", lambda p: "/" + p, lambda _: "", lambda _: 3]
)
def test_a_path_of_another_depth_is_refused(two_runs, kind, path, change):
    with pytest.raises(MetaflowInvalidPathspec, match="Expects " + kind.__name__):
        kind(change(path))


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (Flow, "NopeFlow"),
        (Run, "MovieFlow/1"),
        (Run, "NopeFlow/101"),
        (Step, f"{RUN}/nope"),
        (Step, "NopeFlow/101/work"),
        (Task, f"{RUN}/work/99"),
        (Task, f"{RUN}/start/3"),
        (Task, f"{RUN}/work/three"),
        (Task, f"{RUN}/work/03"),
        (DataArtifact, f"{RUN}/work/3/nope"),
        (DataArtifact, f"{RUN}/start/1/items[]"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(two_runs, kind, path):
    with pytest.raises(MetaflowNotFound) as caught:
        kind(path)
    assert f"{kind.__name__}('{path}') does not exist in the store {two_runs}" in str(caught.value)


def test_an_attempt_that_is_not_there_is_said_with_those_that_are(two_runs):
    with pytest.raises(MetaflowNotFound, match=r"attempt=2\) does not exist. The attempts of the task are: 0, 1"):
        Task(f"{RUN}/work/3", attempt=2)


def test_where_there_is_no_store_nothing_is_found(root):
    with pytest.raises(MetaflowNotFound, match=r"no store in .*asyncflow.*ASYNCFLOW_STORE"):
        Flow("MovieFlow")
    with pytest.raises(MetaflowNotFound):
        Metaflow()["MovieFlow"]
    assert list(Metaflow()) == []
    assert "MovieFlow" not in Metaflow()
    assert not root.exists()


def test_children_come_newest_first(two_runs):
    assert [run.id for run in Flow("MovieFlow")] == ["101", "100"]
    assert [step.id for step in Run(RUN)] == ["end", "join", "work", "start"]
    assert [task.id for task in Step(f"{RUN}/work")] == ["4", "3", "2"]
    assert [artifact.id for artifact in Task(f"{RUN}/work/3")] == ["alpha", "x"]
    assert [run.id for run in Flow("MovieFlow").runs()] == ["101", "100"]
    assert [step.id for step in Run(RUN).steps()] == ["end", "join", "work", "start"]
    assert [task.id for task in Step(f"{RUN}/work").tasks()] == ["4", "3", "2"]


def test_children_can_be_filtered_by_tags(two_runs):
    assert [run.id for run in Flow("MovieFlow").runs("first")] == ["100"]
    assert list(Flow("MovieFlow").runs("first", "second")) == []
    assert len(list(Run(RUN).steps("second", "runtime:dev"))) == 4
    assert list(Run(RUN).steps("first")) == []
    assert len(list(Step(f"{RUN}/work").tasks("second"))) == 3
    assert list(Step(f"{RUN}/work").tasks("first")) == []


@pytest.mark.parametrize("parent", ["MovieFlow", RUN, f"{RUN}/work", f"{RUN}/work/3"])
def test_an_unknown_child_is_a_key_error(two_runs, parent):
    found = [Flow, Run, Step, Task][parent.count("/")](parent)
    with pytest.raises(KeyError, match="nope"):
        found["nope"]
    assert "nope" not in found
    assert None not in found
    assert "" not in found


def test_numbers_do_for_ids(two_runs):
    assert Flow("MovieFlow")[101] == Run(RUN)
    assert 3 in Step(f"{RUN}/work")
    assert Step(f"{RUN}/work")[3].data.x == 10


def test_an_object_is_only_in_its_own_parent(two_runs):
    assert Task(f"{RUN}/work/3") not in Step("MovieFlow/100/work")
    assert Run("MovieFlow/100")["work"] not in Run(RUN)


def test_the_parameters_are_a_step_that_is_not_listed(two_runs):
    parameters = Run(RUN)["_parameters"].task
    assert parameters.pathspec == f"{RUN}/_parameters/0"
    assert parameters["alpha"].data == 3
    assert parameters.finished
    assert parameters.index is None
    assert "_parameters" in Run(RUN)
    assert "_parameters" not in [step.id for step in Run(RUN)]


def test_all_flows(two_runs):
    Writer(two_runs, "102", flow="OtherFlow", created=BEGAN + 200)
    assert Asyncflow is Metaflow
    assert [flow.id for flow in Metaflow()] == ["OtherFlow", "MovieFlow"]
    assert Metaflow().flows == list(Metaflow())
    assert Metaflow()["MovieFlow"] == Flow("MovieFlow")
    assert "OtherFlow" in Metaflow()
    assert "MovieFlow" in repr(Metaflow()["MovieFlow"])
    with pytest.raises(MetaflowNotFound):
        Metaflow()["Nope"]
    assert str(two_runs) in repr(Metaflow())


def test_times_are_naive_and_local(two_runs):
    assert Flow("MovieFlow").created_at == datetime.fromtimestamp(BEGAN)
    assert Run(RUN).created_at == datetime.fromtimestamp(BEGAN + 100)
    assert Run(RUN).finished_at == datetime.fromtimestamp(BEGAN + 106.5)
    assert Step(f"{RUN}/work").created_at == datetime.fromtimestamp(BEGAN + 101)
    assert Step(f"{RUN}/work").finished_at == datetime.fromtimestamp(BEGAN + 104)
    assert Task(f"{RUN}/work/3").finished_at == datetime.fromtimestamp(BEGAN + 104)
    assert Task(f"{RUN}/work/3", attempt=0).finished_at == datetime.fromtimestamp(BEGAN + 102.5)
    assert DataArtifact(f"{RUN}/work/3/x").finished_at == datetime.fromtimestamp(BEGAN + 104)
    assert DataArtifact(f"{RUN}/work/3/x").created_at == datetime.fromtimestamp(BEGAN + 104)


def test_a_plain_run_comes_from_nowhere_and_a_resumed_one_from_its_origin(two_runs):
    for kind, path in LEVELS:
        assert kind(path).origin_pathspec is None
    Writer(two_runs, "103", origin="101").started("work", 1)
    assert Run("MovieFlow/103").origin_pathspec == RUN
    assert Step("MovieFlow/103/work").origin_pathspec == f"{RUN}/work"


def test_notebooks_complete_keys(two_runs):
    assert Flow("MovieFlow")._ipython_key_completions_() == ["101", "100"]
    assert Step(f"{RUN}/work")._ipython_key_completions_() == ["4", "3", "2"]
