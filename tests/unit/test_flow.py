"""FlowSpec, @step, artifacts and self.next, as a step sees them."""

from __future__ import annotations

import copy
import pickle

import pytest
from task_rig import fail, succeed

from asyncflow import FlowSpec, Parameter, step
from asyncflow.errors import AsyncflowError, FlowDefinitionError, InvalidNextException
from asyncflow.events import Next
from asyncflow.flow import backing_of, class_constants
from asyncflow.testing import run_step

# -- @step ----------------------------------------------------------------------------------------


def test_step_marks_a_method_and_leaves_it_what_it_is():
    def method(self):
        return 7

    assert step(method) is method
    assert step()(method) is method
    assert step(start=True, end=True)(method) is method
    assert (method.is_step, method.step_start, method.step_end, method.decorators) == (True, True, True, [])
    assert method(None) == 7


@pytest.mark.parametrize("what", ["a text", staticmethod(len), int])
def test_step_refuses_what_is_no_method(what):
    with pytest.raises(FlowDefinitionError, match="stands above a method"):
        step(what)


def test_step_takes_no_positional_options():
    with pytest.raises(TypeError):
        step(True, False)


# -- artifacts ------------------------------------------------------------------------------------


class PlainFlow(FlowSpec):
    alpha = Parameter("alpha", default=3)
    names = ["a", "b"]
    limit = 5
    _hidden = 1

    @step
    def start(self):
        self.x = 1
        self.next(self.end)

    @step
    def end(self):
        pass


def test_a_missing_artifact_is_named():
    flow = PlainFlow(use_cli=False)
    with pytest.raises(AttributeError, match="Flow PlainFlow has no attribute 'y'"):
        flow.y
    assert not hasattr(flow, "y")
    assert getattr(flow, "y", 4) == 4
    with pytest.raises(AttributeError, match="Flow PlainFlow has no attribute 'y'"):
        del flow.y


def test_an_artifact_can_be_set_read_and_deleted():
    flow = PlainFlow(use_cli=False)
    flow.y = 1
    flow._z = 2
    assert (flow.y, flow._z) == (1, 2)
    del flow.y
    assert not hasattr(flow, "y")


@pytest.mark.parametrize("name", ["alpha", "names", "limit"])
def test_what_is_fixed_for_the_run_cannot_be_assigned(name):
    flow = PlainFlow(use_cli=False)
    with pytest.raises(AttributeError, match=f"Flow level attributes and Parameters are not modifiable: '{name}'"):
        setattr(flow, name, 1)
    with pytest.raises(AttributeError, match="not modifiable"):
        delattr(flow, name)


@pytest.mark.parametrize("name", ["index", "input", "next", "foreach_stack", "merge_artifacts"])
def test_parts_of_every_flow_cannot_be_assigned(name):
    with pytest.raises(AttributeError, match=f"'{name}' is a part of every flow"):
        setattr(PlainFlow(use_cli=False), name, 1)


def test_a_private_class_attribute_is_no_constant():
    flow = PlainFlow(use_cli=False)
    flow._hidden = 2
    assert flow._hidden == 2


def test_the_name_of_a_flow_is_its_class_until_it_is_assigned():
    flow = PlainFlow(use_cli=False)
    assert flow.name == "PlainFlow"
    flow.name = "Ada"
    assert flow.name == "Ada"


def test_outside_of_a_foreach_there_is_no_input():
    flow = PlainFlow(use_cli=False)
    assert (flow.index, flow.input, flow.foreach_stack()) == (None, None, [])


def test_a_parameter_on_the_class_is_itself():
    assert isinstance(PlainFlow.alpha, Parameter)
    assert PlainFlow(use_cli=False).alpha is PlainFlow.alpha


def test_an_error_inside_a_property_says_what_is_missing():
    class PropertyFlow(PlainFlow):
        @property
        def mean(self):
            return self.total / 2

    with pytest.raises(AttributeError, match="no attribute 'total'"):
        PropertyFlow(use_cli=False).mean


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_flow_object_is_not_to_be_pickled(way):
    with pytest.raises(AsyncflowError, match="can't be pickled"):
        way(PlainFlow(use_cli=False))


# -- class constants ------------------------------------------------------------------------------


def function(x):
    return x


class Helper:
    def __call__(self):
        return 1


class Mixin:
    unit = "m"

    @step
    def middle(self):
        self.mixed = self.unit
        self.next(self.end)


class ConstantsFlow(Mixin, FlowSpec):
    number = 1
    listed = [1]
    callable_object = Helper()
    builtin = len
    annotated: int = 4
    code = function
    short = lambda self: 1  # noqa: E731
    klass = Helper
    module = pickle
    parameter = Parameter("p", default=1)
    _private = 1

    @staticmethod
    def static():
        pass

    @classmethod
    def of_class(cls):
        pass

    @property
    def computed(self):
        return 1

    @step
    def start(self):
        self.listed.append(2)
        self.seen = list(self.listed)
        self.next(self.middle)

    @step
    def end(self):
        self.seen_later = list(self.listed)


def test_class_constants_are_public_and_no_code():
    names = {"number", "listed", "callable_object", "builtin", "annotated", "unit"}
    assert class_constants(ConstantsFlow).keys() == names
    ConstantsFlow(use_cli=False)  # makes the class ready for tasks, which changes nothing that is seen
    assert class_constants(ConstantsFlow).keys() == names
    assert ConstantsFlow.listed == [1]


def test_a_change_in_place_of_a_constant_lasts_for_its_task_only():
    played = succeed(ConstantsFlow)
    end = played.data("end")
    assert end["seen"] == [1, 2]
    assert end["seen_later"] == [1]
    assert end["listed"] == [1]
    assert end["mixed"] == "m"
    assert ConstantsFlow.listed == [1]


def test_a_subclass_may_give_a_constant_another_value():
    class OtherFlow(ConstantsFlow):
        listed = [7]
        number = None

        def unit(self):
            """No constant any more."""

    constants = class_constants(OtherFlow)
    assert constants["listed"] == [7]
    assert constants["number"] is None
    assert "unit" not in constants


# -- __init__ -------------------------------------------------------------------------------------


class InitFlow(FlowSpec):
    scale = Parameter("scale", default=2)

    def __init__(self, use_cli=True):
        self.made = [self.scale] if use_cli is not None else None
        self.kept = "from init"
        super().__init__(use_cli)

    @step
    def start(self):
        self.made.append(1)
        self.next(self.a, self.b)

    @step
    def a(self):
        self.next(self.join)

    @step
    def b(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.before = self.made
        self.merge_artifacts(inputs)
        self.next(self.end)

    @step
    def end(self):
        pass


def test_what_init_assigns_is_an_artifact_and_gives_way_to_what_is_inherited():
    played = succeed(InitFlow)
    assert played.data("start")["made"] == [2, 1]
    assert played.data("a")["made"] == [2, 1]
    end = played.data("end")
    assert end["before"] == [2]
    assert end["made"] == [2, 1]
    assert end["kept"] == "from init"


def test_an_init_that_does_not_call_that_of_flowspec_is_fine():
    class LoneFlow(FlowSpec):
        def __init__(self):
            self.x = 1

        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            pass

    assert succeed(LoneFlow).data("end")["x"] == 1


# -- self.next ------------------------------------------------------------------------------------


class NextFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.a)

    @step
    def a(self):
        self.next(self.end)

    def helper(self):
        pass

    @step
    def end(self):
        pass


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda f: f.next(), "names no step"),
        (lambda f: f.next("a"), r"write self.next\(self.a\)"),
        (lambda f: f.next(f.helper), "'helper', which is not a step of this flow; put @step above it"),
        (lambda f: f.next(print), "'print', which is not a step"),
        (lambda f: f.next(3), "takes steps like"),
        (lambda f: f.next([f.a]), "takes steps like"),
        (lambda f: f.next(f.a, fireach="x"), "doesn't know 'fireach'"),
        (lambda f: f.next(f.a, foreach="x", num_parallel=2), "foreach or num_parallel, not both"),
        (lambda f: f.next(f.a, f.end, foreach="x"), "takes one step beside foreach"),
        (lambda f: f.next(f.a, foreach=[1, 2]), "takes the name of an artifact as foreach.* not a list"),
        (lambda f: f.next(f.a, condition="x"), "its cases must be a dict"),
        (lambda f: f.next({"k": f.a}), "is a switch"),
        (lambda f: f.next({}, condition="x"), "is a switch"),
        (lambda f: f.next({"k": f.a}, f.end, condition="x"), "is a switch"),
        (lambda f: f.next({"k": "a"}, condition="x"), r"write self.next\(self.a\)"),
        (lambda f: (f.next(f.a), f.next(f.a)), "was called before, at .*test_flow.py"),
    ],
)
def test_a_wrong_next_says_where_and_what(call, says):
    with pytest.raises(InvalidNextException, match=rf"test_flow.py:\d+: self.next .*{says}"):
        call(NextFlow(use_cli=False))


def test_next_is_kept_in_the_order_of_the_call():
    flow = NextFlow(use_cli=False)
    flow.next({1: flow.end, 2: flow.a, 3: flow.end}, condition="x")
    transition = backing_of(flow).transition
    assert transition.steps == ("end", "a")
    assert transition.cases == ((1, "end"), (2, "a"), (3, "end"))
    assert transition.condition == "x"


def test_an_earlier_next_with_a_return_is_legal():
    class EarlyFlow(FlowSpec):
        fast = Parameter("fast", default=True)

        @step
        def start(self):
            if self.fast:
                self.next(self.end)
                return
            self.slow = True
            self.next(self.end)

        @step
        def end(self):
            pass

    assert "slow" not in succeed(EarlyFlow).data("end")
    assert succeed(EarlyFlow, fast=False).data("end")["slow"] is True


def test_start_and_end_may_have_other_names():
    class OtherNamesFlow(FlowSpec):
        @step(start=True)
        def first(self):
            self.x = 1
            self.next(self.last)

        @step(end=True)
        def last(self):
            self.y = self.x

    assert succeed(OtherNamesFlow).data("last")["y"] == 1


def test_a_flow_of_one_step_is_legal():
    class OneStepFlow(FlowSpec):
        @step(start=True, end=True)
        def only(self):
            self.x = 1

    assert succeed(OneStepFlow).data("only") == {"x": 1}


def test_steps_are_inherited_and_overridden():
    class BaseFlow(FlowSpec):
        @step
        def start(self):
            self.word = "base"
            self.next(self.end)

        @step
        def end(self):
            self.said = f"{self.word} of {self.name}"

    class ChildFlow(BaseFlow):
        @step
        def start(self):
            self.word = "child"
            self.next(self.end)

    assert succeed(ChildFlow).data("end")["said"] == "child of ChildFlow"
    assert run_step(ChildFlow.end, flow=ChildFlow, artifacts={"word": "w"}).said == "w of ChildFlow"


def test_merging_outside_of_a_join_is_refused():
    class NoJoinFlow(FlowSpec):
        @step
        def start(self):
            self.merge_artifacts([])
            self.next(self.end)

        @step
        def end(self):
            pass

    assert "step 'start' of NoJoinFlow, which isn't a join" in fail(NoJoinFlow).message


def test_a_step_says_where_it_leads():
    assert run_step(NextFlow.start).next == Next(("a",))
    assert run_step(NextFlow.end).next is None
