"""One task: what it inherits, what it keeps, how it fails."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import threading
from collections import deque

import numpy as np
import pandas as pd
import pytest
from task_rig import fail, play, succeed

from asyncflow import FlowSpec, Parameter, step
from asyncflow.errors import FlowDefinitionError, StoreError
from asyncflow.events import FailureKind, RunState, TaskFailed, TaskId
from asyncflow.store.artifacts import COMPANION
from asyncflow.store.blobs.memory import MemoryBlobs
from asyncflow.worker.task import initial_artifacts

# -- what is inherited and kept --------------------------------------------------------------------


class InheritFlow(FlowSpec):
    constant = [1]

    @step
    def start(self):
        self.number = 1
        self.text = "text"
        self.listed = [1]
        self.large = bytes(100_000)
        self.gone = 1
        self.same = [5]
        self.next(self.middle)

    @step
    def middle(self):
        self.listed.append(2)  # changed in place
        self.same = [*self.same]  # another object, the same value
        assert self.large[0] == 0
        del self.gone
        assert not hasattr(self, "gone")
        self.next(self.end)

    @step
    def end(self):
        assert not hasattr(self, "gone")


def test_artifacts_are_inherited_by_reference():
    played = succeed(InheritFlow)
    start, middle, end = (played.refs(name) for name in ("start", "middle", "end"))
    assert played.data("end") == {
        "constant": [1],
        "number": 1,
        "text": "text",
        "listed": [1, 2],
        "large": bytes(100_000),
        "same": [5],
    }
    assert end == middle
    assert middle["listed"] != start["listed"]
    assert {name: start[name] for name in middle if name != "listed"} == {
        name: middle[name] for name in middle if name != "listed"
    }


def test_a_value_whose_pickle_changes_by_itself_counts_as_untouched():
    class SetFlow(FlowSpec):
        @step
        def start(self):
            self.numbers = set(range(20))
            for number in set(self.numbers) - {7, 15}:
                self.numbers.discard(number)
            self.next(self.read, self.rest)

        @step
        def read(self):
            # Loaded into a smaller table, the two stand in another order.
            assert list(self.numbers) == [15, 7]
            self.next(self.join)

        @step
        def rest(self):
            self.next(self.join)

        @step
        def join(self, inputs):
            self.merge_artifacts(inputs)
            self.next(self.end)

        @step
        def end(self):
            self.numbers.add(1)

    played = succeed(SetFlow)
    assert played.refs("read") == played.refs("start")
    assert played.data("end")["numbers"] == {1, 7, 15}


def test_only_what_is_new_travels_with_the_ending():
    played = succeed(InheritFlow)
    sent = played.sent[TaskId("middle")]
    middle = played.endings[TaskId("middle")]
    assert set(sent) == {middle.manifest.key, played.refs("middle")["listed"].key}
    assert played.sent[TaskId("end")] == [middle.manifest.key]


def test_nothing_is_loaded_that_is_not_used():
    class CountingBlobs(MemoryBlobs):
        read_keys: list = []

        def read(self, refs):
            refs = list(refs)
            self.read_keys.extend(ref.key for ref in refs)
            return super().read(refs)

    blobs = CountingBlobs()
    played = succeed(InheritFlow, blobs=blobs)
    refs = played.refs("middle")
    # `large` is used in one step, `text` and `number` in none.
    assert blobs.read_keys.count(refs["large"].key) == 1
    assert refs["text"].key not in blobs.read_keys
    assert refs["number"].key not in blobs.read_keys


def test_a_large_blob_is_written_before_the_ending_and_does_not_travel():
    played = succeed(InheritFlow)
    large = played.refs("start")["large"]
    assert large.key not in played.sent[TaskId("start")]
    assert large.key in played.blobs.content
    assert hashlib.sha256(played.blobs.content[large.key]).digest() == large.key


def test_functions_and_private_names_are_kept():
    class LambdaFlow(FlowSpec):
        @step
        def start(self):
            factor = 3
            self.times = lambda x: factor * x
            self._private = 1
            self.next(self.end)

        @step
        def end(self):
            self.result = self.times(2) + self._private

    assert succeed(LambdaFlow).data("end")["result"] == 7


def test_threads_of_a_step_may_load_artifacts():
    class ThreadsFlow(FlowSpec):
        @step
        def start(self):
            for number in range(20):
                setattr(self, f"a{number}", [number])
            self.next(self.end)

        @step
        def end(self):
            seen = []
            threads = [
                threading.Thread(target=lambda n=n: seen.append(getattr(self, f"a{n % 20}")[0])) for n in range(100)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.total = sum(seen)

    assert succeed(ThreadsFlow).data("end")["total"] == 5 * sum(range(20))


def test_what_is_assigned_last_counts():
    class DeletingFlow(FlowSpec):
        @step
        def start(self):
            self.x = 1
            self.y = 1
            del self.x
            self.next(self.end)

        @step
        def end(self):
            del self.y
            self.y = 2

    assert succeed(DeletingFlow).data("end") == {"y": 2}


def test_the_first_manifest_holds_parameters_and_constants():
    class FirstFlow(FlowSpec):
        alpha = Parameter("a", default=1)
        constant = {"k": bytes(50_000)}

    manifest, small, large = initial_artifacts(FirstFlow, {"alpha": 7})
    assert [len(blob.parts) > 0 for blob in large] == [True]
    assert manifest.key in [blob.key for blob in small]
    assert len(small) == 2


def test_a_constant_that_cannot_be_pickled_is_named():
    class LockFlow(FlowSpec):
        lock = threading.Lock()

    with pytest.raises(FlowDefinitionError, match=r"constants .* LockFlow .*'lock'.*Rename it to _lock"):
        initial_artifacts(LockFlow, {})


# -- foreach ---------------------------------------------------------------------------------------


class ItemsFlow(FlowSpec):
    what = Parameter("what", default="list")
    constant = ["x", "y"]
    many = frozenset(f"word {number}" for number in range(5))

    @step
    def start(self):
        self.items = ITEMS[self.what]()
        self.next(self.work, foreach="items")

    @step
    def work(self):
        self.item = self.input
        self.stack = self.foreach_stack()
        self.place = self.index
        self.next(self.join)

    @step
    def join(self, inputs):
        self.seen = [each.item for each in inputs]
        self.places = [each.index for each in inputs]
        self.inputs = [each.input for each in inputs]
        self.stacks = [each.stack for each in inputs]
        self.next(self.end)

    @step
    def end(self):
        pass


ITEMS = {
    "list": lambda: [1, "two", None],
    "nones": lambda: [None],
    "text": lambda: "abc",
    "bytes": lambda: b"ab",
    "tuple": lambda: (1, 2),
    "range": lambda: range(3, 6),
    "deque": lambda: deque([1, 2]),
    "dict": lambda: {"a": 1, "b": 2},
    "keys": {"a": 1, "b": 2}.keys,
    "pairs": {"a": 1, "b": 2}.items,
    "set": lambda: {"q", "w", "e"},
    "generator": lambda: (number * number for number in range(4)),
    "map": lambda: map(str, range(2)),
    "array": lambda: np.arange(4),
    "matrix": lambda: np.ones((2, 3)),
    "series": lambda: pd.Series([5, 6], index=["a", "b"]),
    "frame": lambda: pd.DataFrame({"p": [1], "q": [2]}),
    "many": lambda: list(range(100)),
    "heavy": lambda: [bytes(700_000), bytes(700_000)],
    "shared": lambda: [SHARED] * 60,
    "lambdas": lambda: [lambda: 1, lambda: 2],
}
SHARED = list(range(10_000))
LISTS = {"keys", "pairs", "generator", "map"}


@pytest.mark.parametrize("what", [name for name in ITEMS if name not in {"set", "matrix", "lambdas"}])
def test_every_child_sees_the_item_of_its_index(what):
    played = succeed(ItemsFlow, what=what)
    expected = list(ITEMS[what]())
    join = played.data("join")
    assert join["seen"] == expected
    assert join["inputs"] == expected
    assert join["places"] == list(range(len(expected)))
    assert join["stacks"] == [[(index, len(expected), item)] for index, item in enumerate(expected)]
    kept = played.data("start")["items"]
    assert type(kept) is (list if what in LISTS else type(ITEMS[what]()))


def test_a_set_is_frozen_in_one_order_and_stays_a_set():
    played = succeed(ItemsFlow, what="set")
    assert sorted(played.data("join")["seen"]) == ["e", "q", "w"]
    assert played.data("start")["items"] == {"q", "w", "e"}


def test_the_rows_of_an_array_are_items():
    rows = succeed(ItemsFlow, what="matrix").data("join")["seen"]
    assert [row.tolist() for row in rows] == [[1.0, 1.0, 1.0]] * 2


def test_items_may_be_what_only_cloudpickle_can_do():
    assert [each() for each in succeed(ItemsFlow, what="lambdas").data("join")["seen"]] == [1, 2]


@pytest.mark.parametrize(
    ("what", "packed"),
    [("list", False), ("range", False), ("array", False), ("many", True), ("heavy", True), ("shared", False)],
)
def test_a_list_that_is_long_or_heavy_is_packed_item_by_item(what, packed):
    played = succeed(ItemsFlow, what=what)
    refs = played.refs("start")
    companions = [name for name in refs if name.endswith(COMPANION)]
    assert companions == ["start.items[]" if packed else "start.items:[]"]
    assert (refs[companions[0]] == refs["items"]) is not packed


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "'items', which is not iterable: it is None"),
        (3, "'items', which is not iterable: it is of type int"),
        (np.array(3), "'items', which is not iterable: it is of type ndarray"),
        ([], "step 'start' of BadItemsFlow fans out over 'items', which is empty"),
        ({}, "'items', which is empty"),
        (iter(()), "'items', which is empty"),
    ],
)
def test_what_cannot_be_fanned_out_over_is_said(value, says):
    class BadItemsFlow(ItemsFlow):
        @step
        def start(self):
            self.items = value
            self.next(self.work, foreach="items")

    failure = fail(BadItemsFlow)
    assert says in failure.message
    assert "test_run_task.py:" in failure.message
    assert failure.exception == "asyncflow.errors.InvalidForeach"
    assert failure.traceback == ""


def test_a_missing_foreach_variable_is_named():
    class MissingItemsFlow(ItemsFlow):
        @step
        def start(self):
            self.next(self.work, foreach="items")

    assert "foreach='items', but there is no artifact of that name" in fail(MissingItemsFlow).message


def test_an_error_while_iterating_is_the_users():
    class RaisingItemsFlow(ItemsFlow):
        @step
        def start(self):
            self.items = (1 / number for number in (1, 0))
            self.next(self.work, foreach="items")

    failure = fail(RaisingItemsFlow)
    assert failure.message.startswith("ZeroDivisionError")
    assert "1 / number" in failure.traceback


def test_the_number_of_splits_can_be_limited():
    assert play(ItemsFlow, max_num_splits=3).state is RunState.SUCCEEDED
    message = fail(ItemsFlow, max_num_splits=2).message
    assert "the 3 items of 'items', but at most 2 are allowed" in message
    assert "--max-num-splits" in message


def test_a_foreach_over_a_constant_or_a_parameter():
    class ConstantItemsFlow(ItemsFlow):
        @step
        def start(self):
            self.constant.append("z")  # for this task only, and it is what this task fans out over
            self.next(self.work, foreach="constant")

    played = succeed(ConstantItemsFlow)
    assert played.data("join")["seen"] == ["x", "y", "z"]
    assert played.data("end")["constant"] == ["x", "y"]


def test_the_name_of_a_foreach_may_be_a_variable():
    class VariableFlow(ItemsFlow):
        @step
        def start(self):
            self.items = [4, 5]
            name = "items"
            self.next(self.work, foreach=name)

    played = succeed(VariableFlow)
    assert played.data("join")["seen"] == [4, 5]
    assert played.data("join")["places"] == [0, 1]
    assert played.data("join")["inputs"] == [4, 5]


def test_an_inner_fan_out_over_the_same_variable_does_not_hide_the_outer_one():
    class SameNameFlow(FlowSpec):
        @step
        def start(self):
            self.items = ["a", "b"]
            self.next(self.middle, foreach="items")

        @step
        def middle(self):
            self.items = [f"{self.input}{number}" for number in range(3)]
            self.next(self.leaf, foreach="items")

        @step
        def leaf(self):
            self.items = "changed"
            self.stack = self.foreach_stack()
            self.item = self.input
            self.next(self.inner)

        @step
        def inner(self, inputs):
            self.found = [(each.item, each.stack, each.foreach_stack()) for each in inputs]
            self.next(self.outer)

        @step
        def outer(self, inputs):
            self.found = [found for each in inputs for found in each.found]
            self.next(self.end)

        @step
        def end(self):
            pass

    found = succeed(SameNameFlow).data("end")["found"]
    assert [item for item, _, _ in found] == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert found[5][1] == [(1, 2, "b"), (2, 3, "b2")]
    assert found[5][1] == found[5][2]


class InnerJoinFlow(FlowSpec):
    """After a join inside a foreach the list isn't at hand, unless it is merged or a constant."""

    way = Parameter("way", default="nothing")
    constant = frozenset({"one", "two", "three"})

    @step
    def start(self):
        self.items = ["a", "b"]
        self.next(self.fork, foreach="items")

    @step
    def fork(self):
        self.word = self.input
        self.next(self.left, self.right)

    @step
    def left(self):
        self.next(self.both)

    @step
    def right(self):
        self.next(self.both)

    @step
    def both(self, inputs):
        if self.way == "merged":
            self.merge_artifacts(inputs)
        elif self.way == "assigned":
            self.items = inputs[0].items
        self.words = [each.word for each in inputs]
        self.there = self.foreach_stack()
        self.next(self.after)

    @step
    def after(self):
        self.later = (self.index, self.input)
        self.next(self.outer)

    @step
    def outer(self, inputs):
        self.found = [(each.words[0], each.there, each.later, each.input) for each in inputs]
        self.next(self.end)

    @step
    def end(self):
        pass


@pytest.mark.parametrize("way", ["nothing", "merged", "assigned"])
def test_the_input_after_an_inner_join(way):
    found = succeed(InnerJoinFlow, way=way).data("end")["found"]
    item = (lambda letter: None) if way == "nothing" else (lambda letter: letter)
    assert found == [
        (letter, [(place, 2, item(letter))], (place, item(letter)), item(letter)) for place, letter in enumerate("ab")
    ]


def test_the_input_after_an_inner_join_of_a_foreach_over_a_constant():
    class ThisFlow(InnerJoinFlow):
        @step
        def start(self):
            self.next(self.fork, foreach="constant")

    found = succeed(ThisFlow).data("end")["found"]
    assert sorted(word for word, *_ in found) == ["one", "three", "two"]
    for place, (word, there, later, seen) in enumerate(found):
        assert (there, later, seen) == ([(place, 3, word)], (place, word), word)


# -- switches --------------------------------------------------------------------------------------


class SwitchFlow(FlowSpec):
    value = Parameter("value", default="a")

    @step
    def start(self):
        self.kind = VALUES[self.value]
        self.next({"a": self.one, 2: self.two, True: self.one}, condition="kind")

    @step
    def one(self):
        self.went = "one"
        self.next(self.end)

    @step
    def two(self):
        self.went = "two"
        self.next(self.end)

    @step
    def end(self):
        pass


VALUES = {"a": "a", "two": 2, "float": 2.0, "true": True, "other": "b", "list": ["a"], "none": None}


@pytest.mark.parametrize(("value", "went"), [("a", "one"), ("two", "two"), ("float", "two"), ("true", "one")])
def test_a_switch_matches_by_equality(value, went):
    assert succeed(SwitchFlow, value=value).data("end")["went"] == went


@pytest.mark.parametrize(("value", "shown"), [("other", "'b'"), ("list", r"['a']"), ("none", "None")])
def test_no_matching_case_lists_them(value, shown):
    failure = fail(SwitchFlow, value=value)
    assert f"a switch on 'kind', whose value {shown} is none of its cases: 'a', 2, True" in failure.message


def test_no_matching_case_is_a_runtime_error():
    from asyncflow.testing import run_step

    with pytest.raises(RuntimeError):
        run_step(SwitchFlow.start, parameters={"value": "other"})


def test_the_condition_may_be_a_parameter_and_must_be_there():
    class ParameterSwitchFlow(SwitchFlow):
        @step
        def start(self):
            self.next({"a": self.one, "b": self.two}, condition="value")

    class NoConditionFlow(SwitchFlow):
        @step
        def start(self):
            self.next({"a": self.one, "b": self.two}, condition="nothing")

    assert succeed(ParameterSwitchFlow, value="b").data("end")["went"] == "two"
    assert "condition='nothing', but there is no artifact of that name" in fail(NoConditionFlow).message


# -- next against the graph ------------------------------------------------------------------------


class GraphFlow(FlowSpec):
    @step
    def start(self):
        self.items = [1]
        self.next(self.a)

    @step
    def a(self):
        self.next(self.b)

    @step
    def b(self):
        self.next(self.end)

    @step
    def end(self):
        pass


def early(call):
    class EarlyFlow(GraphFlow):
        @step
        def start(self):
            self.items = [1]
            if call is not None:
                call(self)
            if self.name:
                return
            self.next(self.a)

    return EarlyFlow


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (None, "step 'start' of EarlyFlow ended without self.next; it must lead to self.a"),
        (lambda self: self.next(self.b), "leads to self.b, but the graph, .*test_run_task.py:[0-9]+, says self.a"),
        (lambda self: self.next(self.a, self.b), "leads to self.a, self.b, but"),
        (lambda self: self.next(self.a, foreach="items"), "leads to self.a with foreach='items', but"),
        (lambda self: self.next({1: self.a, 2: self.b}, condition="items"), "with condition='items', but"),
    ],
)
def test_a_next_that_differs_from_the_graph_fails_for_good(call, says):
    failure = fail(early(call))
    assert failure.kind is FailureKind.USER
    assert failure.retriable is False
    assert failure.exception == "asyncflow.errors.InvalidNextException"
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(failure.message)


def test_the_last_step_must_not_lead_anywhere():
    class EndlessFlow(GraphFlow):
        @step
        def end(self):
            getattr(self, "next")(self.a)  # noqa: B009

    assert "the graph, read from" in fail(EndlessFlow).message
    assert "it is the last step" in fail(EndlessFlow).message


# -- failures --------------------------------------------------------------------------------------


class BadText(Exception):
    def __str__(self):
        raise ValueError("no text")


class Unpicklable(Exception):
    def __init__(self, lock):
        super().__init__("locked")
        self.lock = lock


class FailFlow(FlowSpec):
    how = Parameter("how", default="value")

    @step
    def start(self):
        self.before = [1]
        self.next(self.work)

    @step
    def work(self):
        self.before.append(2)
        self.during = 1
        WAYS[self.how]()
        self.next(self.end)

    @step
    def end(self):
        pass


def chained():
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("no such carrier") from error


def recurse():
    recurse()


def several():
    raise ExceptionGroup("two", [ValueError("one"), TypeError("other")])


def throw(error):
    raise error


WAYS = {
    "value": chained,
    "lines": lambda: throw(ValueError("first\nsecond")),
    "silent": lambda: throw(ValueError),
    "text": lambda: throw(BadText()),
    "unpicklable": lambda: throw(Unpicklable(threading.Lock())),
    "surrogates": lambda: throw(ValueError("\udcff")),
    "exit": sys.exit,
    "exit 0": lambda: sys.exit(0),
    "exit 3": lambda: sys.exit(3),
    "exit text": lambda: sys.exit("bye"),
    "interrupt": lambda: throw(KeyboardInterrupt()),
    "recursion": recurse,
    "group": several,
    "long": lambda: throw(ValueError("x" * 1_000_000)),
}


@pytest.mark.parametrize(
    ("how", "message", "exception", "retriable"),
    [
        ("value", "ValueError: no such carrier", "builtins.ValueError", True),
        ("lines", "ValueError: first …", "builtins.ValueError", True),
        ("silent", "ValueError", "builtins.ValueError", True),
        ("text", "BadText: (its text can't be shown", "test_run_task.BadText", True),
        ("unpicklable", "Unpicklable: locked", "test_run_task.Unpicklable", True),
        ("surrogates", "ValueError: \\udcff", "builtins.ValueError", True),
        ("exit", "SystemExit", "builtins.SystemExit", False),
        ("exit 0", "SystemExit: 0", "builtins.SystemExit", False),
        ("exit 3", "SystemExit: 3", "builtins.SystemExit", True),
        ("exit text", "SystemExit: bye", "builtins.SystemExit", True),
        ("interrupt", "KeyboardInterrupt", "builtins.KeyboardInterrupt", True),
        ("recursion", "RecursionError: maximum", "builtins.RecursionError", True),
        ("long", "ValueError: xxx", "builtins.ValueError", True),
        ("group", "ExceptionGroup: two (2 sub-exceptions)", "builtins.ExceptionGroup", True),
    ],
)
def test_whatever_a_step_raises_is_its_failure(how, message, exception, retriable):
    failure = fail(FailFlow, how=how)
    assert failure.message.startswith(message)
    assert (failure.kind, failure.exception, failure.retriable) == (FailureKind.USER, exception, retriable)
    assert "test_run_task.py" in failure.traceback
    assert "src/asyncflow/" not in failure.traceback
    assert len(failure.message.encode()) < 4_000
    assert len(failure.traceback.encode()) < 100_000


def test_the_traceback_shows_causes_and_lines():
    traceback = fail(FailFlow).traceback
    assert '{}["key"]' in traceback
    assert "The above exception was the direct cause" in traceback
    assert "WAYS[self.how]()" in traceback
    assert traceback.rstrip().endswith("ValueError: no such carrier")


def test_a_failed_attempts_artifacts_can_be_read():
    played = play(FailFlow)
    assert played.data("work") == {"how": "value", "before": [1, 2], "during": 1}
    ending = played.endings[TaskId("work")]
    assert isinstance(ending, TaskFailed)
    assert ending.started <= ending.ended
    assert ending.worker == "here"


class UnpicklableFlow(FlowSpec):
    @step
    def start(self):
        self.good = 1
        self.bad = {"inner": [threading.Lock()]}
        self.also_good = 2
        self.next(self.end)

    @step
    def end(self):
        pass


def test_an_artifact_that_cannot_be_pickled_is_named_and_the_others_are_kept():
    played = play(UnpicklableFlow)
    message = played.failure.message
    assert "'bad'" in message
    assert "inner" in message
    assert "lock" in message
    assert played.data("start") == {"good": 1, "also_good": 2}


def test_a_flow_object_as_an_artifact_is_explained():
    class SelfFlow(FlowSpec):
        @step
        def start(self):
            self.me = self
            self.next(self.end)

        @step
        def end(self):
            pass

    message = fail(SelfFlow).message
    assert "'me'" in message
    assert "flow object can't be pickled" in message


def test_a_full_disk_fails_the_task_and_says_why():
    class FullBlobs(MemoryBlobs):
        def write(self, blob):
            if sum(len(part) for part in blob.parts) > 50_000:
                raise StoreError("No space left on /there.")
            return super().write(blob)

    assert fail(InheritFlow, blobs=FullBlobs()).message == "No space left on /there."


def test_an_init_that_raises_fails_the_task():
    class BadInitFlow(GraphFlow):
        def __init__(self):
            raise ValueError("not today")

    assert fail(BadInitFlow).message == "ValueError: not today"


# -- async steps -----------------------------------------------------------------------------------


class AsyncFlow(FlowSpec):
    @step
    async def start(self):
        from asyncflow import current

        await asyncio.sleep(0)
        self.x = current.step_name
        self.items = [1, 2]
        self.next(self.work, foreach="items")

    @step
    async def work(self):
        self.double = (await asyncio.gather(self.doubled(self.input)))[0]
        self.next(self.join)

    async def doubled(self, number):
        await asyncio.sleep(0)
        return 2 * number

    @step
    async def join(self, inputs):
        self.total = sum(each.double for each in inputs)
        self.next(self.end)

    @step
    async def end(self):
        pass


def test_a_step_may_be_async():
    played = succeed(AsyncFlow)
    assert played.data("start")["x"] == "start"
    assert played.data("end")["total"] == 6


async def in_a_loop():
    return succeed(AsyncFlow)


def test_an_async_step_runs_where_a_loop_is_running_already():
    assert asyncio.run(in_a_loop()).data("end")["total"] == 6


def test_an_async_step_that_raises_is_a_failure():
    class AsyncFailFlow(GraphFlow):
        @step
        async def a(self):
            await asyncio.sleep(0)
            raise ValueError("async")
            self.next(self.b)

    failure = fail(AsyncFailFlow)
    assert failure.message == "ValueError: async"
    assert 'raise ValueError("async")' in failure.traceback
    assert "runners.py" not in failure.traceback


def test_the_value_that_a_step_returns_is_ignored():
    class ReturnFlow(GraphFlow):
        @step
        def end(self):
            return 7

    assert succeed(ReturnFlow).state is RunState.SUCCEEDED
