"""The step graph of a flow, read from its source without running it.

``parsing`` reads steps from source files, ``nesting`` finds which fan-outs are open around each step and
which join closes them, ``drawing`` shows a graph to people; ``asyncflow.lint`` says what is wrong with one.
Only ``FlowGraph.of`` needs ``ast``, so a worker that gets its graph as JSON never imports it.
"""

from asyncflow.graph.flowgraph import FlowGraph
from asyncflow.graph.nodes import Fault, FaultKind, Node, NodeKind

__all__ = ["Fault", "FaultKind", "FlowGraph", "Node", "NodeKind"]
