"""Fan-outs, switches and joins: what is valid, and which join closes what."""

import pytest
from flow_sources import graph_of, steps

from asyncflow.lint import check

# In each: the flow, the join of each fan-out, and the nest around some steps.
VALID = {
    "linear": ("start: self.a\na: self.end\nend:", {}, {"a": ()}),
    "split": (
        "start: self.a, self.b\na: self.j\nb: self.j\nj!: self.end\nend:",
        {"start": "j"},
        {"a": ("start",), "b": ("start",), "j": ()},
    ),
    "foreach": (
        "start: self.a, foreach='x'\na: self.j\nj!: self.end\nend:",
        {"start": "j"},
        {"a": ("start",), "j": ()},
    ),
    "num_parallel": (
        "start: self.a, num_parallel=4\n@parallel a: self.j\nj!: self.end\nend:",
        {"start": "j"},
        {"a": ("start",)},
    ),
    "nested foreach": (
        """
        start: self.a, foreach="x"
        a: self.b, foreach="y"
        b: self.c, foreach="z"
        c: self.jb
        jb!: self.ja
        ja!: self.js
        js!: self.end
        end:
        """,
        {"start": "js", "a": "ja", "b": "jb"},
        {"c": ("start", "a", "b"), "jb": ("start", "a"), "ja": ("start",), "js": ()},
    ),
    "nested splits": (
        """
        start: self.a, self.b
        a: self.c, self.d
        c: self.inner
        d: self.inner
        inner!: self.outer
        b: self.outer
        outer!: self.end
        end:
        """,
        {"start": "outer", "a": "inner"},
        {"c": ("start", "a"), "inner": ("start",), "b": ("start",), "outer": ()},
    ),
    "split in foreach": (
        """
        start: self.a, foreach="x"
        a: self.b, self.c
        b: self.inner
        c: self.inner
        inner!: self.outer
        outer!: self.end
        end:
        """,
        {"start": "outer", "a": "inner"},
        {"b": ("start", "a"), "inner": ("start",)},
    ),
    "foreach in split": (
        """
        start: self.a, self.b
        a: self.c, foreach="x"
        c: self.inner
        inner!: self.outer
        b: self.outer
        outer!: self.end
        end:
        """,
        {"start": "outer", "a": "inner"},
        {"c": ("start", "a"), "outer": ()},
    ),
    "one fan-out after the other": (
        """
        start: self.a, foreach="x"
        a: self.j
        j!: self.m
        m: self.b, self.c
        b: self.k
        c: self.k
        k!: self.end
        end:
        """,
        {"start": "j", "m": "k"},
        {"b": ("m",), "m": ()},
    ),
    "a join that leads to a join": (
        """
        start: self.a, foreach="x"
        a: self.b, foreach="y"
        b: self.j
        j!: self.k
        k!: self.end
        end:
        """,
        {"start": "k", "a": "j"},
        {},
    ),
    "switch": (
        """
        start: {"x": self.a, "y": self.b}, condition="v"
        a: self.end
        b: self.end
        end:
        """,
        {},
        {},
    ),
    "switch straight to the end": ('start: {"x": self.a, "y": self.end}, condition="v"\na: self.end\nend:', {}, {}),
    "switch with one target": ('start: {"x": self.a, "y": self.a}, condition="v"\na: self.end\nend:', {}, {}),
    "switch with equal keys for one target": (
        'start: {1: self.a, True: self.a, 2: self.end}, condition="v"\na: self.end\nend:',
        {},
        {},
    ),
    "recursion": ('start: self.a\na: {"again": self.a, "done": self.end}, condition="v"\nend:', {}, {}),
    "recursion in a foreach": (
        """
        start: self.a, foreach="x"
        a: {"again": self.a, "done": self.b, "lost": self.c}, condition="v"
        b: self.j
        c: self.j
        j!: self.end
        end:
        """,
        {"start": "j"},
        {"a": ("start",), "b": ("start",), "c": ("start",)},
    ),
    "recursion of a branch": (
        """
        start: self.a, self.b
        a: {True: self.a, False: self.c}, condition="v"
        c: self.j
        b: self.j
        j!: self.end
        end:
        """,
        {"start": "j"},
        {},
    ),
    "ways of a switch that meet inside a branch": (
        """
        start: self.a, self.b
        a: {"x": self.c, "y": self.d}, condition="v"
        c: self.m
        d: self.m
        m: self.j
        b: self.j
        j!: self.end
        end:
        """,
        {"start": "j"},
        {"m": ("start",)},
    ),
    "switched branches that end apart count as one": (
        """
        start: self.a, self.b
        a: {"x": self.c, "y": self.d}, condition="v"
        b: {"x": self.e, "y": self.f}, condition="v"
        c: self.j
        d: self.j
        e: self.j
        f: self.j
        j!: self.end
        end:
        """,
        {"start": "j"},
        {"f": ("start",)},
    ),
    "a switch whose ways fan out in their own ways": (
        """
        start: {"x": self.a, "y": self.k, "z": self.m}, condition="v"
        a: self.b, self.c
        b: self.j
        c: self.j
        j!: self.m
        k: self.l, foreach="items"
        l: self.kj
        kj!: self.m
        m: self.end
        end:
        """,
        {"a": "j", "k": "kj"},
        {"m": (), "l": ("k",)},
    ),
    "one way of a switched branch fans out and joins": (
        """
        start: self.a, self.b
        a: {"x": self.c, "y": self.d}, condition="v"
        c: self.e, foreach="items"
        e: self.inner
        inner!: self.j
        d: self.j
        b: self.j
        j!: self.end
        end:
        """,
        {"start": "j", "c": "inner"},
        {"e": ("start", "c"), "inner": ("start",)},
    ),
    "two fan-outs to choose from, with one body": (
        """
        start: {"x": self.a, "y": self.b}, condition="v"
        a: self.work, foreach="few"
        b: self.work, foreach="many"
        work: self.j
        j!: self.end
        end:
        """,
        {"a": "j", "b": "j"},
        {"work": ("a",), "j": ()},
    ),
    "two splits to choose from, with shared branches": (
        """
        start: {"x": self.a, "y": self.b}, condition="v"
        a: self.c, self.d
        b: self.d, self.e
        c: self.j
        d: self.j
        e: self.j
        j!: self.end
        end:
        """,
        {"a": "j", "b": "j"},
        {"c": ("a",), "d": ("a",), "e": ("b",)},
    ),
    "a foreach with two joins to choose from": (
        """
        start: self.a, foreach="x"
        a: {"x": self.b, "y": self.c}, condition="v"
        b: self.j
        c: self.k
        j!: self.end
        k!: self.end
        end:
        """,
        {"start": "j"},
        {"j": (), "k": ()},
    ),
    "a split with two joins to choose from": (
        """
        start: self.a, self.b
        a: {"x": self.c, "y": self.d}, condition="v"
        b: {"x": self.e, "y": self.f}, condition="v"
        c: self.j
        d: self.k
        e: self.j
        f: self.k
        j!: self.end
        k!: self.end
        end:
        """,
        {"start": "j"},
        {},
    ),
    "steps of any name": (
        "start: self.inputs\ninputs: self.a1__b_\na1__b_: self.merge_artifacts\nmerge_artifacts: self.end\nend:",
        {},
        {},
    ),
}


@pytest.mark.parametrize("name", VALID)
def test_valid(name, tmp_path):
    source, joins, nest = VALID[name]
    graph = graph_of(steps(source), tmp_path)
    assert check(graph) == []
    assert {node.name: node.join for node in graph if node.join} == joins
    assert {step: graph[step].splits for step in nest} == nest


def test_incoming_of_a_join_is_in_the_order_of_the_branches(tmp_path):
    graph = graph_of(
        steps("""
            start: self.c, self.b, self.a
            a: self.j
            b: {"x": self.b2, "y": self.b1}, condition="v"
            b1: self.j
            b2: self.j
            c: self.k, self.l
            k: self.cj
            l: self.cj
            cj!: self.j
            j!: self.end
            end:
        """),
        tmp_path,
    )
    assert check(graph) == []
    assert graph["j"].incoming == ("cj", "b1", "b2", "a")


def test_a_long_chain_and_a_deep_nest(tmp_path):
    depth = 300
    lines = ["start: self.a0"]
    lines += [f"a{i}: self.a{i + 1}, foreach='x'" for i in range(depth)]
    lines += [f"a{depth}: self.j{depth - 1}"]
    lines += [f"j{i}!: self.j{i - 1}" for i in range(depth - 1, 0, -1)]
    lines += ["j0!: self.c0", *(f"c{i}: self.c{i + 1}" for i in range(3000)), "c3000: self.end", "end:"]
    graph = graph_of(steps("\n".join(lines)), tmp_path)
    assert check(graph) == []
    assert graph["a0"].join == "j0"
    assert len(graph[f"a{depth}"].splits) == depth


def test_unjoined_splits_one_after_the_other_cost_no_more_than_others(tmp_path):
    lines = ["start: self.s0"]
    for i in range(60):
        lines += [f"s{i}: self.a{i}, self.b{i}", f"a{i}: self.s{i + 1}", f"b{i}: self.s{i + 1}"]
    graph = graph_of(steps("\n".join([*lines, "s60: self.end", "end:"])), tmp_path)
    problems = check(graph)
    assert [problem.step for problem in problems] == [f"s{i + 1}" for i in range(60)]
    assert {problem.code for problem in problems} == {"AF13"}
