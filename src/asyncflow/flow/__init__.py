"""``FlowSpec``, ``@step`` and ``self.next``: what a flow is written with.

A flow object is made for one task and holds that task's artifacts. It knows nothing of stores: what it
can't answer from its own attributes it asks of its ``Backing``, which a worker puts behind it.
"""

from asyncflow.flow.backing import Backing, backing_of, make_flow, make_view, where_is, without_command_line
from asyncflow.flow.constants import SCALARS, class_constants, fixed_names
from asyncflow.flow.info import graph_info
from asyncflow.flow.spec import FlowSpec
from asyncflow.flow.steps import is_step, step
from asyncflow.flow.transition import Transition

__all__ = [
    "SCALARS",
    "Backing",
    "FlowSpec",
    "Transition",
    "backing_of",
    "class_constants",
    "fixed_names",
    "graph_info",
    "is_step",
    "make_flow",
    "make_view",
    "step",
    "where_is",
    "without_command_line",
]
