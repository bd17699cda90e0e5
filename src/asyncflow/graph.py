"""The step graph of a flow, read from its source without running it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class NodeKind(StrEnum):
    """How a step goes on."""

    LINEAR = "linear"
    SPLIT = "split"
    FOREACH = "foreach"
    PARALLEL = "parallel"
    """``num_parallel``."""
    SWITCH = "switch"
    END = "end"
    """No ``self.next``: the last step."""
    INVALID = "invalid"
    """A ``self.next`` that is none of these; ``lint`` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One step. Lines are 1-based lines of ``file``."""

    name: str
    kind: NodeKind
    is_join: bool = False
    out: tuple[str, ...] = ()
    """Steps that ``self.next`` names, in its order; for a switch in the order of the cases, each once."""
    foreach_var: str | None = None
    condition: str | None = None
    cases: tuple[tuple[str | int | float | bool, str], ...] = ()
    """Of a switch: (key, step) pairs. A key written ``self.cfg.key`` is resolved in the worker and stands as its source."""
    file: str = ""
    line: int = 0
    next_line: int | None = None
    doc: str = ""
    decorators: tuple[str, ...] = ()
    incoming: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    """The open splits and foreaches around this step, outermost first; a join is inside those it leaves open."""
    join: str | None = None
    """Of a split or foreach: the join that closes it."""

    @property
    def is_recursive(self) -> bool:
        """Whether a case of its switch names the step itself."""
        return self.kind is NodeKind.SWITCH and self.name in self.out


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowGraph:
    """All steps of a flow, in source order."""

    name: str
    nodes: dict[str, Node] = field(default_factory=dict)
    start: str = "start"
    end: str = "end"
    doc: str = ""
    file: str = ""

    def __getitem__(self, step: str) -> Node:
        return self.nodes[step]
