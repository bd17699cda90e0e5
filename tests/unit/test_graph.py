"""What the graph knows of each step, its hash, and how it travels."""

import msgspec
import pytest
from flow_sources import define, graph_of, problems_of, steps

from asyncflow.errors import GraphError
from asyncflow.flow import FlowSpec, step
from asyncflow.graph import FlowGraph, NodeKind


class Everything(FlowSpec):
    """A flow with all forms.

    Indented.
    """

    @step
    def start(self):
        """Splits."""
        if self.early:
            self.next(self.left, self.right)
            return
        self.next(self.left, self.right)

    @step
    async def left(self):
        self.next(
            self.work,
            foreach="items",
        )

    @step
    def work(self):
        self.next({"again": self.work, -1: self.done, 2.5: self.done, self.cfg.key: self.give_up}, condition="state")

    @step
    def done(self):
        self.next(self.collect)

    @step
    def give_up(self):
        self.next(self.collect)

    @step
    def collect(self, results):
        self.next(self.both)

    @step()
    def right(self):
        self.next(self.both)

    @step
    def both(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


@pytest.fixture(scope="module")
def graph():
    return FlowGraph.of(Everything)


# -- reading ---------------------------------------------------------------------------------------


def test_the_flow(graph):
    assert (graph.name, graph.start, graph.end) == ("Everything", "start", "end")
    assert graph.doc == "A flow with all forms.\n\nIndented."
    assert graph.file == __file__
    assert graph.line == define_line("class Everything")


def define_line(text):
    with open(__file__, encoding="utf-8") as file:
        return next(number for number, line in enumerate(file, start=1) if line.strip().startswith(text))


def test_kinds(graph):
    kinds = {node.name: node.kind.value for node in graph}
    assert kinds == {
        "start": "split",
        "left": "foreach",
        "work": "switch",
        "done": "linear",
        "give_up": "linear",
        "collect": "linear",
        "right": "linear",
        "both": "linear",
        "end": "end",
    }
    assert [node.name for node in graph if node.is_join] == ["collect", "both"]
    assert [node.name for node in graph if node.is_recursive] == ["work"]


def test_ways(graph):
    assert graph["start"].out == ("left", "right")
    assert graph["left"].foreach_var == "items"
    assert graph["work"].condition == "state"
    assert graph["work"].cases == (("again", "work"), (-1, "done"), (2.5, "done"), ("self.cfg.key", "give_up"))
    assert graph["work"].out == ("work", "done", "give_up")
    assert graph["work"].incoming == ("left", "work")
    assert graph["end"].out == ()


def test_nest(graph):
    assert {node.name: node.splits for node in graph if node.splits} == {
        "left": ("start",),
        "work": ("start", "left"),
        "done": ("start", "left"),
        "give_up": ("start", "left"),
        "collect": ("start",),
        "right": ("start",),
    }
    assert {node.name: node.join for node in graph if node.join} == {"start": "both", "left": "collect"}
    assert graph["both"].incoming == ("collect", "right")


def test_lines(graph):
    assert graph["left"].line == define_line("async def left")
    assert graph["left"].next_line == graph["left"].line + 1
    assert graph["right"].line == define_line("def right")
    assert graph["start"].next_line == graph["start"].line + 5
    assert graph["end"].next_line is None
    assert graph["start"].doc == "Splits."


def test_as_a_container(graph):
    assert len(graph) == 9
    assert "work" in graph
    assert "nothing" not in graph
    with pytest.raises(KeyError):
        graph["nothing"]


def test_steps_stand_after_those_that_lead_to_them(tmp_path):
    graph = graph_of(
        steps("""
            end:
            join!: self.end
            b: self.join
            a: self.join
            start: self.a, self.b
        """),
        tmp_path,
    )
    assert [node.name for node in graph] == ["start", "b", "a", "join", "end"]
    # The branches of a split in the order of its self.next.
    assert graph["join"].incoming == ("a", "b")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('"a"', "a"),
        ("1", 1),
        ("-1", -1),
        ("1.5", 1.5),
        ("True", True),
        ("self.cfg.a", "self.cfg.a"),
        ("1e999", "1e309"),
        ("1j", "1j"),
        ('b"a"', "b'a'"),
        (str(2**70), str(2**70)),
        (r'"\ud800"', r"'\ud800'"),
    ],
)
def test_case_keys(written, shown, tmp_path):
    source = steps(f'start: {{{written}: self.a, "other": self.end}}, condition="x"\na: self.end\nend:')
    graph = graph_of(source, tmp_path)
    key, target = graph["start"].cases[0]
    assert (key, type(key), target) == (shown, type(shown), "a")
    assert FlowGraph.from_json(graph.to_json()) == graph


@pytest.mark.parametrize(
    "arguments", ["foreach=NAME", "foreach=self.which", "foreach=f'{x}'", "num_parallel=self.n + 1"]
)
def test_what_only_the_running_step_knows(arguments, tmp_path):
    graph = graph_of(steps(f"start: self.a, {arguments}\n@parallel a: self.j\nj!: self.end\nend:"), tmp_path)
    assert graph["start"].kind in {NodeKind.FOREACH, NodeKind.PARALLEL}
    assert graph["start"].foreach_var is None


def test_decorators(tmp_path):
    class Added:
        name = "catch"

    source = """
        import flow_sources
        class F(FlowSpec):
            @retry(times=3)
            @flow_sources.parallel
            @step
            def start(self):
                pass
    """
    flow = define(source, tmp_path)
    flow.start.decorators = [Added()]
    assert FlowGraph.of(flow)["start"].decorators == ("retry", "parallel", "catch")


# -- start and end ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "start", "end"),
    [
        ("start: self.end\nend:", "start", "end"),
        ("@step(start=True) go: self.stop\n@step(end=True) stop:", "go", "stop"),
        ("start: self.stop\n@step(end=True) stop:", "start", "stop"),
        ("@step(start=True) start: self.end\n@step(end=True) end:", "start", "end"),
        ("start:", "start", "start"),
        ("end:", "end", "end"),
        ("only:", "only", "only"),
        ("@step(start=True,end=True) only:", "only", "only"),
        ("@step(end=True) only:", "only", "only"),
    ],
)
def test_start_and_end(source, start, end, tmp_path):
    graph = graph_of(steps(source), tmp_path)
    assert (graph.start, graph.end) == (start, end)
    assert problems_of(steps(source), tmp_path) == []


# -- the hash --------------------------------------------------------------------------------------


BASE = "start: self.a, foreach='items'\na: self.j\nj!: self.b\nb: {1: self.c, 2: self.end}, condition='x'\nc: self.end\nend:"


def test_the_hash_doesnt_change_with_place_and_words(tmp_path):
    known = graph_of(steps(BASE), tmp_path).hash
    assert len(known) == 64
    documented = steps(BASE).replace("    @step", "\n    # Hello.\n    @retry(times=2)\n    @step")
    assert graph_of(documented, tmp_path).hash == known
    assert graph_of(steps("\n".join(reversed(BASE.splitlines()))), tmp_path).hash == known


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("foreach='items'", "foreach='things'"),
        ("foreach='items'", "num_parallel=2"),
        ("condition='x'", "condition='y'"),
        ("1: self.c", "3: self.c"),
        ("1: self.c", "True: self.c"),
        ("{1: self.c, 2: self.end}", "{2: self.end, 1: self.c}"),
        ("c: self.end", "c: self.b"),
        ("j!:", "j:"),
        ("self.c", "self.d"),
        ("c:", "d:"),
    ],
)
def test_the_hash_changes_with_the_structure(old, new, tmp_path):
    assert old in BASE
    assert graph_of(steps(BASE.replace(old, new)), tmp_path).hash != graph_of(steps(BASE), tmp_path).hash


def test_the_hash_is_the_same_on_every_machine(graph):
    assert graph.hash == "06ec2792a20d9700a0159cddb9996a9b7801cf9aa27352cfb8ee77ba9196d900"


# -- JSON ------------------------------------------------------------------------------------------


def test_json_and_back(graph):
    again = FlowGraph.from_json(graph.to_json())
    assert again == graph
    assert again.hash == graph.hash
    assert list(again.nodes) == list(graph.nodes)


def test_json_is_plain(graph):
    plain = msgspec.json.decode(graph.to_json())
    assert plain["nodes"]["work"]["cases"][0] == ["again", "work"]
    assert plain["nodes"]["left"]["kind"] == "foreach"


def test_json_of_a_later_version(graph):
    plain = msgspec.json.decode(graph.to_json())
    plain["nodes"]["start"]["colour"] = "blue"
    assert FlowGraph.from_json(msgspec.json.encode(plain)) == graph


@pytest.mark.parametrize("encoded", [b"", b"{", b"[]", b'{"name": 3}', b"{}", b"\xff"])
def test_not_a_graph(encoded):
    with pytest.raises(GraphError, match="no flow graph"):
        FlowGraph.from_json(encoded)
