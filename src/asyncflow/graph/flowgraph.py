"""All steps of a flow and the ways between them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from asyncflow.errors import GraphError
from asyncflow.graph.nodes import Node, ends_of, starts_of


class FlowGraph(Struct, frozen=True, kw_only=True):
    """All steps of a flow: each after the steps that lead to it, and otherwise in the order of the source."""

    name: str
    nodes: dict[str, Node] = {}
    start: str = "start"
    end: str = "end"
    """Same as ``start`` in a flow of one step."""
    doc: str = ""
    file: str = ""
    line: int = 0
    """Where ``class`` stands in ``file``; 0 where that isn't known."""

    @classmethod
    def of(cls, flow_class: type) -> FlowGraph:
        """The graph of ``flow_class`` as its source has it; nothing of the flow is run.

        It may have problems: ``lint.check`` tells them. Raises ``GraphError`` where there is no source to read.
        """
        from asyncflow.graph.nesting import arrange
        from asyncflow.graph.parsing import read_flow

        source = read_flow(flow_class)
        nodes = {node.name: node for node in source.nodes}
        starts, ends = starts_of(nodes), ends_of(nodes)
        return cls(
            name=flow_class.__name__,
            nodes=arrange(nodes, starts, ends),
            start=starts[0] if starts else "start",
            end=ends[0] if ends else "end",
            doc=source.doc,
            file=source.file,
            line=source.line,
        )

    @classmethod
    def from_json(cls, encoded: bytes) -> FlowGraph:
        """What ``to_json`` wrote. Raises ``GraphError`` where ``encoded`` is something else."""
        try:
            return msgspec.json.decode(encoded, type=cls)
        except msgspec.MsgspecError as error:
            raise GraphError(f"This is no flow graph that asyncflow wrote: {error}") from error

    def to_json(self) -> bytes:
        """Everything, for readers that can't import the flow."""
        return msgspec.json.encode(self)

    @property
    def hash(self) -> str:
        """SHA-256, in hex, of what the engine needs to agree on: steps, their kinds, the ways between them.

        The same on every machine; lines, files, documentation and decorators don't change it.
        """
        from hashlib import sha256

        steps = [_structure(self.nodes[name]) for name in sorted(self.nodes)]
        return sha256(msgspec.json.encode([self.name, self.start, self.end, steps])).hexdigest()

    def to_dot(self) -> str:
        """A drawing of the graph in the language of graphviz."""
        from asyncflow.graph.drawing import to_dot

        return to_dot(self)

    def to_text(self) -> str:
        """The graph for people: each step, what it does, and where it leads."""
        from asyncflow.graph.drawing import to_text

        return to_text(self)

    def __getitem__(self, step: str) -> Node:
        return self.nodes[step]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, step: object) -> bool:
        return step in self.nodes


def _structure(node: Node) -> tuple[object, ...]:
    return (node.name, node.kind, node.is_join, node.out, node.foreach_var, node.condition, node.cases)
