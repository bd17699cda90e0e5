"""Flow graphs for the scheduler's tests, by hand and at random, and a reference to compare with.

``expected`` works out by plain recursion which tasks there must be, with which inputs. ``bodies`` draws
random nests, and ``graph_of`` makes a flow graph of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from hypothesis import strategies as st

from asyncflow.engine.scheduler import PARAMETERS
from asyncflow.events import BlobRef, Frame, Next, TaskId, TaskInput
from asyncflow.graph import FlowGraph, Node, NodeKind

# -- graphs by hand --------------------------------------------------------------------------------


def step(name: str, *out: str) -> Node:
    """Linear, or a static split with several steps in ``out``."""
    return Node(name=name, kind=NodeKind.SPLIT if len(out) > 1 else NodeKind.LINEAR, out=out)


def join(name: str, *out: str) -> Node:
    return Node(name=name, kind=NodeKind.SPLIT if len(out) > 1 else NodeKind.LINEAR, is_join=True, out=out)


def foreach(name: str, child: str, *, is_join: bool = False) -> Node:
    return Node(name=name, kind=NodeKind.FOREACH, out=(child,), foreach_var="items", is_join=is_join)


def switch(name: str, *cases: str) -> Node:
    return Node(name=name, kind=NodeKind.SWITCH, out=cases, condition="which")


END = Node(name="end", kind=NodeKind.END)


def flow(*nodes: Node) -> FlowGraph:
    return FlowGraph(name="Model", nodes={node.name: node for node in (*nodes, END)})


# -- graphs at random ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plain:
    pass


@dataclass(frozen=True)
class Loop:
    """A switch that names its own step, then a plain step."""


@dataclass(frozen=True)
class Split:
    branches: tuple[Body, ...]


@dataclass(frozen=True)
class Each:
    body: Body


@dataclass(frozen=True)
class Choice:
    branches: tuple[Body, ...]


Body = tuple[Plain | Loop | Split | Each | Choice, ...]
"""Parts that follow each other; never empty."""


def bodies(depth: int = 3) -> st.SearchStrategy[Body]:
    parts: list[st.SearchStrategy] = [st.just(Plain()), st.just(Loop())]
    if depth:
        inner = bodies(depth - 1)
        several = st.lists(inner, min_size=2, max_size=3).map(tuple)
        parts += [st.builds(Each, inner), st.builds(Split, several), st.builds(Choice, several)]
    return st.lists(st.one_of(parts), min_size=1, max_size=2).map(tuple)


def graph_of(body: Body) -> FlowGraph:
    """start, ``body``, end; the steps are numbered as they are met."""
    nodes: list[Node] = []
    numbers = count(1)

    def add(node: Node) -> str:
        nodes.append(node)
        return node.name

    def chain(parts: Body, after: str) -> str:
        for part in reversed(parts):
            after = entry(part, after)
        return after

    def entry(part: Plain | Loop | Split | Each | Choice, after: str) -> str:
        number = next(numbers)
        match part:
            case Plain():
                return add(step(f"step{number}", after))
            case Loop():
                out = add(step(f"out{number}", after))
                return add(switch(f"loop{number}", f"loop{number}", out))
            case Choice(branches):
                return add(switch(f"choice{number}", *(chain(branch, after) for branch in branches)))
            case Each(inner):
                close = add(join(f"join{number}", after))
                return add(foreach(f"each{number}", chain((Plain(), *inner), close)))
            case Split(branches):
                close = add(join(f"join{number}", after))
                return add(step(f"split{number}", *(chain((Plain(), *branch), close) for branch in branches)))

    add(step("start", chain(body, "end")))
    return flow(*nodes)


# -- the reference ---------------------------------------------------------------------------------

Ended = dict[TaskId, tuple[Next | None, BlobRef]]
"""What the tasks that succeeded said."""


def expected(graph: FlowGraph, parameters: BlobRef, ended: Ended) -> dict[TaskId, tuple[object, object]]:
    """Inputs and frames of every task that must run when ``ended`` have succeeded."""
    tasks: dict[TaskId, tuple[object, object]] = {}

    def branch(name: str, inputs: tuple, path: tuple, frames: tuple) -> tuple[str, TaskInput] | None:
        """Follow a branch to the join it ends in: that join, and the last task. None while it isn't there."""
        iteration = 0
        while True:
            node = graph[name]
            task = TaskId(name, (*path, iteration) if node.is_recursive else path)
            tasks[task] = (inputs, frames)
            said, manifest = ended.get(task, (None, None))
            if said is None:
                return None
            done = TaskInput(task, manifest)
            if node.kind is NodeKind.FOREACH:
                ends = [
                    branch(said.steps[0], (done,), (*path, i), (*frames, Frame(name, said.var, i, said.width)))
                    for i in range(said.width)
                ]
            elif node.kind is NodeKind.SPLIT:
                ends = [branch(target, (done,), path, frames) for target in said.steps]
            elif graph[said.steps[0]].is_join:
                return said.steps[0], done
            else:
                iteration = iteration + 1 if said.steps[0] == name else 0
                name, inputs = said.steps[0], (done,)
                continue
            if not all(ends):
                return None
            ((name,), inputs) = {end[0] for end in ends}, tuple(end[1] for end in ends)
            iteration = 0

    branch(graph.start, (TaskInput(PARAMETERS, parameters),), (), ())
    return tasks
