"""One step of a flow as its source has it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct


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
    """A ``self.next`` of which it can't be told what it was meant to be; ``lint`` says why."""


FAN_OUTS = frozenset({NodeKind.SPLIT, NodeKind.FOREACH, NodeKind.PARALLEL})
"""Kinds that open a level of the nest, which a join closes."""


class FaultKind(StrEnum):
    """What can be wrong with one step's text; ``lint`` has the words for it. ``text`` is what the fault is about."""

    NO_SELF = "no-self"
    NOT_SELF = "not-self"
    """The instance has another name, ``text``."""
    EXTRA_ARGUMENTS = "extra-arguments"
    KEYWORD_ARGUMENT = "keyword-argument"
    """An argument that can only be given by name, and has no default."""
    MISPLACED_NEXT = "misplaced-next"
    """There is a ``self.next``, but not as the last statement."""
    NO_TARGET = "no-target"
    UNREADABLE_TARGET = "unreadable-target"
    REPEATED_TARGET = "repeated-target"
    UNKNOWN_KEYWORD = "unknown-keyword"
    MIXED_FORMS = "mixed-forms"
    SEVERAL_TARGETS = "several-targets"
    """A foreach or num_parallel onto more than one step."""
    FOREACH_NAME = "foreach-name"
    """``foreach=`` is a constant that can't be the name of an artifact."""
    CASES_NOT_ALONE = "cases-not-alone"
    CASE_KEY = "case-key"
    REPEATED_KEY = "repeated-key"
    CASE_TARGET = "case-target"
    NO_CONDITION = "no-condition"
    CONDITION_NAME = "condition-name"
    NO_CASES = "no-cases"
    ONE_CASE = "one-case"


class Fault(Struct, frozen=True):
    """Something in a step's text that can't be accepted. ``line`` is a 1-based line of the step's file."""

    kind: FaultKind
    line: int
    text: str = ""


class Node(Struct, frozen=True, kw_only=True):
    """One step. Lines are 1-based lines of ``file``."""

    name: str
    kind: NodeKind
    is_join: bool = False
    out: tuple[str, ...] = ()
    """Steps that ``self.next`` names, in its order, each once; for a switch in the order of the cases."""
    foreach_var: str | None = None
    """None too where ``foreach=`` is an expression: then only the running step knows the name."""
    condition: str | None = None
    cases: tuple[tuple[str | int | float | bool, str], ...] = ()
    """Of a switch: (key, step) pairs. A key written ``self.cfg.key`` is resolved in the worker and stands as its source."""
    file: str = ""
    line: int = 0
    """Where ``def`` stands."""
    next_line: int | None = None
    """Where the last ``self.next`` begins."""
    doc: str = ""
    decorators: tuple[str, ...] = ()
    """Names of the decorators beside ``@step``, from the top."""
    incoming: tuple[str, ...] = ()
    """Steps that lead here; for a join in the order of the branches that they end."""
    splits: tuple[str, ...] = ()
    """The open splits and foreaches around this step, outermost first; a join is inside those it leaves open.

    Where a switch chooses between two fan-outs that lead to the same steps, it is the first of them.
    """
    join: str | None = None
    """Of a split or foreach: the join that closes it. Where a switch inside chooses between joins, the first of them."""
    is_start: bool = False
    """Annotated ``@step(start=True)``."""
    is_end: bool = False
    """Annotated ``@step(end=True)``."""
    faults: tuple[Fault, ...] = ()

    @property
    def is_recursive(self) -> bool:
        """Whether a case of its switch names the step itself."""
        return self.kind is NodeKind.SWITCH and self.name in self.out

    @property
    def is_parallel(self) -> bool:
        """Whether it runs as a gang: it is under ``@parallel``."""
        return "parallel" in self.decorators


def starts_of(nodes: Mapping[str, Node]) -> tuple[str, ...]:
    """The steps that claim to be the first, the annotated ones first; of a flow that has one step, that one."""
    found = [node.name for node in nodes.values() if node.is_start]
    return _claims(nodes, found, "start")


def ends_of(nodes: Mapping[str, Node]) -> tuple[str, ...]:
    """The steps that claim to be the last, the annotated ones first; of a flow that has one step, that one."""
    found = [node.name for node in nodes.values() if node.is_end]
    return _claims(nodes, found, "end")


def _claims(nodes: Mapping[str, Node], annotated: list[str], name: str) -> tuple[str, ...]:
    if name in nodes and name not in annotated:
        annotated.append(name)
    if not annotated and len(nodes) == 1:
        only = next(iter(nodes.values()))
        if name == "start" or only.kind is NodeKind.END:
            annotated.append(only.name)
    return tuple(annotated)
