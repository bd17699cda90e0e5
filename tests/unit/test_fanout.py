from __future__ import annotations

import pytest

from asyncflow.engine.fanout import Cohort, Place
from asyncflow.errors import InvalidTransition
from asyncflow.events import BlobRef, Frame, Next, TaskId, TaskInput


def task_input(step: str, *path: int) -> TaskInput:
    return TaskInput(TaskId(step, path), BlobRef(step.encode(), 1))


SOURCE = task_input("fan")


def foreach(width: int, parent: Place | None = None) -> Cohort:
    return Cohort.of(parent or Place(), SOURCE, Next(("work",), width, "items"))


def test_items_are_told_apart_by_path_and_frame() -> None:
    cohort = foreach(2)
    places = [cohort.name_child(), cohort.name_child()]
    assert [(place.index, place.path) for place in places] == [(0, (0,)), (1, (1,))]
    assert [place.frames for place in places] == [(Frame("fan", "items", i, 2),) for i in range(2)]
    assert cohort.all_named


def test_static_branches_share_path_and_frames_with_the_task_that_split() -> None:
    parent = foreach(3).name_child()
    cohort = Cohort.of(parent, SOURCE, Next(("a", "b")))
    places = [cohort.name_child(), cohort.name_child()]
    assert cohort.all_named
    assert [(place.index, place.path, place.frames) for place in places] == [
        (0, parent.path, parent.frames),
        (1, parent.path, parent.frames),
    ]


def test_nested_items_have_an_index_and_a_frame_for_each_level() -> None:
    inner = foreach(5, foreach(3).name_child())
    inner.name_child()
    place = inner.name_child()
    assert place.path == (0, 1)
    assert [(frame.index, frame.width) for frame in place.frames] == [(0, 3), (1, 5)]


def test_the_last_arrival_makes_the_join_ready_with_all_in_item_order() -> None:
    cohort = foreach(3)
    for _ in range(3):
        cohort.name_child()
    ready = [cohort.arrive(index, "join", task_input("work", index)) for index in (2, 0, 1)]
    assert ready == [False, False, True]
    assert [last.task.path for last in cohort.take_arrived()] == [(0,), (1,), (2,)]


def test_early_arrivals_do_not_make_a_join_of_children_without_a_name() -> None:
    cohort = foreach(2)
    cohort.name_child()
    assert not cohort.arrive(0, "join", task_input("work", 0))
    cohort.name_child()
    assert cohort.arrive(1, "join", task_input("work", 1))


def test_a_fan_out_costs_nothing_for_what_has_no_name() -> None:
    cohort = foreach(10**12)
    cohort.name_child()
    assert len(cohort.arrived) == 1
    assert not cohort.all_named


def test_branches_that_disagree_about_the_join_are_a_bug() -> None:
    cohort = foreach(2)
    cohort.name_child()
    cohort.name_child()
    cohort.arrive(0, "join", task_input("work", 0))
    with pytest.raises(InvalidTransition, match=r"'other'.*'join'"):
        cohort.arrive(1, "other", task_input("work", 1))


def test_arriving_twice_is_a_bug() -> None:
    cohort = foreach(2)
    cohort.name_child()
    cohort.arrive(0, "join", task_input("work", 0))
    with pytest.raises(InvalidTransition, match=r"Child 0 of 2 .*twice"):
        cohort.arrive(0, "join", task_input("work", 0))


def test_a_failure_dooms_all_joins_around_it_and_frees_what_they_kept() -> None:
    outer = foreach(2)
    first, second = outer.name_child(), outer.name_child()
    outer.arrive(first.index, "outer_join", task_input("inner_join", 0))
    inner = foreach(2, second)
    sibling = foreach(1, first)
    inner.name_child()
    inner.doom()
    assert inner.doomed
    assert outer.doomed
    assert outer.arrived == []
    assert not sibling.doomed
    inner.name_child()
    assert not inner.arrive(1, "join", task_input("work", 1, 1))
    assert inner.arrived == []
