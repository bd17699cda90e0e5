"""Random nests: every well-made one is accepted and rightly paired; a broken one is refused, or runs all the same."""

from dataclasses import dataclass, field

import pytest
from flow_sources import graph_of, steps
from hypothesis import event, given, settings
from hypothesis import strategies as st

from asyncflow.graph import FlowGraph, NodeKind
from asyncflow.lint import check

# A nest is a nested tuple: ("step",), ("row", nest, …), ("split", nest, nest, …), ("foreach", nest),
# ("switch", recursive, nest, nest, …).
nests = st.recursive(
    st.just(("step",)),
    lambda inner: st.one_of(
        st.builds(lambda parts: ("row", *parts), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda parts: ("split", *parts), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda part: ("foreach", part), inner),
        st.builds(
            lambda again, parts: ("switch", again, *parts), st.booleans(), st.lists(inner, min_size=2, max_size=3)
        ),
    ),
    max_leaves=8,
)


@dataclass
class Plan:
    """Steps to be written, with what the graph must find."""

    ways: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """Step -> (kind, targets)."""
    joins: set[str] = field(default_factory=set)
    closed_by: dict[str, str] = field(default_factory=dict)
    nest: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add(self, nest, to, around=()) -> str:
        """Write ``nest`` so that it leads to ``to``; returns its first step."""
        kind, *parts = nest
        if kind == "row":
            for part in reversed(parts):
                to = self.add(part, to, around)
            return to
        name = f"s{len(self.ways)}"
        self.ways[name] = (kind, [])
        self.nest[name] = around
        if kind == "step":
            targets = [to]
        elif kind == "switch":
            again, *parts = parts
            targets = [self.add(part, to, around) for part in parts] + [name] * again
        else:
            join = f"{name}_join"
            self.ways[join] = ("step", [to])
            self.nest[join] = around
            self.joins.add(join)
            self.closed_by[name] = join
            targets = [self.add(part, join, (*around, name)) for part in parts]
        self.ways[name][1].extend(targets)
        return name

    @property
    def source(self) -> str:
        lines = []
        for name, (kind, targets) in self.ways.items():
            arguments = ", ".join(
                [*(f"self.{target}" for target in targets), *["foreach='items'"] * (kind == "foreach")]
            )
            if kind == "switch":
                cases = ", ".join(f"{number}: self.{target}" for number, target in enumerate(targets))
                arguments = f"{{{cases}}}, condition='state'"
            lines.append(f"{name}{'!' if name in self.joins else ''}: {arguments}")
        return steps("\n".join([*lines, "end:"]))


def planned(nest) -> Plan:
    plan = Plan()
    plan.ways["start"] = ("step", [])
    plan.nest["start"] = ()
    plan.ways["start"][1].append(plan.add(nest, "end"))
    return plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("flows")


@given(nest=nests)
@settings(deadline=None)
def test_well_made_nests_are_accepted(folder, nest):
    plan = planned(nest)
    graph = graph_of(plan.source, folder)
    assert check(graph) == []
    assert {node.name: node.join for node in graph if node.join} == plan.closed_by
    assert {node.name: node.splits for node in graph if node.name != "end"} == plan.nest
    assert {node.name for node in graph if node.is_join} == plan.joins
    seen = set()
    for node in graph:
        assert seen.issuperset(name for name in node.incoming if name != node.name)
        seen.add(node.name)
    assert FlowGraph.from_json(graph.to_json()) == graph


CHANGES = ("drop step", "drop way", "turn way", "add way", "join or not", "kind")


@given(nest=nests, changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=2), data=st.data())
@settings(deadline=None)
def test_broken_nests_are_refused_or_run(folder, nest, changes, data):
    plan = planned(nest)
    for change in changes:
        _break(plan, change, data)
    graph = graph_of(plan.source, folder)
    assert graph.to_text()
    assert graph.to_dot()
    assert FlowGraph.from_json(graph.to_json()) == graph
    problems = check(graph)
    assert all(problem.remedy and problem.line > 0 for problem in problems)
    event("refused" if problems else "valid")
    if not problems:
        for _ in range(3):
            _run(graph, data)


def _break(plan, change, data) -> None:
    name = data.draw(st.sampled_from(sorted(plan.ways)))
    kind, targets = plan.ways[name]
    place = data.draw(st.integers(0, max(0, len(targets) - 1)))
    other = data.draw(st.sampled_from([*sorted(plan.ways), "end"]))
    match change:
        case "drop step":
            del plan.ways[name]
        case "drop way":
            plan.ways[name] = (kind, [target for number, target in enumerate(targets) if number != place])
        case "turn way":
            plan.ways[name] = (kind, [other if number == place else target for number, target in enumerate(targets)])
        case "add way":
            plan.ways[name] = (kind, [*targets, other])
        case "join or not":
            plan.joins ^= {name}
        case "kind":
            plan.ways[name] = (data.draw(st.sampled_from(["step", "foreach", "switch"])), targets)


class Disagree(Exception):
    """Items of one foreach went to different joins: a failure of the run, not of the graph."""


def _run(graph, data) -> None:
    """Every way through a valid graph comes to the end, with every fan-out joined, and no step twice in one place."""
    try:
        assert _thread(graph, graph.start, set(), data) is None
    except Disagree:
        event("joins disagree")


def _thread(graph, name, ran, data) -> str | None:
    """Run from ``name`` until a join is met, which is returned, or the end."""
    while True:
        node = graph[name]
        ran.add(name)
        match node.kind:
            case NodeKind.END:
                assert name == graph.end
                return None
            case NodeKind.LINEAR:
                (name,) = node.out
            case NodeKind.SWITCH:
                name = data.draw(st.sampled_from([step for step in node.out if step != name]))
            case NodeKind.SPLIT | NodeKind.FOREACH:
                name = _fan_out(graph, node, ran, data)
                continue  # The join runs here.
            case _:
                raise AssertionError(node)
        if graph[name].is_join:
            return name


def _fan_out(graph, node, ran, data) -> str:
    met, branches = set(), []
    for target in node.out if node.kind is NodeKind.SPLIT else [*node.out, *node.out]:
        assert not graph[target].is_join
        branches.append(set())
        met.add(_thread(graph, target, branches[-1], data))
    if node.kind is NodeKind.SPLIT:
        assert sum(map(len, branches)) == len(set().union(*branches))
    ran |= set().union(*branches)
    assert None not in met
    if len(met) > 1:
        raise Disagree
    return met.pop()
