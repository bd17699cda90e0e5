"""The graph as people see it: ``asyncflow show`` and ``asyncflow output-dot``."""

import re

from flow_sources import graph_of, steps

from asyncflow.graph import FlowGraph

FLOW = '''
class F(FlowSpec):
    """What it is for.

    And more."""

    @retry(times=3)
    @step
    def start(self):
        """Loads "all"."""
        self.next(self.left, self.right)

    @step
    def left(self):
        self.next(self.work, foreach="items")

    @step
    def work(self):
        self.next({"again": self.work, 1: self.done, self.cfg.key: self.done}, condition="state")

    @step
    def done(self):
        self.next(self.collect)

    @step
    def collect(self, inputs):
        """Collects.

        Carefully."""
        self.next(self.both)

    @step
    def right(self):
        self.next(self.train, num_parallel=4)

    @parallel
    @step
    def train(self):
        self.next(self.trained)

    @step
    def trained(self, inputs):
        self.next(self.both)

    @step
    def both(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass
'''

TEXT = """\
Flow F  (FILE)
    What it is for.

    And more.

start  (@retry)
    Loads "all".
    → left, right  side by side

left
    ⇉ work  for each of items

work
    → one of, by state:
        'again'       → work  (again)
        1             → done
        self.cfg.key  → done

done
    → collect

collect  (joins left)
    Collects.

    Carefully.
    → both

right
    ⇉ train  on several nodes at once

train  (@parallel)
    → trained

trained  (joins right)
    → both

both  (joins start)
    → end

end
    ■
"""


def test_text(tmp_path):
    graph = graph_of(FLOW, tmp_path)
    assert graph.to_text() == TEXT.replace("FILE", graph.file)


def test_text_of_a_graph_with_problems(tmp_path):
    graph = graph_of(steps("start: *self.many\nlone! : self.next_one, foreach=NAME\nend:"), tmp_path)
    assert "start\n    → ?\n" in graph.to_text()
    assert "lone  (join)\n    ⇉ next_one  for each of its items\n" in graph.to_text()


def test_dot(tmp_path):
    dot = graph_of(FLOW, tmp_path).to_dot()
    assert dot.startswith('digraph "F" {\n')
    assert dot.endswith("}\n")
    edges = re.findall(r'"(\w+)" -> "(\w+)"', dot)
    assert edges == [
        ("start", "left"),
        ("start", "right"),
        ("left", "work"),
        ("work", "work"),
        ("work", "done"),
        ("done", "collect"),
        ("collect", "both"),
        ("right", "train"),
        ("train", "trained"),
        ("trained", "both"),
        ("both", "end"),
    ]
    assert 'label=" state = again "' in dot
    assert 'label=" 1 | self.cfg.key "' in dot
    assert r'label="start\n@retry", tooltip="Loads \"all\"."' in dot


def test_dot_frames_what_a_foreach_repeats(tmp_path):
    dot = graph_of(FLOW, tmp_path).to_dot()
    frames = re.findall(r'subgraph "(\w+)" \{\n\s+graph \[label=" ([^"]+) ".*\n((?:\s+"\w+" \[.*\n)+)\s+\}', dot)
    inside = {name: (label, re.findall(r'^\s+"(\w+)"', boxes, re.MULTILINE)) for name, label, boxes in frames}
    assert inside == {
        "cluster_left": ("for each of items", ["work", "done"]),
        "cluster_right": ("on several nodes", ["train"]),
    }


def test_dot_of_nested_foreach(tmp_path):
    flow = "start: self.a, foreach='x'\na: self.b, foreach=Y\nb: self.jb\njb!: self.ja\nja!: self.end\nend:"
    dot = graph_of(steps(flow), tmp_path).to_dot()
    outer, inner = dot.index("cluster_start"), dot.index("cluster_a")
    assert outer < dot.index('"jb" [') < inner < dot.index('"b" [')
    assert dot.count("{") == dot.count("}") == 3
    assert "for each of the items" in dot


def test_dot_quotes_what_people_write(tmp_path):
    source = steps('start: {"a\\"b\\\\": self.end, "c": self.end}, condition="x"\nend:')
    dot = graph_of(source, tmp_path).to_dot()
    assert r'label=" x = a\"b\\ | c "' in dot


def test_an_empty_flow():
    graph = FlowGraph(name="Empty")
    assert graph.to_text() == "Flow Empty\n"
    assert graph.to_dot().count("->") == 0
