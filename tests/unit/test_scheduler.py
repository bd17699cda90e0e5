"""What is started when, with which inputs: a flow's shapes, slots, order, replay."""

from __future__ import annotations

from scheduler_model import flow, foreach, join, step, switch
from scheduler_rig import Rig, policy

from asyncflow.events import (
    Frame,
    Submit,
    TaskId,
    TaskInput,
)
from asyncflow.graph import FlowGraph, Node, NodeKind

LINEAR = flow(step("start", "middle"), step("middle", "end"))
FOREACH = flow(foreach("start", "work"), step("work", "join"), join("join", "end"))
SPLIT = flow(step("start", "a", "b", "c"), step("a", "join"), step("b", "join"), step("c", "join"), join("join", "end"))
NESTED = flow(
    foreach("start", "inner"),
    foreach("inner", "work"),
    step("work", "inner_join"),
    join("inner_join", "outer_join"),
    join("outer_join", "end"),
)
LOOP = flow(step("start", "loop"), switch("loop", "loop", "out"), step("out", "end"))


def inputs(rig: Rig, name: str, *path: int) -> list[str]:
    """The tasks that a task in flight starts from, as ``work[0]``."""
    spec = rig.flying[rig.attempt(name, *path)]
    for given in spec.inputs:
        assert given.manifest == rig.ended[given.task][1]
    return [given.task.step + (str(list(given.task.path)) if given.task.path else "") for given in spec.inputs]


# -- shapes ----------------------------------------------------------------------------------------


def test_a_linear_flow_from_first_to_last_command() -> None:
    rig = Rig(LINEAR)
    assert rig.start() == ["submit local: start"]
    (spec,) = rig.scheduler.in_flight()
    assert spec.inputs == (TaskInput(TaskId("_parameters"), Rig.PARAMETERS),)
    assert spec.frames == ()
    assert rig.succeed("start") == ["submit local: middle"]
    assert inputs(rig, "middle") == ["start"]
    assert rig.succeed("middle") == ["submit local: end"]
    assert rig.succeed("end") == ["finish succeeded"]


def test_a_flow_of_one_step() -> None:
    only = Node(name="only", kind=NodeKind.END)
    rig = Rig(FlowGraph(name="Model", nodes={"only": only}, start="only", end="only"))
    assert rig.start() == ["submit local: only"]
    assert rig.succeed("only") == ["finish succeeded"]


def test_serial_numbers_are_given_at_the_first_submit_in_order() -> None:
    rig = Rig(FOREACH, limits={"local": 2})
    rig.start()
    rig.succeed("start", width=3)
    rig.succeed("work", 1)
    rig.succeed("work", 0)
    rig.succeed("work", 2)
    assert {task: spec.attempt.serial for task, spec in rig.specs.items()} == {
        TaskId("start"): 1,
        TaskId("work", (0,)): 2,
        TaskId("work", (1,)): 3,
        TaskId("work", (2,)): 4,
        TaskId("join"): 5,
    }


def test_a_foreach_joins_in_item_order_however_its_items_end() -> None:
    rig = Rig(FOREACH, limits={"local": 3})
    rig.start()
    assert rig.succeed("start", width=3) == ["submit local: work[0] work[1] work[2]"]
    assert rig.flying[rig.attempt("work", 1)].frames == (Frame("start", "items", 1, 3),)
    assert rig.succeed("work", 2) == []
    assert rig.succeed("work", 0) == []
    assert rig.succeed("work", 1) == ["submit local: join"]
    assert inputs(rig, "join") == ["work[0]", "work[1]", "work[2]"]
    assert rig.flying[rig.attempt("join")].frames == ()


def test_a_static_split_joins_in_declaration_order() -> None:
    rig = Rig(SPLIT, limits={"local": 3})
    rig.start()
    assert rig.succeed("start") == ["submit local: a b c"]
    rig.succeed("c")
    rig.succeed("a")
    assert rig.succeed("b") == ["submit local: join"]
    assert inputs(rig, "join") == ["a", "b", "c"]


def test_a_branch_that_is_the_join_itself_has_the_splits_artifacts() -> None:
    rig = Rig(flow(step("start", "a", "join"), step("a", "join"), join("join", "end")))
    rig.start()
    assert rig.succeed("start") == ["submit local: a"]
    assert rig.succeed("a") == ["submit local: join"]
    assert inputs(rig, "join") == ["a", "start"]


def test_nested_joins_go_on_in_the_place_of_their_fan_out() -> None:
    rig = Rig(NESTED, limits={"local": 9})
    rig.start()
    rig.succeed("start", width=2)
    assert rig.succeed("inner", 1, width=2) == ["submit local: work[1,0] work[1,1]"]
    assert rig.succeed("inner", 0, width=1) == ["submit local: work[0,0]"]
    assert [(frame.step, frame.index, frame.width) for frame in rig.flying[rig.attempt("work", 1, 1)].frames] == [
        ("start", 1, 2),
        ("inner", 1, 2),
    ]
    rig.succeed("work", 1, 1)
    assert rig.succeed("work", 1, 0) == ["submit local: inner_join[1]"]
    assert inputs(rig, "inner_join", 1) == ["work[1, 0]", "work[1, 1]"]
    assert rig.flying[rig.attempt("inner_join", 1)].frames == (Frame("start", "items", 1, 2),)
    assert rig.succeed("inner_join", 1) == []
    assert rig.succeed("work", 0, 0) == ["submit local: inner_join[0]"]
    assert rig.succeed("inner_join", 0) == ["submit local: outer_join"]
    assert inputs(rig, "outer_join") == ["inner_join[0]", "inner_join[1]"]


def test_a_static_split_in_a_foreach_pops_no_frame() -> None:
    rig = Rig(
        flow(
            foreach("start", "split"),
            step("split", "a", "b"),
            step("a", "join"),
            step("b", "join"),
            join("join", "close"),
            join("close", "end"),
        ),
        limits={"local": 9},
    )
    rig.start()
    rig.succeed("start", width=2)
    assert rig.succeed("split", 1) == ["submit local: a[1] b[1]"]
    rig.succeed("b", 1)
    assert rig.succeed("a", 1) == ["submit local: join[1]"]
    assert rig.flying[rig.attempt("join", 1)].frames == (Frame("start", "items", 1, 2),)
    assert inputs(rig, "join", 1) == ["a[1]", "b[1]"]


def test_a_join_may_fan_out_again() -> None:
    rig = Rig(
        flow(
            foreach("start", "work"),
            step("work", "again"),
            foreach("again", "more", is_join=True),
            step("more", "close"),
            join("close", "end"),
        )
    )
    rig.start()
    rig.succeed("start", width=1)
    assert rig.succeed("work", 0) == ["submit local: again"]
    assert rig.succeed("again", width=2) == ["submit local: more[0] more[1]"]
    assert rig.flying[rig.attempt("more", 0)].frames == (Frame("again", "items", 0, 2),)


def test_a_switch_takes_one_way() -> None:
    rig = Rig(flow(switch("start", "a", "b"), step("a", "meet"), step("b", "meet"), step("meet", "end")))
    rig.start()
    assert rig.succeed("start", to="b") == ["submit local: b"]
    assert rig.succeed("b") == ["submit local: meet"]
    assert inputs(rig, "meet") == ["b"]


def test_items_may_come_to_the_join_through_different_steps() -> None:
    graph = flow(
        foreach("start", "pick"), switch("pick", "a", "b"), step("a", "join"), step("b", "join"), join("join", "end")
    )
    rig = Rig(graph, limits={"local": 3})
    rig.start()
    rig.succeed("start", width=3)
    for index, way in enumerate("bab"):
        rig.succeed("pick", index, to=way)
    rig.succeed("b", 0)
    rig.succeed("b", 2)
    assert rig.succeed("a", 1) == ["submit local: join"]
    assert inputs(rig, "join") == ["b[0]", "a[1]", "b[2]"]


def test_a_recursion_counts_its_iterations_at_the_end_of_the_path() -> None:
    rig = Rig(LOOP)
    rig.start()
    assert rig.succeed("start") == ["submit local: loop[0]"]
    assert rig.succeed("loop", 0, to="loop") == ["submit local: loop[1]"]
    assert rig.succeed("loop", 1, to="loop") == ["submit local: loop[2]"]
    assert inputs(rig, "loop", 2) == ["loop[1]"]
    assert rig.succeed("loop", 2, to="out") == ["submit local: out"]
    assert inputs(rig, "out") == ["loop[2]"]


def test_a_recursion_in_a_foreach_counts_for_each_item() -> None:
    graph = flow(foreach("start", "loop"), switch("loop", "loop", "out"), step("out", "join"), join("join", "end"))
    rig = Rig(graph)
    rig.start()
    assert rig.succeed("start", width=2) == ["submit local: loop[0,0] loop[1,0]"]
    assert rig.succeed("loop", 1, 0, to="loop") == ["submit local: loop[1,1]"]
    assert rig.flying[rig.attempt("loop", 1, 1)].frames == (Frame("start", "items", 1, 2),)
    assert rig.succeed("loop", 1, 1, to="out") == ["submit local: out[1]"]
    assert rig.succeed("loop", 0, 0, to="out") == ["submit local: out[0]"]
    rig.succeed("out", 1)
    assert rig.succeed("out", 0) == ["submit local: join"]
    assert inputs(rig, "join") == ["out[0]", "out[1]"]


# -- slots and order ---------------------------------------------------------------------------------


def test_no_more_than_the_limit_is_in_flight() -> None:
    rig = Rig(FOREACH, limits={"local": 2})
    rig.start()
    assert rig.succeed("start", width=1_000_000) == ["submit local: work[0] work[1]"]
    assert rig.succeed("work", 1) == ["submit local: work[2]"]
    assert rig.succeed("work", 0) == ["submit local: work[3]"]


def test_what_goes_on_comes_before_siblings_that_have_not_started() -> None:
    graph = flow(foreach("start", "first"), step("first", "second"), step("second", "join"), join("join", "end"))
    rig = Rig(graph, limits={"local": 1})
    rig.start()
    assert rig.succeed("start", width=2) == ["submit local: first[0]"]
    assert rig.succeed("first", 0) == ["submit local: second[0]"]
    assert rig.succeed("second", 0) == ["submit local: first[1]"]


def test_inner_joins_close_before_outer_siblings_start() -> None:
    rig = Rig(NESTED, limits={"local": 1})
    rig.start()
    order = rig.succeed("start", width=2) + rig.succeed("inner", 0, width=2)
    order += rig.succeed("work", 0, 0) + rig.succeed("work", 0, 1) + rig.succeed("inner_join", 0)
    assert [line.removeprefix("submit local: ") for line in order] == [
        "inner[0]",
        "work[0,0]",
        "work[0,1]",
        "inner_join[0]",
        "inner[1]",
    ]


def test_static_branches_start_in_declaration_order() -> None:
    rig = Rig(SPLIT, limits={"local": 1})
    rig.start()
    assert [rig.succeed(name) for name in ("start", "a", "b", "c")] == [
        ["submit local: a"],
        ["submit local: b"],
        ["submit local: c"],
        ["submit local: join"],
    ]


def test_each_executor_has_its_own_slots_and_its_own_queue() -> None:
    rig = Rig(SPLIT, limits={"local": 1, "batch": 1}, policies={"b": policy("batch"), "c": policy("batch")})
    rig.start()
    assert rig.succeed("start") == ["submit local: a", "submit batch: b"]
    assert rig.succeed("a") == []
    assert rig.succeed("b") == ["submit batch: c"]
    assert rig.succeed("c") == ["submit local: join"]


def test_a_raised_limit_is_filled_in_one_submit() -> None:
    rig = Rig(FOREACH, limits={"local": 1})
    rig.start()
    rig.succeed("start", width=10)
    assert rig.limit(4) == ["submit local: work[1] work[2] work[3]"]


def test_a_lowered_limit_lets_what_runs_end_and_submits_nothing_until_there_is_room() -> None:
    rig = Rig(FOREACH, limits={"local": 3})
    rig.start()
    rig.succeed("start", width=10)
    assert rig.limit(1) == []
    assert rig.succeed("work", 0) == []
    assert rig.succeed("work", 1) == []
    assert rig.succeed("work", 2) == ["submit local: work[3]"]


def test_no_slots_at_all_is_not_the_end_of_a_run() -> None:
    rig = Rig(LINEAR, limits={"local": 0})
    assert rig.start() == []
    assert rig.limit(1) == ["submit local: start"]


# -- replay ------------------------------------------------------------------------------------------


def test_a_replay_of_the_journal_gives_the_same_commands_and_the_same_state() -> None:
    rig = Rig(FOREACH, limits={"local": 3}, policies={"work": policy(times=2, delay=5.0)})
    rig.start()
    rig.run_task("start")
    rig.succeed("start", width=5)
    rig.run_task("work", 1)
    rig.fail("work", 1)
    rig.succeed("work", 2)
    other = rig.replayed()
    assert [spec.attempt.task.path for spec in other.in_flight()] == [(0,), (3,), (4,)]
    assert [(wake.attempt.number, wake.delay) for wake in other.waiting()] == [(1, 5.0)]


def test_in_flight_can_be_asked_for_one_executor() -> None:
    rig = Rig(SPLIT, limits={"local": 2, "batch": 2}, policies={"b": policy("batch")})
    rig.start()
    rig.succeed("start")
    assert [spec.attempt.task.step for spec in rig.scheduler.in_flight("batch")] == ["b"]
    assert [spec.attempt.task.step for spec in rig.scheduler.in_flight("local")] == ["a", "c"]
    assert len(rig.scheduler.in_flight()) == 3


def test_a_submit_carries_what_the_same_event_made_ready_and_nothing_else() -> None:
    rig = Rig(SPLIT, limits={"local": 5})
    rig.start()
    commands = rig.send(rig.success(rig.attempt("start")))
    assert len(commands) == 1
    assert isinstance(commands[0], Submit)
    assert [spec.attempt.serial for spec in commands[0].specs] == [2, 3, 4]
