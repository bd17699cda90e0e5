"""What a call of ``self.next`` said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from asyncflow.errors import InvalidNextException
from asyncflow.flow.backing import backing_of
from asyncflow.flow.steps import is_step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncflow.flow.spec import FlowSpec


class Transition:
    """What one call of ``self.next`` said, in a form that can stand, not yet checked against the graph."""

    __slots__ = ("cases", "condition", "foreach", "num_parallel", "steps", "where")

    def __init__(self, steps: tuple[str, ...], where: str) -> None:
        self.steps = steps
        """Each once, in the order of the call."""
        self.where = where
        """``file:line`` of the call."""
        self.foreach: str | None = None
        self.num_parallel: object = None
        self.condition: str | None = None
        self.cases: tuple[tuple[object, str], ...] = ()


_SPLIT_OPTIONS = ("foreach", "num_parallel", "condition")


def read_transition(flow: FlowSpec, targets: tuple[Any, ...], options: Mapping[str, Any], where: str) -> Transition:
    """Raises ``InvalidNextException`` for what can't be a transition of any graph."""
    unknown = [name for name in options if name not in _SPLIT_OPTIONS]
    if unknown:
        raise wrong_next(flow, where, f"doesn't know {unknown[0]!r}; its options are foreach, num_parallel, condition")
    given = [name for name in _SPLIT_OPTIONS if options.get(name) is not None]
    if len(given) > 1:
        raise wrong_next(flow, where, f"takes {given[0]} or {given[1]}, not both")
    if not targets:
        raise wrong_next(flow, where, "names no step; write self.next(self.another_step)")
    if isinstance(targets[0], dict):
        return _read_switch(flow, targets, options, where)
    if options.get("condition") is not None:
        raise wrong_next(flow, where, 'has a condition, so its cases must be a dict: {"value": self.a_step}')
    transition = Transition(tuple(_step_name(flow, target, where) for target in targets), where)
    if given:
        if len(targets) > 1:
            raise wrong_next(flow, where, f"takes one step beside {given[0]}, not {len(targets)}")
        transition.foreach = _artifact_name(flow, options.get("foreach"), "foreach", where)
        transition.num_parallel = options.get("num_parallel")
    return transition


def _read_switch(flow: FlowSpec, targets: tuple[Any, ...], options: Mapping[str, Any], where: str) -> Transition:
    cases = cast("dict[object, Any]", targets[0])
    condition = _artifact_name(flow, options.get("condition"), "condition", where)
    if len(targets) > 1 or not cases or condition is None:
        raise wrong_next(
            flow, where, 'is a switch: it takes one dict of cases and the artifact to look at, as in condition="kind"'
        )
    named = tuple((key, _step_name(flow, target, where)) for key, target in cases.items())
    transition = Transition(tuple(dict.fromkeys(name for _, name in named)), where)
    transition.condition = condition
    transition.cases = named
    return transition


def _step_name(flow: FlowSpec, target: object, where: str) -> str:
    if is_step(target) and getattr(target, "__self__", flow) is flow:
        return str(getattr(target, "__name__"))  # noqa: B009 - any callable under @step
    if isinstance(target, str):
        raise wrong_next(flow, where, f"takes steps, not their names; write self.next(self.{target})")
    name = getattr(target, "__name__", None)
    if callable(target) and name is not None:
        raise wrong_next(flow, where, f"leads to {name!r}, which is not a step of this flow; put @step above it")
    raise wrong_next(flow, where, f"takes steps like self.another_step, not {target!r}")


def _artifact_name(flow: FlowSpec, name: object, option: str, where: str) -> str | None:
    if name is None or isinstance(name, str):
        return name
    kind = type(name).__name__
    raise wrong_next(flow, where, f'takes the name of an artifact as {option}, as in {option}="items", not a {kind}')


def wrong_next(flow: FlowSpec, where: str, what: str) -> InvalidNextException:
    name = backing_of(flow).step
    return InvalidNextException(f"{where}: self.next in step {name!r} of {type(flow).__name__} {what}.")
