"""Where the graph's source comes from: files, base classes, mixins, notebooks; and what if there is none."""

import functools
import linecache
import subprocess
import sys

import pytest
from flow_sources import define, graph_of, problems_of, steps

from asyncflow.errors import GraphError
from asyncflow.flow import FlowSpec, step
from asyncflow.graph import FlowGraph
from asyncflow.lint import check

# -- inheritance -----------------------------------------------------------------------------------


def test_steps_are_inherited_across_files(tmp_path):
    base = define(steps("start: self.a\na: self.end\nend:"), tmp_path)
    middle = define("\n\n\n" + steps("a: self.b\nb: self.end"), tmp_path)
    flow = type("Derived", (base,), {"a": middle.a, "b": middle.b})
    graph = FlowGraph.of(flow)
    assert [node.name for node in graph] == ["start", "a", "b", "end"]
    assert graph["start"].file == base.start.__code__.co_filename
    assert graph["b"].file == middle.b.__code__.co_filename
    assert (graph["a"].line, graph["b"].line) == (6, 9)
    assert check(graph) == []


class Mixin:
    @step
    def extra(self):
        self.next(self.end)


class Base(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def unused(self):
        self.next(self.end)

    @step
    def end(self):
        """The base's."""


class Derived(Mixin, Base):
    unused = None

    @step
    def start(self):
        self.next(self.extra)


def test_mixins_and_overrides():
    graph = FlowGraph.of(Derived)
    assert [node.name for node in graph] == ["start", "extra", "end"]
    assert graph["start"].out == ("extra",)
    assert check(graph) == []
    assert [node.name for node in FlowGraph.of(Base)] == ["start", "unused", "end"]


def test_an_override_that_is_no_step_takes_the_step_away():
    class Without(Base):
        def end(self):
            pass

    assert "end" not in FlowGraph.of(Without)


def test_an_override_loses_the_bases_decorators(tmp_path):
    base = define(steps("@retry() start: self.end\nend:"), tmp_path)
    own = define(steps("start: self.end"), tmp_path)
    assert FlowGraph.of(base)["start"].decorators == ("retry",)
    assert FlowGraph.of(type("F", (base,), {"start": own.start}))["start"].decorators == ()


# -- how a step may be written ---------------------------------------------------------------------


def traced(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Wrapped(FlowSpec):
    @traced
    @step
    def start(self):
        """Kept."""
        self.next(self.end)

    @step
    @traced
    def end(self):
        pass


def test_decorators_that_wrap():
    graph = FlowGraph.of(Wrapped)
    assert graph["start"].doc == "Kept."
    assert graph["start"].decorators == ("traced",)
    assert check(graph) == []


def test_definitions_in_branches_and_functions(tmp_path):
    source = """
        import sys
        class Outer:
            if sys.version_info < (3,):
                pass
            else:
                try:
                    class F(FlowSpec):
                        with open(__file__):
                            @step
                            def start(self):
                                self.next(self.end)
                        for _ in range(1):
                            @step
                            def end(self):
                                pass
                        match 1:
                            case 1:
                                def plain(self): pass
                finally:
                    pass
        F = Outer.F
    """
    assert problems_of(source, tmp_path) == []
    assert graph_of(source, tmp_path).line == 8


def test_two_definitions_of_one_name(tmp_path):
    source = """
        class F(FlowSpec):
            @step
            def start(self):
                self.next(self.nowhere)
            @step
            def start(self):
                self.next(self.end)
            @step
            def end(self):
                pass
    """
    graph = graph_of(source, tmp_path)
    assert graph["start"].line == 7
    assert check(graph) == []


@pytest.mark.parametrize(
    "source",
    [
        "def start(self, /):\n        self.next(self.end)",
        "def start(self, *args, **kwargs):\n        self.next(self.end)",
        "def start(self, *, depth=3):\n        self.next(self.end)",
        "async def start(self):\n        self.next(self.end)",
        "def start(self): self.next(self.end)",
        "def start(self):\n        self.x = 1; self.next(self.end)",
        "def start(self):\n        (self\n            .next(self.end))",
        "def start(self):\n        def inner(): self.next(self.wrong)\n        self.next(self.end)",
    ],
)
def test_ways_to_write_a_step(source, tmp_path):
    flow = f"class F(FlowSpec):\n    @step\n    {source}\n    @step\n    def end(whatever): pass\n"
    assert problems_of(flow, tmp_path) == []


# -- where the source is ---------------------------------------------------------------------------


def test_a_notebook_cell():
    source = steps("start: self.end\nend:")
    name = "<cell 7>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        namespace = {"FlowSpec": FlowSpec, "step": step, "__name__": "__main__"}
        exec(compile(source, name, "exec"), namespace)
        graph = FlowGraph.of(namespace["F"])
    finally:
        del linecache.cache[name]
    assert graph["start"].file == name
    assert graph["start"].line == 3
    assert graph.line == 1
    assert check(graph) == []


def test_no_source():
    namespace = {"FlowSpec": FlowSpec, "step": step, "__name__": "nowhere"}
    exec(compile(steps("start: self.end\nend:"), "<string>", "exec"), namespace)
    with pytest.raises(GraphError, match="Step 'start' of flow 'F' was defined in <string>, whose source isn't there"):
        FlowGraph.of(namespace["F"])


def test_a_lambda_is_no_step(tmp_path):
    flow = define("class F(FlowSpec):\n    start = step(lambda self: None)\n", tmp_path)
    with pytest.raises(GraphError, match="Write the step as a method: `def start"):
        FlowGraph.of(flow)


def test_a_builtin_is_no_step():
    class Callable:
        is_step = True

    with pytest.raises(GraphError, match="can't be read from the source"):
        FlowGraph.of(type("F", (FlowSpec,), {"start": Callable()}))


def test_a_file_that_has_changed(tmp_path):
    flow = define(steps("start: self.end\nend:"), tmp_path)
    (file,) = tmp_path.iterdir()
    assert check(FlowGraph.of(flow)) == []
    file.write_text("\n\n" + file.read_text())
    with pytest.raises(GraphError, match=r"there is no `def start` in line 2 .* has changed"):
        FlowGraph.of(flow)
    file.write_text("def broken(\n")
    with pytest.raises(GraphError, match="has changed since it was loaded, and can't be read now"):
        FlowGraph.of(flow)
    file.unlink()
    with pytest.raises(GraphError, match="whose source isn't there"):
        FlowGraph.of(flow)


def test_a_file_is_parsed_once(tmp_path, monkeypatch):
    import ast

    parsed = []
    parse = ast.parse
    monkeypatch.setattr(ast, "parse", lambda source: parsed.append(source) or parse(source))
    flow = define(steps("start: self.a\na: self.b\nb: self.end\nend:"), tmp_path)
    for _ in range(3):
        FlowGraph.of(flow)
    assert len(parsed) == 1


def test_text_that_isnt_utf8(tmp_path):
    graph = graph_of(steps(r"start: self.a, foreach='\ud800'" + "\na: self.j\nj!: self.end\nend:"), tmp_path)
    assert graph["start"].foreach_var == "?"
    assert FlowGraph.from_json(graph.to_json()) == graph


def test_a_graph_from_json_costs_no_parser():
    code = """
import sys
from asyncflow.graph import FlowGraph

FlowGraph.from_json(FlowGraph(name="F").to_json())
print([name for name in sys.modules if name.startswith("asyncflow.graph.") and "nodes" not in name])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['asyncflow.graph.flowgraph']"
