"""``@step``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from asyncflow.errors import FlowDefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable

_Method = TypeVar("_Method", bound="Callable[..., Any]")


@overload
def step(function: _Method, /) -> _Method: ...
@overload
def step(*, start: bool = False, end: bool = False) -> Callable[[_Method], _Method]: ...
def step(
    function: _Method | None = None, /, *, start: bool = False, end: bool = False
) -> _Method | Callable[[_Method], _Method]:
    """Makes a method a step of its flow: ``@step``, ``@step()``, ``@step(start=True)``, ``@step(end=True)``.

    The first step is the one called ``start``, the last the one called ``end``, unless ``start=True`` and
    ``end=True`` mark others. A step may be an ``async def``.
    """
    if function is None:
        return lambda method: _mark(method, start=start, end=end)
    return _mark(function, start=start, end=end)


def _mark(method: _Method, *, start: bool, end: bool) -> _Method:
    if not callable(method) or isinstance(method, type | staticmethod | classmethod):
        raise FlowDefinitionError(
            f"@step stands above a method of a flow, not above {method!r}. Write `@step` or `@step(start=True)`."
        )
    marked = cast("Any", method)
    marked.is_step = True
    marked.step_start = start
    marked.step_end = end
    marked.decorators = []
    return method


def is_step(candidate: object) -> bool:
    """Whether ``candidate`` is a method under ``@step``."""
    return callable(candidate) and getattr(candidate, "is_step", False) is True
