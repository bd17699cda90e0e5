"""Class constants: public attributes of a flow class, artifacts that no step can assign."""

from __future__ import annotations

from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from asyncflow.flow.spec import FlowSpec

SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types whose values can't change in place."""


class _OwnCopy:
    """A class constant that could be changed in place: every flow object gets a copy of its own when it looks.

    Tasks share a process, but what one of them does to a constant is never seen by another.
    """

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value

    def __get__(self, flow: FlowSpec | None, owner: type) -> Any:
        if flow is None:
            return self.value
        from copy import deepcopy

        try:
            copy = deepcopy(self.value)
        except Exception:
            copy = self.value  # what can't be copied is shared, as it would be in any Python class
        flow.__dict__[self.name] = copy
        return copy


def class_constants(flow_class: type) -> dict[str, Any]:
    """The class attributes that are artifacts of every task: public, and neither code nor a parameter."""
    found: dict[str, Any] = {}
    for owner in reversed(flow_class.__mro__):
        for name, value in vars(owner).items():
            found.pop(name, None)
            if isinstance(value, _OwnCopy):
                found[name] = value.value
            elif not name.startswith("_") and not _is_code(value):
                found[name] = value
    return found


def _is_code(value: object) -> bool:
    """Methods, steps, properties, parameters and other descriptors; nested classes; modules."""
    return isinstance(value, FunctionType | MethodType | ModuleType | type) or hasattr(type(value), "__get__")


def fixed_names(flow_class: type) -> frozenset[str]:
    """Parameters and class constants. Asked for the first time, it readies the class for tasks."""
    known = vars(flow_class).get("_asyncflow_fixed")
    if known is None:
        from asyncflow.parameters import flow_parameters

        constants = class_constants(flow_class)
        known = frozenset((*flow_parameters(flow_class), *constants))
        for name, value in constants.items():
            if not _is_scalar(value):
                setattr(flow_class, name, _OwnCopy(name, value))
        flow_class._asyncflow_fixed = known  # type: ignore[attr-defined]
    return cast("frozenset[str]", known)


def _is_scalar(value: object) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(map(_is_scalar, cast("tuple[object, ...]", value)))
    return type(value) in SCALARS
