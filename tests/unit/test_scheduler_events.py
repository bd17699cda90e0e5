"""Events that are late, twice, wrong or too early; and what the core may import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from scheduler_model import flow, foreach, join, step
from scheduler_rig import Rig, policy

from asyncflow import engine
from asyncflow.engine.scheduler import Scheduler
from asyncflow.errors import InvalidTransition
from asyncflow.events import (
    BlobRef,
    CancelRequested,
    LimitChanged,
    Next,
    RunStarted,
    TaskId,
    TaskStarted,
    TaskSucceeded,
)

LINEAR = flow(step("start", "middle"), step("middle", "end"))
FOREACH = flow(foreach("start", "work"), step("work", "join"), join("join", "end"))


def test_an_ending_that_comes_twice_is_dropped_and_counted() -> None:
    rig = Rig(FOREACH)
    rig.start()
    rig.succeed("start", width=3)
    ending = rig.success(rig.attempt("work", 0))
    rig.send(ending)
    rig.again(ending)
    rig.again(TaskStarted(ending.attempt, 0.0))
    assert rig.scheduler.counters.stale == 2


def test_after_the_last_command_everything_is_dropped() -> None:
    rig = Rig(LINEAR)
    rig.start()
    for name in ("start", "middle", "end"):
        rig.succeed(name)
    assert rig.finish is not None
    rig.again(CancelRequested("too late", 0.0))
    rig.again(LimitChanged("local", 5))
    rig.again(rig.endings[-1])


@pytest.mark.parametrize(("number", "serial"), [(0, 7), (0, 1), (1, 2), (0, 0)])
def test_an_attempt_that_disagrees_with_ours_is_a_bug(number: int, serial: int) -> None:
    rig = Rig(LINEAR)
    rig.start()
    rig.succeed("start")
    wrong = type(rig.attempt("middle"))(TaskId("middle"), number, serial)
    with pytest.raises(InvalidTransition, match="middle"):
        rig.scheduler.handle(TaskStarted(wrong, 0.0))


def test_a_task_that_was_never_submitted_is_a_bug() -> None:
    rig = Rig(FOREACH)
    rig.start()
    rig.succeed("start", width=3)
    wrong = type(rig.attempt("work", 0))(TaskId("work", (2,)), 0, 4)
    with pytest.raises(InvalidTransition, match="never submitted"):
        rig.scheduler.handle(TaskStarted(wrong, 0.0))


def test_starting_twice_is_a_bug() -> None:
    rig = Rig(LINEAR)
    rig.start()
    rig.run_task("start")
    with pytest.raises(InvalidTransition, match=r"TaskStarted can't come to task start .*running"):
        rig.run_task("start")


@pytest.mark.parametrize("following", [None, Next(("end",)), Next(("work",)), Next(("work", "join"))])
def test_a_way_that_the_graph_does_not_have_is_a_bug(following: Next | None) -> None:
    rig = Rig(FOREACH)
    rig.start()
    event = TaskSucceeded(rig.attempt("start"), BlobRef(b"", 0), following, 0.0, 0.0)
    with pytest.raises(InvalidTransition, match="the graph has no way"):
        rig.scheduler.handle(event)


def test_a_join_without_a_split_is_a_bug() -> None:
    rig = Rig(flow(step("start", "join"), join("join", "end")))
    rig.start()
    with pytest.raises(InvalidTransition, match="nothing was split"):
        rig.succeed("start")


def test_the_first_event_is_run_started_and_it_comes_once() -> None:
    with pytest.raises(InvalidTransition, match="RunStarted is the first"):
        Scheduler(LINEAR).handle(CancelRequested("early", 0.0))
    rig = Rig(LINEAR)
    rig.start()
    with pytest.raises(InvalidTransition, match="comes once"):
        rig.start()


def test_run_started_must_speak_of_every_step_and_executor() -> None:
    def started(policies: dict, limits: dict) -> RunStarted:
        return RunStarted("1", "Model", 0.0, "", Rig.PARAMETERS, policies, limits)

    with pytest.raises(InvalidTransition, match="no policy for step 'middle'"):
        Scheduler(LINEAR).handle(started({"start": policy(), "end": policy()}, {"local": 1}))
    everywhere = dict.fromkeys(LINEAR.nodes, policy("batch"))
    with pytest.raises(InvalidTransition, match="no limit for executor 'batch'"):
        Scheduler(LINEAR).handle(started(everywhere, {"local": 1}))


# -- purity --------------------------------------------------------------------------------------------

PURE = ("scheduler", "states", "fanout", "retry", "tasks", "invariants")
FORBIDDEN = {"asyncio", "anyio", "os", "time", "random", "logging", "datetime", "threading", "uuid", "secrets"}


@pytest.mark.parametrize("name", PURE)
def test_the_core_imports_nothing_that_does_something(name: str) -> None:
    tree = ast.parse((Path(engine.__file__).parent / f"{name}.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {module.split(".")[0] for module in imported} & FORBIDDEN
