"""What ``self.next`` asked for, held against the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncflow.errors import AsyncflowError, InvalidNextException
from asyncflow.events import Next
from asyncflow.flow import where_is
from asyncflow.graph import NodeKind
from asyncflow.worker.foreach import Frozen, freeze

if TYPE_CHECKING:
    from asyncflow.flow import FlowSpec, Transition
    from asyncflow.graph import Node


class NoMatchingCase(AsyncflowError, RuntimeError):
    """A switch's condition has a value for which there is no case."""

    headline = "No matching case"


def settle(
    flow: FlowSpec, node: Node, asked: Transition | None, max_num_splits: int | None
) -> tuple[Next | None, Frozen | None]:
    """What the task answers, and the items of its fan-out, if it is one; (None, None) of the last step.

    Raises ``InvalidNextException`` where the graph says something else, ``InvalidForeach`` and ``NoMatchingCase``.
    """
    if asked is None:
        if node.kind is NodeKind.END:
            return None, None
        raise InvalidNextException(
            f"{node.file}:{node.line}: {where_is(flow)} ended without self.next; "
            f"it must lead to {_steps(node.out)}. Don't return before self.next."
        )
    _agree(flow, node, asked)
    if asked.foreach is not None:
        frozen = freeze(flow, asked.foreach, asked.where, max_num_splits)
        return Next(asked.steps, len(frozen.items), asked.foreach), frozen
    if asked.condition is not None:
        return Next((_choose(flow, asked),)), None
    return Next(asked.steps), None


def _agree(flow: FlowSpec, node: Node, asked: Transition) -> None:
    if node.kind is NodeKind.PARALLEL or asked.num_parallel is not None:
        raise InvalidNextException(f"{asked.where}: num_parallel in {where_is(flow)} can't be run by this version.")
    # The name of a foreach variable may stand in an expression, which the graph leaves open.
    foreach = node.foreach_var or asked.foreach if node.kind is NodeKind.FOREACH else None
    same = asked.steps == node.out and asked.foreach == foreach and asked.condition == node.condition
    if not same or (node.kind is NodeKind.FOREACH) != (asked.foreach is not None):
        raise InvalidNextException(
            f"{asked.where}: self.next in {where_is(flow)} leads to {_said(asked)}, but the graph, read from "
            f"{node.file}:{node.next_line or node.line}, says {_expected(node)}. Every self.next of a step must say the same."
        )


def _choose(flow: FlowSpec, asked: Transition) -> str:
    name = str(asked.condition)
    try:
        value: Any = getattr(flow, name)
    except AttributeError:
        raise NoMatchingCase(
            f"{asked.where}: {where_is(flow)} has condition={name!r}, but there is no artifact of that name. "
            f"Assign self.{name} before self.next."
        ) from None
    cases = dict(asked.cases)
    try:
        return cases[value]
    except (KeyError, TypeError):
        known = ", ".join(repr(key) for key in cases)
        raise NoMatchingCase(
            f"{asked.where}: {where_is(flow)} has a switch on {name!r}, whose value {value!r} "
            f"is none of its cases: {known}."
        ) from None


def _steps(names: tuple[str, ...]) -> str:
    return ", ".join(f"self.{name}" for name in names) or "no step"


def _said(asked: Transition) -> str:
    return _form(asked.steps, asked.foreach, asked.condition)


def _expected(node: Node) -> str:
    return "it is the last step" if node.kind is NodeKind.END else _form(node.out, node.foreach_var, node.condition)


def _form(steps: tuple[str, ...], foreach: str | None, condition: str | None) -> str:
    said = _steps(steps)
    if foreach is not None:
        return f"{said} with foreach={foreach!r}"
    return said if condition is None else f"{said} with condition={condition!r}"
