"""``FlowSpec``."""

# The modules of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn, Self

from asyncflow.errors import AsyncflowError
from asyncflow.flow.backing import Backing, making, no_command_line
from asyncflow.flow.constants import class_constants
from asyncflow.flow.transition import read_transition, wrong_next

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


_PARTS = frozenset({"index", "input", "next", "foreach_stack", "merge_artifacts"})
"""What a flow object has of itself, and no artifact can be called."""


class _FlowName:
    """``self.name`` is the flow's name until a step assigns something else."""

    def __get__(self, flow: FlowSpec | None, owner: type[FlowSpec]) -> Any:
        if flow is None:
            return owner.__name__
        try:
            return flow._asyncflow.load(flow, "name")
        except KeyError:
            return owner.__name__


class FlowSpec:
    """A flow: a class with methods under ``@step`` that lead to each other by ``self.next``.

    What a step assigns to ``self`` is an artifact: kept, and there in every later step. ``MyFlow()`` at the
    end of the file, under ``if __name__ == "__main__":``, runs the command line.
    """

    __slots__ = ("__dict__", "__weakref__", "_asyncflow")
    _asyncflow: Backing

    name = _FlowName()

    def __new__(cls, *_: Any, **__: Any) -> Self:
        flow = super().__new__(cls)
        backing = making.get()
        if backing is None or backing.flow_class is not cls:
            backing = Backing(cls)
        object.__setattr__(flow, "_asyncflow", backing)
        return flow

    def __init__(self, use_cli: bool = True) -> None:
        if use_cli and not no_command_line.get():
            from importlib import import_module

            import_module("asyncflow.cli").main_for(type(self))

    # -- artifacts -----------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_asyncflow":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        try:
            return self._asyncflow.load(self, name)
        except KeyError:
            pass
        attribute = getattr(type(self), name, None)
        if isinstance(attribute, property) and attribute.fget is not None:
            # It was the property that raised AttributeError; Python has dropped that error, which says what is missing.
            return attribute.fget(self)
        raise AttributeError(f"Flow {type(self).__name__} has no attribute {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        backing = self._asyncflow
        if name in backing.fixed or backing.read_only or name in _PARTS:
            raise AttributeError(_refusal(self, name))
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        backing = self._asyncflow
        if name in backing.fixed or backing.read_only or name in _PARTS:
            raise AttributeError(_refusal(self, name))
        inherited = backing.forget(name)
        if name in self.__dict__:
            object.__delattr__(self, name)
        elif not inherited:
            raise AttributeError(f"Flow {type(self).__name__} has no attribute {name!r}", name=name, obj=self)

    def __getstate__(self) -> NoReturn:
        raise AsyncflowError(
            f"A flow object can't be pickled, and this is one of {type(self).__name__}: keep or hand over the artifacts "
            "that are needed instead"
        )

    # -- the step's place ----------------------------------------------------------------------------

    def next(self, *steps: Callable[..., Any] | Mapping[Any, Callable[..., Any]], **options: Any) -> None:
        """Says which step comes next; the last statement of every step but the last one.

        ``next(self.a)``, ``next(self.a, self.b)``, ``next(self.a, foreach="items")``,
        ``next({"k": self.a, "m": self.b}, condition="var")``. Raises ``InvalidNextException``.
        """
        caller = sys._getframe(1)
        where = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        backing = self._asyncflow
        if backing.transition is not None:
            raise wrong_next(self, where, f"was called before, at {backing.transition.where}; once is all a step may")
        backing.transition = read_transition(self, steps, options, where)

    @property
    def index(self) -> int | None:
        """Which item of the innermost foreach this task is for, from 0; None outside of any."""
        frames = self._asyncflow.frames
        return frames[-1].index if frames else None

    @property
    def input(self) -> Any:
        """The item of the innermost foreach that this task is for; None outside of any."""
        backing = self._asyncflow
        return backing.item(self, len(backing.frames) - 1) if backing.frames else None

    def foreach_stack(self) -> list[tuple[int, int, Any]]:
        """``(index, number of items, item)`` of each foreach around this task, outermost first."""
        backing = self._asyncflow
        return [(frame.index, frame.width, backing.item(self, depth)) for depth, frame in enumerate(backing.frames)]

    def merge_artifacts(
        self, inputs: Iterable[FlowSpec], exclude: Iterable[str] = (), include: Iterable[str] = ()
    ) -> None:
        """Take over, in a join, the artifacts that the branches agree about.

        Names that are set on ``self`` already are left alone. ``exclude`` names what to leave out, ``include``
        what alone to take; only one of them may be given. All or nothing is taken.

        Raises ``UnhandledInMergeArtifactsException`` where branches have different values of a name,
        ``MissingInMergeArtifactsException`` where ``include`` has a name that no branch has.
        """
        self._asyncflow.merge(self, inputs, list(exclude), list(include))


def _refusal(flow: FlowSpec, name: str) -> str:
    backing = flow._asyncflow
    if backing.read_only:
        return f"{name!r} can't be changed: the inputs of a join are read-only. Assign to self instead."
    if name in _PARTS or name not in backing.fixed:
        return f"{name!r} is a part of every flow and can't be assigned. Use another name."
    what = "class constant" if name in class_constants(type(flow)) else "parameter"
    return (
        f"Flow level attributes and Parameters are not modifiable: {name!r} is a {what} of {type(flow).__name__}. "
        "Assign to another name."
    )
