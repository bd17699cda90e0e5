"""Whatever a chain of steps does to its artifacts, each step sees what plain Python would show it."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st
from task_rig import succeed

from asyncflow import FlowSpec, JSONType, Parameter, step

NAMES = ["a", "b", "_c"]


class DeedsFlow(FlowSpec):
    """Task i of ``tick`` does what ``rounds[i]`` says."""

    rounds = Parameter("rounds", type=JSONType)

    @step
    def start(self):
        self.round = 0
        self.seen = []
        self.next(self.tick)

    @step
    def tick(self):
        for deed, name, value in self.rounds[self.round]:
            self.seen.append(do(AttributesOf(self), deed, name, value))
        self.round += 1
        self.more = self.round < len(self.rounds)
        self.next({True: self.tick, False: self.end}, condition="more")

    @step
    def end(self):
        pass


class AttributesOf:
    """A flow object's artifacts as a mapping."""

    def __init__(self, flow):
        self.flow = flow

    def __contains__(self, name):
        return hasattr(self.flow, name)

    def __getitem__(self, name):
        return getattr(self.flow, name)

    def __setitem__(self, name, value):
        setattr(self.flow, name, value)

    def __delitem__(self, name):
        delattr(self.flow, name)


def do(artifacts, deed, name, value):
    """One deed on a mapping; what it shows. A dict is the model, a flow object is what is tested."""
    if deed == "set":
        artifacts[name] = list(value)
    elif name not in artifacts:
        return "missing"
    elif deed == "delete":
        del artifacts[name]
    elif deed == "append":
        artifacts[name].append(value)
    elif deed == "alias":
        artifacts[NAMES[0]] = artifacts[name]
    return deepcopy(artifacts[name]) if name in artifacts else "gone"


deeds = st.tuples(
    st.sampled_from(["set", "read", "append", "delete", "alias"]),
    st.sampled_from(NAMES),
    st.lists(st.integers(0, 3), max_size=2),
)


@given(rounds=st.lists(st.lists(deeds, max_size=6), min_size=1, max_size=5))
def test_each_step_sees_what_the_ones_before_left(rounds):
    model, seen = {}, []
    played = succeed(DeedsFlow, rounds=rounds)
    for number, done in enumerate(rounds):
        model = deepcopy(model)
        for name in NAMES:  # what is two names of one object in a step is two objects in the next
            if name in model:
                model[name] = deepcopy(model[name])
        seen.extend(do(model, *deed) for deed in done)
        data = played.data("tick", number)
        assert {name: data[name] for name in NAMES if name in data} == model
        assert data["seen"] == seen
    assert played.data("end")["seen"] == seen
