"""Several problems in one flow: all independent ones are told at once, and each mistake once."""

import pytest
from flow_sources import graph_of, marked, problems_of, steps

from asyncflow.errors import GraphError
from asyncflow.lint import check, ensure_valid

MANY = """
    class F(FlowSpec):
        @step
        def start(self):
            self.next(self.Load)
        @step
        def lone(self):  # AF12
            self.next(self.index)
        @step
        def index(self):  # AF01
            self.next(self.index)  # AF11
        @step
        def Load(self, extra, more):  # AF06 AF07
            self.next(self.fan)
        @step
        def fan(self):
            self.next(self.work, foreach=3)  # AF09
        @step
        def work(self):
            self.next({"x": self.left}, condition="state")  # AF14
        @step
        def left(self):
            self.next(self.collect)
        @step
        def collect(self, inputs):
            self.next(self.sumary)  # AF10
        @step
        def summary(self):
            self.next(self.a, self.b)
        @step
        def a(self):
            self.next(self.end)
        @step
        def b(self):  # AF08
            self.x = 1
        @step
        def end(self):  # AF13
            pass
"""


def test_all_problems_are_told_at_once(tmp_path):
    assert problems_of(MANY, tmp_path) == marked(MANY)


FOLLOWS = {
    "what a step without next was meant to lead to isn't an orphan": """
        start: self.a
        a AF08:
        b: self.end
        lone AF12: self.end
        end:
    """,
    "nor is what an unreadable next may mean": """
        start: *self.several  # AF09
        a: self.end
        b: self.end
        end:
    """,
    "nor is what it names in the wrong way": """
        start: "b"  # AF09
        a AF12: self.end
        b: self.end
        end:
    """,
    "nor is the right name of a misspelt step": """
        start: self.summary  # AF10
        sumary: self.a, self.b
        a: self.end
        b: self.end
        end AF13:
    """,
    "a misspelt step isn't taken for one that has its place": """
        start: self.step1
        step1: self.step2
        step2: self.step3  # AF10
        end:
    """,
    "a branch that leads nowhere isn't missing at the join": """
        start: self.a, self.b
        a: self.nowhere  # AF10
        b: self.join
        join!: self.end
        end:
    """,
    "a branch in a cycle isn't missing at the join": """
        start: self.a, self.b
        a: self.c
        c: self.a  # AF11
        b: self.join
        join!: self.end
        end:
    """,
    "what follows a join that was forgotten is right": """
        start: self.a, self.b
        a: self.c, self.d
        c: self.inner
        d: self.inner
        inner AF13: self.outer
        b: self.outer
        outer!: self.end
        end:
    """,
    "a join after a join that was forgotten": """
        start: self.a, foreach="items"
        a: self.b, self.c
        b: self.d
        c: self.d
        d AF13: self.join
        join!: self.after
        after!: self.end
        end:
    """,
    "two splits that have nothing to do with each other": """
        start: self.a, self.b
        a: self.c
        b: self.c
        c AF13: self.d
        d: self.e, self.f, self.g
        e: self.join
        f: self.join
        join! AF13: self.h
        g: self.i
        i: self.h
        h!: self.end
        end:
    """,
    "an end that isn't certain": """
        start: self.a
        a: self.end
        end:
        @step(end=True) last AF03:
    """,
    "no end, and several steps that could be it": """
        flow AF02
        start: {"x": self.a, "y": self.b}, condition="state"
        a AF08:
        b AF08:
    """,
    "a gang without a join isn't a foreach without one too": """
        start: self.train, num_parallel=4
        @parallel train: self.after  # AF17
        after: self.end
        end:
    """,
    "a gang that leads nowhere": """
        start: self.train, num_parallel=4
        @parallel train AF08:
        join!: self.end
        end:
    """,
    "a gang straight into a join": """
        start: self.join, num_parallel=4  # AF15
        join!: self.end
        end:
    """,
    "a gang that is the start, and one that is the end": """
        @parallel start AF18: self.end  # AF17
        @parallel end AF18 AF17:
    """,
    "a gang that may be reached rightly, if the arguments were right": """
        start: self.train, num_parallel=4, cpu=3  # AF09
        @parallel train: self.join
        join!: self.end
        end:
    """,
    "orphans in a circle": """
        start: self.end
        a AF12: self.b
        b: self.a  # AF11
        end:
    """,
    "a switch straight into a join where nothing is open": """
        start: {"x": self.a, "y": self.join}, condition="state"  # AF19
        a: self.join
        join! AF13: self.end
        end:
    """,
    "a switch with all cases in a join where nothing is open": """
        start: {"x": self.join, "y": self.join}, condition="state"  # AF19
        join!: self.end
        end:
    """,
}


@pytest.mark.parametrize("name", FOLLOWS)
def test_one_mistake_is_told_once(name, tmp_path):
    source = steps(FOLLOWS[name])
    assert sorted(problems_of(source, tmp_path)) == sorted(marked(source))


def test_an_error_that_lists_all(tmp_path):
    graph = graph_of(MANY, tmp_path)
    with pytest.raises(GraphError) as caught:
        ensure_valid(graph)
    problems = check(graph)
    assert caught.value.problems == tuple(problems)
    first, *rest = str(caught.value).splitlines()
    assert first == f"Flow 'F' can't run: its graph has {len(problems)} problems."
    assert "\n".join(rest) == "\n".join(str(problem) for problem in problems)
