"""Namespaces: what they hide, and what keeps them."""

from __future__ import annotations

import pytest
from client_runs import BEGAN, write_movie_run

from asyncflow.client import DataArtifact, Flow, Metaflow, Run, Step, Task, default_namespace, get_namespace, namespace
from asyncflow.errors import MetaflowNamespaceMismatch


@pytest.fixture
def of_two(root):
    write_movie_run(root, "100", user="ann", tags=("shared",))
    write_movie_run(root, "101", user="bob", created=BEGAN + 100, tags=("shared", "bobs"))
    return root


def test_the_default_is_the_user(of_two, monkeypatch):
    assert get_namespace() == "user:ann"
    monkeypatch.setenv("ASYNCFLOW_USER", "bob")
    assert get_namespace() == "user:bob"
    monkeypatch.setenv("ASYNCFLOW_NAMESPACE", "shared")
    assert default_namespace() == "shared"


def test_a_choice_stands_until_the_default_is_asked_for(of_two):
    assert namespace(None) is None
    assert get_namespace() is None
    assert namespace("bobs") == "bobs"
    assert get_namespace() == "bobs"
    assert default_namespace() == "user:ann"
    assert get_namespace() == "user:ann"


def test_a_namespace_is_a_string_or_none(of_two):
    with pytest.raises(TypeError, match="int"):
        namespace(3)


def test_the_user_sees_her_own(of_two):
    assert [run.id for run in Flow("MovieFlow")] == ["100"]
    assert Flow("MovieFlow").latest_run.id == "100"
    namespace("user:bob")
    assert [run.id for run in Flow("MovieFlow")] == ["101"]


def test_none_sees_all(of_two):
    namespace(None)
    assert [run.id for run in Flow("MovieFlow")] == ["101", "100"]
    assert [run.id for run in Flow("MovieFlow").runs("user:ann")] == ["100"]


def test_any_tag_is_a_namespace(of_two):
    namespace("shared")
    assert [run.id for run in Flow("MovieFlow")] == ["101", "100"]
    assert [run.id for run in Flow("MovieFlow").runs("bobs")] == ["101"]


@pytest.mark.parametrize("ns", ["", "nobody"])
def test_an_empty_namespace_matches_nothing(of_two, ns):
    namespace(ns)
    assert list(Metaflow()) == []
    assert "MovieFlow" not in Metaflow()
    with pytest.raises(MetaflowNamespaceMismatch):
        Flow("MovieFlow")
    with pytest.raises(MetaflowNamespaceMismatch):
        Metaflow()["MovieFlow"]


@pytest.mark.parametrize(
    ("kind", "below"), [(Run, ""), (Step, "/work"), (Task, "/work/3"), (DataArtifact, "/work/3/x")]
)
def test_direct_access_to_another_namespace_is_refused(of_two, kind, below):
    path = "MovieFlow/101" + below
    with pytest.raises(MetaflowNamespaceMismatch) as caught:
        kind(path)
    assert f"{kind.__name__}('{path}') is not in the namespace 'user:ann'" in str(caught.value)
    assert "namespace(None)" in str(caught.value)
    namespace(None)
    assert kind(path).pathspec == path


def test_a_run_of_a_flow_in_another_namespace_is_refused_but_known(of_two):
    flow = Flow("MovieFlow")
    assert "101" in flow
    with pytest.raises(MetaflowNamespaceMismatch):
        flow["101"]


def test_objects_keep_the_namespace_they_were_made_in(of_two):
    namespace(None)
    run = Run("MovieFlow/101")
    namespace("user:ann")
    assert run.is_in_namespace()
    assert [other.id for other in run.parent] == ["101", "100"]
    assert run["work"]["3"].parent.parent.parent.latest_run == run
    assert run.data.xs == [0, 10, 20]


def test_a_tag_can_move_a_run_into_a_namespace(of_two):
    run = Run("MovieFlow/100")
    namespace("prod")
    with pytest.raises(MetaflowNamespaceMismatch):
        Flow("MovieFlow")
    run.add_tag("prod")
    assert Flow("MovieFlow").latest_run == run
