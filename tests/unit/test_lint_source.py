"""The checks that look at the text of a step; ``test_lint`` has those of the graph's shape."""

import pytest
from flow_sources import graph_of, marked, problems_of

from asyncflow.lint import check

SAMPLES = {
    "AF02 no steps": """
        class F(FlowSpec):  # flow AF02
            pass
    """,
    "AF05 the end goes on, somewhere in its body": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(self.end)
            @step
            def end(self):
                if self.more:
                    self.next(self.nowhere)  # AF05
    """,
    "AF07 no argument": """
        class F(FlowSpec):
            @step
            def start():  # AF07
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
    "AF07 another name for self": """
        class F(FlowSpec):
            @step
            def start(this):  # AF07
                this.next(this.end)
            @step
            def end(whatever):
                pass
    """,
    "AF07 three arguments": """
        class F(FlowSpec):
            @step
            def start(self, inputs, more):  # AF07
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
    "AF07 an argument by name": """
        class F(FlowSpec):
            @step
            def start(self, *, size, depth=3):  # AF07
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
    "AF07 a join that splits": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(self.a, foreach="items")
            @step
            def a(self):
                self.next(self.both)
            @step
            def both(self, inputs):  # AF07
                self.next(self.b, self.c)
            @step
            def b(self):
                self.next(self.join)
            @step
            def c(self):
                self.next(self.join)
            @step
            def join(self, inputs):
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
    "AF07 a join that recurses": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(self.a, foreach="items")
            @step
            def a(self):
                self.next(self.join)
            @step
            def join(self, inputs):  # AF07
                self.next({True: self.join, False: self.end}, condition="more")
            @step
            def end(self):
                pass
    """,
    "AF08 no next": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(self.a)
            @step
            def a(self):  # AF08
                self.x = 1
            @step
            def end(self):
                pass
    """,
    "AF08 next isn't the last statement": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(self.a)  # AF08
                return
            @step
            def a(self):
                if self.x:
                    self.next(self.b)
                else:
                    self.next(self.end)  # AF08
            @step
            def b(self):
                with open("x"):
                    self.next(self.c)  # AF08
            @step
            def c(self):
                return self.next(self.end)  # AF08
            @step
            def end(self):
                pass
    """,
    "AF08 next in a function of its own": """
        class F(FlowSpec):
            @step
            def start(self):  # AF08
                def go():
                    self.next(self.end)
                go()
            @step
            def end(self):
                pass
    """,
    "AF09 targets": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(*self.steps)  # AF09
            @step
            def a(self):
                self.next(getattr(self, "b"))  # AF09
            @step
            def b(self):
                self.next("c")  # AF09
            @step
            def c(self):
                self.next(self.d())  # AF09
            @step
            def d(self):
                self.next(F.e)  # AF09
            @step
            def e(self):
                self.next()  # AF09
            @step
            def end(self):
                pass
    """,
    "AF09 one step twice": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(self.a, self.a)  # AF09
            @step
            def a(self):
                self.next(self.join)
            @step
            def join(self, inputs):
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
    "AF09 arguments": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(self.a, for_each="items")  # AF09
            @step
            def a(self):
                self.next(self.b, **self.how)  # AF09
            @step
            def b(self):
                self.next(self.c, foreach="items", num_parallel=2)  # AF09
            @step
            def c(self):
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
    "AF09 a fan-out over several steps": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(self.a, self.b, foreach="items")  # AF09
            @step
            def a(self):
                self.next(self.join)
            @step
            def b(self):
                self.next(self.join)
            @step
            def join(self, inputs):
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
    "AF09 a foreach over a number": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(self.a, foreach=3)  # AF09
            @step
            def a(self):
                self.next(self.join)
            @step
            def join(self, inputs):
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
    "AF09 cases": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next({
                    None: self.a,  # AF09
                    (1, 2): self.b,  # AF09
                    KEY: self.c,  # AF09
                    f"{1}": self.d,  # AF09
                    self.x.y.z: self.end,  # AF09
                }, condition="state")
            @step
            def a(self):
                self.next({"x": "b", "y": self.end}, condition="state")  # AF09
            @step
            def b(self):
                self.next({**CASES, "x": self.c, "y": self.end}, condition="state")  # AF09
            @step
            def c(self):
                self.next({"x": self.d, "y": self.end}, self.end, condition="state")  # AF09
            @step
            def d(self):
                self.next({"x": self.e, "y": self.end}, condition="state", foreach="items")  # AF09
            @step
            def e(self):
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
    "AF10 unknown step": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(  # AF10
                    self.lod,
                    self.other,
                )
            @step
            def load(self):
                self.next(self.join)
            @step
            def other(self):
                self.next(self.join)
            @step
            def join(self, inputs):
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
    "AF14 no condition": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next({"x": self.a, "y": self.end})  # AF14
            @step
            def a(self):
                self.next({"x": self.b, "y": self.end}, condition=self.state)  # AF14
            @step
            def b(self):
                self.next({"x": self.c, "y": self.end}, condition="")  # AF14
            @step
            def c(self):
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
    "AF14 too few cases": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next({"x": self.a}, condition="state")  # AF14
            @step
            def a(self):
                self.next(self.b, condition="state")  # AF14
            @step
            def b(self):
                self.next({}, condition="state")  # AF14
            @step
            def end(self):
                pass
    """,
    "AF14 one key twice": """
        class F(FlowSpec):
            @step
            def start(self):
                self.next({
                    1: self.a,
                    True: self.end,  # AF14
                }, condition="state")
            @step
            def a(self):
                self.next(self.end)
            @step
            def end(self):
                pass
    """,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_sample(name, tmp_path):
    source = SAMPLES[name]
    assert {code for code, _, _ in marked(source)} == {name[:4]}
    assert problems_of(source, tmp_path) == marked(source)


@pytest.mark.parametrize("name", SAMPLES)
def test_words(name, tmp_path):
    for problem in check(graph_of(SAMPLES[name], tmp_path)):
        assert problem.message.endswith(".")
        assert problem.remedy.endswith(".")
        assert "TEXT" not in problem.message
        assert "STEP(" not in problem.remedy


def test_every_check_has_a_sample():
    from test_lint import SAMPLES as shapes

    assert {name[:4] for name in [*SAMPLES, *shapes]} == {f"AF{number:02}" for number in range(1, 20)}
