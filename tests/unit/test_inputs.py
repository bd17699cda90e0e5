"""What a join gets."""

from __future__ import annotations

import gc
import pickle

import pytest
from task_rig import succeed

from asyncflow import FlowSpec, Parameter, step
from asyncflow.errors import AsyncflowError
from asyncflow.events import Attempt, RunContext, TaskId, TaskInput, TaskSpec
from asyncflow.flow import FlowSpec as Base
from asyncflow.loader import graph_of, source_of
from asyncflow.store.artifacts import ArtifactLoader, Manifest
from asyncflow.store.blobs.memory import MemoryBlobs
from asyncflow.store.serializers import to_blob
from asyncflow.worker import inputs as room
from asyncflow.worker.inputs import Inputs
from asyncflow.worker.state import Shelf
from asyncflow.worker.task import initial_artifacts


class BranchesFlow(FlowSpec):
    scale = Parameter("scale", default=3)
    constant = [1]

    @step
    def start(self):
        self.common = "c"
        self.next(self.z, self.a, self.m)

    @step
    def z(self):
        self.x = "z"
        self.next(self.after_z)

    @step
    def after_z(self):
        self.next(self.join)

    @step
    def a(self):
        self.x = "a"
        self.only_a = [1]
        self.next(self.join)

    @step
    def m(self):
        self.x = "m"
        self.next(self.join)

    @step
    def join(self, inputs):
        self.look = LOOKS[self.name_of_look](inputs)
        self.next(self.end)

    name_of_look = "order"

    @step
    def end(self):
        pass


def raised(function, kind):
    try:
        function()
    except kind as error:
        return str(error)
    return None


def changed_in_place(inputs):
    inputs.a.only_a.append(2)
    return inputs.a.only_a, inputs[1].only_a


LOOKS = {
    "order": lambda inputs: [each.x for each in inputs],
    "by name": lambda inputs: (inputs.after_z.x, inputs.a.x, inputs.m.x),
    "by index": lambda inputs: (inputs[0].x, inputs[2].x, inputs[-1].x, inputs[-3].x),
    "slices": lambda inputs: ([each.x for each in inputs[1:]], [each.x for each in inputs[::-1]]),
    "flows": lambda inputs: [each.x for each in inputs.flows],
    "length": lambda inputs: (len(inputs), bool(inputs), [each.x for each in reversed(inputs)]),
    "same": lambda inputs: (inputs.a is inputs[1], inputs[0] is next(iter(inputs))),
    "type": lambda inputs: isinstance(inputs.a, Base) and type(inputs.a).__name__,
    "fixed": lambda inputs: (inputs.a.scale, inputs.a.constant, inputs.a.name, inputs.a.common),
    "no foreach": lambda inputs: (inputs.a.index, inputs.a.input, inputs.a.foreach_stack()),
    "too far": lambda inputs: raised(lambda: inputs[3], IndexError),
    "no branch": lambda inputs: raised(lambda: inputs.z, AttributeError),
    "no artifact": lambda inputs: raised(lambda: inputs.m.only_a, AttributeError),
    "hasattr": lambda inputs: (hasattr(inputs, "a"), hasattr(inputs, "z"), hasattr(inputs.m, "only_a")),
    "set": lambda inputs: raised(lambda: setattr(inputs.a, "x", 1), AttributeError),
    "delete": lambda inputs: raised(lambda: delattr(inputs.a, "x"), AttributeError),
    "changed": changed_in_place,
    "pickled": lambda inputs: raised(lambda: pickle.dumps(inputs), AsyncflowError),
}


NO_BRANCH = (
    "'join' has no input 'z'; inputs are named by the last step of the branch: inputs.after_z, inputs.a, inputs.m."
)


@pytest.mark.parametrize(
    ("look", "seen"),
    [
        ("order", ["z", "a", "m"]),
        ("by name", ("z", "a", "m")),
        ("by index", ("z", "m", "m", "z")),
        ("slices", (["a", "m"], ["m", "a", "z"])),
        ("flows", ["z", "a", "m"]),
        ("length", (3, True, ["m", "a", "z"])),
        ("same", (True, True)),
        ("type", "ThisFlow"),
        ("fixed", (3, [1], "ThisFlow", "c")),
        ("no foreach", (None, None, [])),
        ("too far", "inputs[3] of a join with 3 inputs"),
        (
            "no branch",
            NO_BRANCH,
        ),
        ("no artifact", "Flow ThisFlow has no attribute 'only_a'"),
        ("hasattr", (True, False, False)),
        ("set", "'x' can't be changed: the inputs of a join are read-only. Assign to self instead."),
        ("delete", "'x' can't be changed: the inputs of a join are read-only. Assign to self instead."),
        ("changed", ([1, 2], [1, 2])),
        ("pickled", "The inputs of a join can't be pickled: keep the artifacts that are needed, as in inputs[0].x"),
    ],
)
def test_inputs(look, seen):
    class ThisFlow(BranchesFlow):
        name_of_look = look

    assert succeed(ThisFlow).data("end")["look"] == seen


def test_a_join_inherits_nothing_but_what_is_fixed():
    class NothingFlow(BranchesFlow):
        @step
        def join(self, inputs):
            assert not hasattr(self, "common")
            self.next(self.end)

    assert succeed(NothingFlow).data("end").keys() == {"scale", "constant", "name_of_look"}


def test_the_argument_of_a_join_may_have_any_name():
    class NamedFlow(BranchesFlow):
        @step
        def join(self, branches):
            self.look = branches.a.x
            self.next(self.end)

    assert succeed(NamedFlow).data("end")["look"] == "a"


def test_a_branch_that_a_switch_ends_is_named_by_the_step_that_ran():
    class SwitchedFlow(FlowSpec):
        @step
        def start(self):
            self.kind = "y"
            self.next(self.choose, self.other)

        @step
        def choose(self):
            self.next({"x": self.by_x, "y": self.by_y}, condition="kind")

        @step
        def by_x(self):
            self.went = "x"
            self.next(self.join)

        @step
        def by_y(self):
            self.went = "y"
            self.next(self.join)

        @step
        def other(self):
            self.next(self.join)

        @step
        def join(self, inputs):
            self.seen = (len(inputs), inputs.by_y.went, hasattr(inputs, "by_x"), inputs[0].went)
            self.next(self.end)

        @step
        def end(self):
            pass

    assert succeed(SwitchedFlow).data("end")["seen"] == (2, "y", False, "y")


# -- many inputs -----------------------------------------------------------------------------------


class WideFlow(FlowSpec):
    @step
    def start(self):
        self.numbers = list(range(10))
        self.next(self.work, foreach="numbers")

    @step
    def work(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


class CountingBlobs(MemoryBlobs):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def read(self, refs):
        self.calls += 1
        return super().read(refs)


def wide(width):
    """The inputs of a join of ``width`` tasks, and the blobs that they are in."""
    blobs = CountingBlobs()
    tasks = []
    for number in range(width):
        refs = {"number": blobs.write(to_blob(number, "number")), "same": blobs.write(to_blob("s", "same"))}
        tasks.append(TaskInput(TaskId("work", (number,)), blobs.write(Manifest(refs).to_blob())))
    spec = TaskSpec(Attempt(TaskId("join"), 0, 1), tuple(tasks))
    return Inputs(WideFlow, graph_of(WideFlow), Shelf(blobs, ArtifactLoader(blobs)), spec), blobs


def test_many_inputs_are_read_in_batches():
    width = 5 * room.BATCH
    inputs, blobs = wide(width)
    assert sum(each.number for each in inputs) == sum(range(width))
    assert blobs.calls == 2 * 5  # for each batch the manifests, then the artifacts of that name


def test_nothing_is_read_before_it_is_asked_for():
    inputs, blobs = wide(3 * room.BATCH)
    assert len(inputs) == 3 * room.BATCH
    assert blobs.calls == 0
    assert inputs[-1].number == 3 * room.BATCH - 1
    assert blobs.calls == 2


def test_of_many_inputs_those_that_nobody_holds_are_given_back():
    inputs, _ = wide(2 * room.KEPT)
    held = inputs[5]
    for each in inputs:
        each.number
    del each
    gc.collect()
    assert sum(isinstance(found, WideFlow) for found in gc.get_objects()) == 1
    assert inputs[5] is held
    assert (held.index, held.foreach_stack()[0][:2]) == (5, (5, 2 * room.KEPT))


def test_a_join_of_many_tasks_merges_without_loading():
    from asyncflow.worker.task import run_task

    class MergeFlow(WideFlow):
        @step
        def join(self, inputs):
            self.merge_artifacts(inputs, exclude=["number"])
            self.next(self.end)

    inputs, blobs = wide(2 * room.BATCH)
    manifest, small, _ = initial_artifacts(MergeFlow, {})
    blobs.content.update({blob.key: blob.content for blob in small})
    context = RunContext("1", "MergeFlow", source_of(MergeFlow), "", manifest)
    outcome = run_task(MergeFlow, graph_of(MergeFlow), context, inputs._spec, blobs)
    blobs.content.update({blob.key: blob.content for blob in outcome.blobs})
    merged = ArtifactLoader(blobs).manifest(outcome.ending.manifest).artifacts
    assert merged.keys() == {"same"}
    assert len(outcome.blobs) == 1
    assert blobs.calls == 1 + 2 + 1  # parameters, the manifests in two batches, and ours
