"""Fan-outs over sequences that somebody wrote: what iterating them gives is what there is."""

from __future__ import annotations

from collections import UserList
from typing import NamedTuple

import pytest
from task_rig import succeed

from asyncflow import FlowSpec, step


class SaysFive(list):
    def __len__(self):
        return 5


class CountsFromOne(list):
    def __getitem__(self, index):
        return super().__getitem__(index - 1)


class Three(NamedTuple):
    a: int
    b: int
    c: int


def flow_over(value):
    class OverFlow(FlowSpec):
        @step
        def start(self):
            self.items = value
            self.next(self.work, foreach="items")

        @step
        def work(self):
            self.seen = self.input
            self.next(self.join)

        @step
        def join(self, inputs):
            self.merge_artifacts(inputs, include=["items"])
            self.all = [task.seen for task in inputs]
            self.next(self.end)

        @step
        def end(self):
            pass

    return OverFlow


@pytest.mark.parametrize(
    "value",
    [SaysFive("abc"), SaysFive(range(10)), CountsFromOne("abc"), UserList("abc"), Three(1, 2, 3)],
    ids=["says too many", "says too few", "another index", "UserList", "namedtuple"],
)
def test_each_item_that_iterating_gives_has_a_task(value):
    played = succeed(flow_over(value))
    assert played.data("end")["all"] == [each for each in value]  # noqa: C416 - list() would ask for the length
    assert type(played.data("end")["items"]) is type(value)


def test_after_an_inner_join_the_item_is_the_same():
    class InnerFlow(FlowSpec):
        @step
        def start(self):
            self.items = CountsFromOne("ab")
            self.next(self.work, foreach="items")

        @step
        def work(self):
            self.next(self.left, self.right)

        @step
        def left(self):
            self.next(self.inner)

        @step
        def right(self):
            self.next(self.inner)

        @step
        def inner(self, inputs):
            self.items = inputs[0].items
            self.seen = self.input
            self.next(self.join)

        @step
        def join(self, inputs):
            self.all = [task.seen for task in inputs]
            self.next(self.end)

        @step
        def end(self):
            pass

    assert succeed(InnerFlow).data("end")["all"] == ["a", "b"]
