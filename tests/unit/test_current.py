"""``current``, inside of a task and outside."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import pickle
import tempfile
import threading

import pytest
from task_rig import succeed

import asyncflow
from asyncflow import FlowSpec, Parameter, current, step
from asyncflow.current import TaskValues, enter_task, leave_task

NAMES = [
    *("flow_name", "run_id", "step_name", "task_id", "retry_count", "origin_run_id", "pathspec", "namespace"),
    *("username", "tags", "parameter_names", "graph", "run", "task", "tempdir", "is_parallel"),
]


@pytest.fixture
def task():
    values = TaskValues(flow_name="F", run_id="7", step_name="s", task_id="3", extras={"project_name": "p"})
    token = enter_task(values)
    yield values
    leave_task(token)


@pytest.mark.parametrize("name", NAMES)
def test_outside_of_a_run_all_is_none(name):
    assert getattr(current, name) is None
    assert name not in current
    assert current.get(name, "default") is None
    assert current.is_running_flow is False


@pytest.mark.parametrize("name", ["parallel", "card", "trigger", "project_name", "branch_name", "is_production"])
def test_what_only_some_flows_have_is_missing_elsewhere(name, task):
    task.extras.clear()
    with pytest.raises(AttributeError, match=rf"current.{name} exists only in "):
        getattr(current, name)
    assert current.get(name, 4) == 4
    assert name not in current


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="current has no attribute 'foo'"):
        current.foo
    assert current.get("foo") is None
    assert "foo" not in current


@pytest.mark.parametrize("name", ["run_id", "pathspec", "run", "is_running_flow", "project_name", "foo"])
def test_nothing_can_be_assigned(name, task):
    with pytest.raises(AttributeError, match=f"current.{name} can't be assigned"):
        setattr(current, name, 1)


def test_values_of_a_task(task):
    assert current.pathspec == "F/7/s/3"
    assert (current.flow_name, current.run_id, current.step_name, current.task_id) == ("F", "7", "s", "3")
    assert (current.retry_count, current.origin_run_id, current.tags) == (0, None, frozenset())
    assert current.tempdir == tempfile.gettempdir()
    assert current.project_name == "p"
    assert "run_id" in current
    assert "origin_run_id" not in current
    assert "project_name" in current
    assert "project_name" in dir(current)
    assert current.get("run_id") == "7"
    assert repr(current) == "<current F/7/s/3>"
    assert (current.is_running_flow, current.is_parallel) == (True, False)


def test_there_is_one_current():
    from asyncflow.current import current as by_module
    from asyncflow.metaflow_current import current as by_metaflows_name

    assert by_module is by_metaflows_name is asyncflow.current is current
    assert pickle.loads(pickle.dumps(current)) is current
    assert copy.deepcopy(current) is current
    assert repr(current) == "<current outside of a run>"


def test_a_context_sees_its_own_values(task):
    seen = []
    plain = threading.Thread(target=lambda: seen.append(current.run_id))
    copied = threading.Thread(target=contextvars.copy_context().run, args=(lambda: seen.append(current.run_id),))
    for thread in (plain, copied):
        thread.start()
        thread.join()
    assert seen == [None, "7"]


async def test_tasks_of_one_loop_see_their_own_values():
    async def one(name):
        enter_task(TaskValues(flow_name=name, run_id="1", step_name="s", task_id="1"))
        await asyncio.sleep(0)
        return current.flow_name

    assert await asyncio.gather(one("A"), one("B")) == ["A", "B"]


test_tasks_of_one_loop_see_their_own_values = pytest.mark.anyio(test_tasks_of_one_loop_see_their_own_values)


@pytest.fixture
def anyio_backend():
    return "asyncio"


class LookFlow(FlowSpec):
    """Looks at current."""

    alpha = Parameter("a-lpha", default=1)
    constant = 5

    @step
    def start(self):
        self.seen = {name: getattr(current, name) for name in NAMES if name not in {"run", "task", "tempdir", "graph"}}
        self.graph = current.graph
        self.next(self.split)

    @step
    def split(self):
        """Splits."""
        self.items = [1]
        self.next(self.join_of, foreach="items")

    @step
    def join_of(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.choose)

    @step
    def choose(self):
        self.next({1: self.end, 2: self.other}, condition="constant_of")

    @step
    def other(self):
        self.next(self.end)

    constant_of = 1

    @step
    def end(self):
        self.task_id = current.task_id


def test_a_step_sees_its_run_and_its_task():
    played = succeed(LookFlow, tags=("t",))
    assert played.data("start")["seen"] == {
        "flow_name": "LookFlow",
        "run_id": "1234",
        "step_name": "start",
        "task_id": "1",
        "retry_count": 0,
        "origin_run_id": None,
        "pathspec": "LookFlow/1234/start/1",
        "namespace": "user:ada",
        "username": "ada",
        "tags": frozenset({"t"}),
        "parameter_names": ["alpha"],
        "is_parallel": False,
    }
    assert played.data("end")["task_id"] == "6"
    assert current.run_id is None


def test_the_graph_is_a_plain_dict():
    graph = succeed(LookFlow).data("start")["graph"]
    assert graph["file"].endswith("test_current.py")
    assert (graph["start_step"], graph["end_step"], graph["doc"]) == ("start", "end", "Looks at current.")
    assert graph["parameters"] == [{"name": "alpha", "type": "Parameter"}]
    assert graph["constants"] == [{"name": "constant", "type": "int"}, {"name": "constant_of", "type": "int"}]
    steps = graph["steps"]
    assert {name: info["type"] for name, info in steps.items()} == {
        "start": "start",
        "split": "split-foreach",
        "join_of": "linear",
        "join": "join",
        "choose": "split-switch",
        "other": "linear",
        "end": "end",
    }
    assert steps["split"]["doc"] == "Splits."
    assert (steps["split"]["foreach_artifact"], steps["split"]["matching_join"]) == ("items", "join")
    assert steps["choose"]["switch_cases"] == {1: "end", 2: "other"}
    assert steps["choose"]["next"] == ["end", "other"]


def test_current_is_left_when_a_task_fails():
    from asyncflow.testing import run_step

    class BadFlow(LookFlow):
        @step
        def end(self):
            raise ValueError

    with pytest.raises(ValueError):
        run_step(BadFlow.end)
    assert current.is_running_flow is False
