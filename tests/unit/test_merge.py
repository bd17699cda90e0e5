"""``merge_artifacts``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_rig import fail, succeed

from asyncflow import FlowSpec, Parameter, step
from asyncflow.errors import (
    AsyncflowError,
    MissingInMergeArtifactsException,
    UnhandledInMergeArtifactsException,
)
from asyncflow.exception import MetaflowException
from asyncflow.testing import run_step


class MergeFlow(FlowSpec):
    alpha = Parameter("alpha", default=3)
    constant = [1]

    @step
    def start(self):
        self.next(self.a, self.b)

    @step
    def a(self):
        self.next(self.join)

    @step
    def b(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        for name, value in OWN.items():
            setattr(self, name, value)
        self.merge_artifacts(inputs, **OPTIONS)
        self.next(self.end)

    @step
    def end(self):
        pass


OWN: dict = {}
OPTIONS: dict = {}
FIXED = {"alpha": 3, "constant": [1]}


def merged(a, b, *, own=None, **options):
    """What the join has after merging branches that left ``a`` and ``b``; parameters and constants aside."""
    OWN.clear()
    OWN.update(own or {})
    OPTIONS.clear()
    OPTIONS.update(options)
    artifacts = run_step(MergeFlow.join, inputs=[a, b]).artifacts
    assert artifacts.items() >= FIXED.items()
    return {name: value for name, value in artifacts.items() if name not in FIXED}


BOTH = ({"x": 1, "y": 2, "only_a": [1], "_u": 0}, {"x": 1, "y": 3})


def test_what_agrees_and_what_only_one_branch_has_is_taken():
    assert merged(*BOTH, exclude=["y"]) == {"x": 1, "only_a": [1], "_u": 0}
    assert merged(*BOTH, own={"y": 9}) == {"x": 1, "y": 9, "only_a": [1], "_u": 0}


def test_equal_content_is_no_conflict():
    assert merged({"x": [1, 2]}, {"x": [1, 2]}) == {"x": [1, 2]}


def test_a_conflict_names_all_and_sets_nothing():
    with pytest.raises(UnhandledInMergeArtifactsException, match=r"step 'join' of MergeFlow.*'y', 'z'") as caught:
        merged({**BOTH[0], "z": 1}, {**BOTH[1], "z": 2})
    assert caught.value.artifact_names == ["y", "z"]
    assert isinstance(caught.value, MetaflowException)


def test_include_takes_only_what_it_names():
    assert merged(*BOTH, include=["x"]) == {"x": 1}
    assert merged(*BOTH, include=["only_a"]) == {"only_a": [1]}


def test_a_missing_name_is_said_after_conflicts():
    with pytest.raises(MissingInMergeArtifactsException, match="'nosuch'") as caught:
        merged(*BOTH, include=["x", "nosuch"])
    assert caught.value.artifact_names == ["nosuch"]
    with pytest.raises(UnhandledInMergeArtifactsException) as conflict:
        merged(*BOTH, include=["x", "nosuch", "y"])
    assert conflict.value.artifact_names == ["y"]


def test_what_the_join_has_itself_is_not_missing():
    assert merged(*BOTH, own={"q": 1}, include=["q", "alpha", "constant"]) == {"q": 1}
    assert merged(*BOTH, own={"x": 5}, include=["x"]) == {"x": 5}


def test_excluding_what_nobody_has_is_fine():
    assert merged(*BOTH, exclude=["y", "nosuch"]) == {"x": 1, "only_a": [1], "_u": 0}


def test_include_and_exclude_exclude_each_other():
    with pytest.raises(AsyncflowError, match="not both"):
        merged(*BOTH, include=["x"], exclude=["y"])


class TwiceFlow(MergeFlow):
    @step
    def join(self, inputs):
        with pytest.raises(UnhandledInMergeArtifactsException):
            self.merge_artifacts(inputs)
        assert not hasattr(self, "x")
        self.merge_artifacts(inputs, include=["x"])
        assert self.x == [1]
        self.x.append(2)
        self.merge_artifacts([inputs.b])
        self.next(self.end)


def test_merging_may_be_tried_again_and_done_for_some_inputs():
    result = run_step(TwiceFlow.join, inputs=[{"x": [1], "y": 2}, {"x": [1], "y": 3}])
    assert (result.x, result.y) == ([1, 2], 3)


@pytest.mark.parametrize("what", ["inputs.a", "[1]", "[self]"])
def test_only_inputs_can_be_merged(what):
    class WrongFlow(MergeFlow):
        @step
        def join(self, inputs):
            self.merge_artifacts({"inputs.a": inputs.a, "[1]": [1], "[self]": [self]}[what])
            self.next(self.end)

    if what == "inputs.a":
        assert run_step(WrongFlow.join, inputs=[{"x": 1}, {"x": 2}]).x == 1
    else:
        assert "it takes the inputs of the join" in fail(WrongFlow).message


def test_a_value_deleted_in_one_branch_is_taken_from_the_other():
    class DeletedFlow(MergeFlow):
        @step
        def start(self):
            self.x = 1
            self.next(self.a, self.b)

        @step
        def a(self):
            del self.x
            self.next(self.join)

        @step
        def join(self, inputs):
            self.merge_artifacts(inputs)
            self.next(self.end)

    assert succeed(DeletedFlow).data("end")["x"] == 1


values = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 2))


@given(a=values, b=values, own=values, exclude=st.lists(st.sampled_from("abcde")))
def test_merging_is_what_the_page_says(a, b, own, exclude):
    candidates = (a.keys() | b.keys()) - own.keys() - set(exclude)
    conflicts = {name for name in candidates if name in a and name in b and a[name] != b[name]}
    if conflicts:
        with pytest.raises(UnhandledInMergeArtifactsException) as caught:
            merged(a, b, own=own, exclude=exclude)
        assert set(caught.value.artifact_names) == conflicts
    else:
        expected = {**own, **{name: a.get(name, b.get(name)) for name in candidates}}
        assert merged(a, b, own=own, exclude=exclude) == expected
