"""A flow as a plain dict: what ``current.graph`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncflow.flow.constants import class_constants
from asyncflow.graph import NodeKind

if TYPE_CHECKING:
    from asyncflow.graph import FlowGraph, Node

_TYPES = {
    NodeKind.SPLIT: "split-static",
    NodeKind.FOREACH: "split-foreach",
    NodeKind.PARALLEL: "split-parallel",
    NodeKind.SWITCH: "split-switch",
}


def graph_info(flow_class: type, graph: FlowGraph) -> dict[str, Any]:
    """The keys are those of Metaflow: ``file start_step end_step parameters constants steps doc decorators``."""
    from asyncflow.parameters import flow_parameters

    parameters = flow_parameters(flow_class)
    constants = class_constants(flow_class)
    return {
        "file": graph.file,
        "start_step": graph.start,
        "end_step": graph.end,
        "parameters": [{"name": name, "type": type(each).__name__} for name, each in parameters.items()],
        "constants": [{"name": name, "type": type(value).__name__} for name, value in constants.items()],
        "steps": {node.name: _step_info(graph, node) for node in graph.nodes.values()},
        "doc": graph.doc,
        "decorators": [],
        "extensions": {},
    }


def _step_info(graph: FlowGraph, node: Node) -> dict[str, Any]:
    info: dict[str, Any] = {
        "name": node.name,
        "type": _type(graph, node),
        "line": node.line,
        "source_file": node.file,
        "doc": node.doc,
        "decorators": [
            {"name": name, "attributes": {}, "statically_defined": True, "inserted_by": None}
            for name in node.decorators
        ],
        "next": list(node.out),
        "node_info": {},
    }
    if node.foreach_var is not None:
        info["foreach_artifact"] = node.foreach_var
    if node.join is not None:
        info["matching_join"] = node.join
    if node.condition is not None:
        info["condition"] = node.condition
        info["switch_cases"] = dict(node.cases)
    return info


def _type(graph: FlowGraph, node: Node) -> str:
    if node.name == graph.end:
        return "end"
    if node.is_join:
        return "join"
    return _TYPES.get(node.kind, "start" if node.name == graph.start else "linear")
