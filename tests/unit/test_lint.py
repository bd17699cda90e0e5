"""The checks that look at the shape of the graph, and how problems are told; ``test_lint_source`` has the others."""

import pytest
from flow_sources import define, graph_of, marked, problems_of, steps

from asyncflow.errors import GraphError
from asyncflow.graph import FlowGraph
from asyncflow.lint import check, ensure_valid

SAMPLES = {
    "AF01 reserved name": """
        start: self.input
        input AF01: self.end
        end:
    """,
    "AF02 no start": """
        flow AF02
        begin: self.end
        end:
    """,
    "AF02 no end": """
        flow AF02
        start: self.last
        last:
    """,
    "AF02 no end, though a step leads to it": """
        flow AF02
        start: self.end
    """,
    "AF02 two starts": """
        @step(start=True) one: self.end
        @step(start=True) two AF02: self.end
        end:
    """,
    "AF02 two ends": """
        start: self.one
        @step(end=True) one:
        @step(end=True) two AF02:
    """,
    "AF03 start": """
        start: self.go
        @step(start=True) go AF03: self.end
        end:
    """,
    "AF03 end": """
        start: self.end
        end:
        @step(end=True) last AF03:
    """,
    "AF04 back to the start": """
        start: self.a
        a: {"again": self.start, "done": self.end}, condition="state"  # AF04
        end:
    """,
    "AF04 the start chooses itself": """
        start: {"again": self.start, "done": self.end}, condition="state"  # AF04
        end:
    """,
    "AF05 the end goes on": """
        start: self.end
        end: self.start  # AF05
    """,
    "AF05 the end is a join": """
        start: self.a, foreach="items"
        a: self.end
        end! AF05:
    """,
    "AF06 names": """
        start: self.Load
        Load AF06: self._b
        _b AF06: self.été
        été AF06: self.end
        end:
    """,
    "AF11 cycle": """
        start: self.a
        a: self.b
        b: {"again": self.a, "done": self.end}, condition="state"  # AF11
        end:
    """,
    "AF11 a step onto itself, without a switch": """
        start: self.a
        a: self.a  # AF11
        end:
    """,
    "AF11 a switch onto nothing but itself": """
        start: self.a, self.b
        a: {1: self.a, 2: self.a}, condition="state"  # AF11
        b: self.join
        join!: self.end
        end:
    """,
    "AF11 an end that can't be reached because of it": """
        start: self.a
        a: {1: self.a, 2: self.a}, condition="state"  # AF11
        end:
    """,
    "AF12 orphan": """
        start: self.end
        lone AF12: self.after
        after: self.end
        end:
    """,
    "AF13 a foreach that isn't joined": """
        start: self.a, foreach="items"
        a: self.end
        end AF13:
    """,
    "AF13 a split whose join lacks its argument": """
        start: self.a, self.b
        a: self.join
        b: self.join
        join AF13: self.end
        end:
    """,
    "AF13 a branch is missing": """
        start: self.a, self.b, self.c
        a: self.join
        b: self.join
        join! AF13: self.all
        c: self.all
        all!: self.end
        end:
    """,
    "AF13 nothing to join": """
        start: self.a
        a! AF13: self.end
        end:
    """,
    "AF13 the start is a join": """
        start! AF13: self.end
        end:
    """,
    "AF13 unrelated splits": """
        start: self.a, self.b
        a: self.c, foreach="items"
        b: self.d, foreach="items"
        c: self.join
        d: self.join
        join! AF13: self.end
        end:
    """,
    "AF13 two nested splits joined at once": """
        start: self.a, self.b
        a: self.c, self.d
        b: self.join
        c: self.join
        d: self.join
        join! AF13: self.end
        end:
    """,
    "AF13 a split straight into its join": """
        start: self.a, self.join
        a: self.join
        join! AF13: self.end
        end:
    """,
    "AF13 ways of a switch meet in a join": """
        start: {"x": self.a, "y": self.b}, condition="state"
        a: self.join
        b: self.join
        join! AF13: self.end
        end:
    """,
    "AF13 from inside and outside of a foreach": """
        start: {"x": self.fan, "y": self.work}, condition="state"
        fan: self.work, foreach="items"
        work AF13: self.join
        join!: self.end
        end:
    """,
    "AF13 a switch in one branch leads into another": """
        start: self.a, self.b
        a: {"x": self.b, "y": self.c}, condition="state"
        b AF13: self.join
        c: self.join
        join!: self.end
        end:
    """,
    "AF15 a foreach straight into a join": """
        start: self.join, foreach="items"  # AF15
        join!: self.end
        end:
    """,
    "AF16 num_parallel without @parallel": """
        start: self.train, num_parallel=4  # AF16
        train: self.join
        join!: self.end
        end:
    """,
    "AF17 @parallel without a join": """
        start: self.train, num_parallel=4
        @parallel train: self.end  # AF17
        end:
    """,
    "AF18 @parallel reached by a foreach": """
        start: self.train, foreach="items"
        @parallel train AF18: self.join
        join!: self.end
        end:
    """,
    "AF19 a switch straight into a join": """
        start: self.a, foreach="items"
        a: {"x": self.b, "y": self.join}, condition="state"  # AF19
        b: self.join
        join!: self.end
        end:
    """,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_sample(name, tmp_path):
    source = steps(SAMPLES[name])
    assert {code for code, _, _ in marked(source)} == {name[:4]}
    assert problems_of(source, tmp_path) == marked(source)


def test_a_flow_without_steps(tmp_path):
    (problem,) = check(graph_of("class F(FlowSpec):\n    x = 1\n", tmp_path))
    assert (problem.code, problem.step, problem.line) == ("AF02", "", 1)
    assert problem.message == "Flow 'F' has no steps."


def test_a_flow_without_start_and_end(tmp_path):
    assert problems_of(steps("a: self.b\nb:"), tmp_path) == [("AF02", 1, ""), ("AF02", 1, "")]


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_words(name, tmp_path):
    graph = graph_of(steps(SAMPLES[name]), tmp_path)
    for problem in check(graph):
        assert problem.file == graph.file
        assert problem.message.endswith(".")
        assert problem.remedy.endswith(".")
        where = f"{graph.file}:{problem.line}: [{problem.code}] "
        assert str(problem).startswith(f"{where}step '{problem.step}': " if problem.step else where)
        assert str(problem).endswith(f"\n    → {problem.remedy}")


def test_an_error_for_one(tmp_path):
    with pytest.raises(GraphError, match=r"Flow 'F' can't run: its graph has one problem.\n.*\[AF15\] step 'start': "):
        ensure_valid(graph_of(steps(SAMPLES["AF15 a foreach straight into a join"]), tmp_path))


def test_a_valid_graph_raises_nothing(tmp_path):
    ensure_valid(graph_of(steps("start: self.end\nend:"), tmp_path))


def test_the_right_name_is_proposed(tmp_path):
    (problem,) = check(graph_of(steps("start: self.sumary\nsummary: self.end\nend:"), tmp_path))
    assert "Did you mean self.summary?" in problem.remedy


@pytest.mark.parametrize(("name", "better"), [("Load", "'load'"), ("_load", "'load'"), ("été", "such as 'load_2'")])
def test_a_better_name_is_proposed(name, better, tmp_path):
    (problem,) = check(graph_of(steps(f"start: self.{name}\n{name}: self.end\nend:"), tmp_path))
    assert better in problem.remedy


def test_a_problem_of_an_inherited_step_names_the_file_of_the_base(tmp_path):
    base = define(steps("start: self.nowhere\nend:"), tmp_path)
    derived = type("Derived", (base,), {})
    problem, *_ = check(FlowGraph.of(derived))
    assert (problem.code, problem.file) == ("AF10", base.start.__code__.co_filename)


def test_the_flows_own_file_comes_first(tmp_path):
    base = define(steps("start: self.Bad\nBad: self.also\nend:"), tmp_path)
    own = define("\n" * 20 + steps("also:"), tmp_path)
    derived = type("F", (base,), {"also": own.also})
    assert [problem.step for problem in check(FlowGraph.of(derived))] == ["also", "Bad"]
