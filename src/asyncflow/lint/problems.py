"""What is wrong with a flow, and what the checks look at."""

from __future__ import annotations

from functools import cached_property

from msgspec import Struct, structs

from asyncflow.graph import FlowGraph, Node, NodeKind
from asyncflow.graph.nesting import Nesting, nesting_of
from asyncflow.graph.nodes import ends_of, starts_of


class Problem(Struct, frozen=True):
    """One thing that is wrong with a flow, where, and what to do about it."""

    code: str
    """``AF01`` to ``AF19``: see ``asyncflow.lint``."""
    step: str
    """Empty where it concerns the flow as a whole."""
    file: str
    line: int
    message: str
    remedy: str

    def __str__(self) -> str:
        subject = f"step '{self.step}': " if self.step else ""
        return f"{self.file}:{self.line}: [{self.code}] {subject}{self.message}\n    → {self.remedy}"


class Inspection:
    """A graph and what several checks want to know of it."""

    def __init__(self, graph: FlowGraph) -> None:
        self.graph = graph
        self.starts = starts_of(graph.nodes)
        self.ends = ends_of(graph.nodes)

    @cached_property
    def nesting(self) -> Nesting:
        """As if names that are merely misspelt were right, so that what comes after them is checked too."""
        return nesting_of({node.name: self._respelt(node) for node in self.graph}, self.starts, self.ends)

    def _respelt(self, node: Node) -> Node:
        if all(target in self.graph for target in node.out):
            return node
        return structs.replace(node, out=tuple(self.right_name(target) for target in node.out))

    def right_name(self, target: str) -> str:
        """The step that was certainly meant: its name is close, and no other way leads to it."""
        close = None if target in self.graph else self.close_to(target)
        return close if close and close not in self.starts and not self.graph[close].incoming else target

    def close_to(self, name: str) -> str | None:
        """The step whose name is most like ``name``, if one is like it."""
        from difflib import get_close_matches

        return next(iter(get_close_matches(name, self.graph.nodes, n=1)), None)

    @cached_property
    def silent(self) -> list[Node]:
        """Steps without any ``self.next`` that aren't the end."""
        return [node for node in self.graph if node.kind is NodeKind.END and node.name not in self.ends]

    def of_flow(self, code: str, message: str, remedy: str) -> Problem:
        return Problem(code, "", self.graph.file, self.graph.line, message, remedy)

    def at_step(self, code: str, node: Node, message: str, remedy: str) -> Problem:
        """A problem to be mended where the step begins."""
        return Problem(code, node.name, node.file, node.line, message, remedy)

    def at_next(self, code: str, node: Node, message: str, remedy: str) -> Problem:
        """A problem to be mended in the step's ``self.next``."""
        return Problem(code, node.name, node.file, node.next_line or node.line, message, remedy)


def listed(names: tuple[str, ...] | list[str]) -> str:
    """``'a', 'b' and 'c'``"""
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
