"""``FlowSpec``, ``@step`` and ``self.next``: what a flow is written with.

A flow object is made for one task and holds that task's artifacts. It knows nothing of stores: what it
can't answer from its own attributes it asks of its ``Backing``, which a worker puts around it.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, overload

from asyncflow.errors import AsyncflowError, FlowDefinitionError, InvalidNextException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from asyncflow.events import Frame

_Method = TypeVar("_Method", bound="Callable[..., Any]")
_Flow = TypeVar("_Flow", bound="FlowSpec")


# -- steps -----------------------------------------------------------------------------------------


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


# -- what a step asked for -------------------------------------------------------------------------


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


def _read_transition(flow: FlowSpec, targets: tuple[Any, ...], options: Mapping[str, Any], where: str) -> Transition:
    """Raises ``InvalidNextException`` for what can't be a transition of any graph."""
    unknown = [name for name in options if name not in _SPLIT_OPTIONS]
    if unknown:
        raise _wrong_next(flow, where, f"doesn't know {unknown[0]!r}; its options are foreach, num_parallel, condition")
    given = [name for name in _SPLIT_OPTIONS if options.get(name) is not None]
    if len(given) > 1:
        raise _wrong_next(flow, where, f"takes {given[0]} or {given[1]}, not both")
    if not targets:
        raise _wrong_next(flow, where, "names no step; write self.next(self.another_step)")
    if isinstance(targets[0], dict):
        return _read_switch(flow, targets, options, where)
    if options.get("condition") is not None:
        raise _wrong_next(flow, where, 'has a condition, so its cases must be a dict: {"value": self.a_step}')
    transition = Transition(tuple(_step_name(flow, target, where) for target in targets), where)
    if given:
        if len(targets) > 1:
            raise _wrong_next(flow, where, f"takes one step beside {given[0]}, not {len(targets)}")
        transition.foreach = _artifact_name(flow, options.get("foreach"), "foreach", where)
        transition.num_parallel = options.get("num_parallel")
    return transition


def _read_switch(flow: FlowSpec, targets: tuple[Any, ...], options: Mapping[str, Any], where: str) -> Transition:
    cases = cast("dict[object, Any]", targets[0])
    condition = _artifact_name(flow, options.get("condition"), "condition", where)
    if len(targets) > 1 or not cases or condition is None:
        raise _wrong_next(
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
        raise _wrong_next(flow, where, f"takes steps, not their names; write self.next(self.{target})")
    name = getattr(target, "__name__", None)
    if callable(target) and name is not None:
        raise _wrong_next(flow, where, f"leads to {name!r}, which is not a step of this flow; put @step above it")
    raise _wrong_next(flow, where, f"takes steps like self.another_step, not {target!r}")


def _artifact_name(flow: FlowSpec, name: object, option: str, where: str) -> str | None:
    if name is None or isinstance(name, str):
        return name
    kind = type(name).__name__
    raise _wrong_next(flow, where, f'takes the name of an artifact as {option}, as in {option}="items", not a {kind}')


def _wrong_next(flow: FlowSpec, where: str, what: str) -> InvalidNextException:
    name = backing_of(flow).step
    return InvalidNextException(f"{where}: self.next in step {name!r} of {type(flow).__name__} {what}.")


# -- the task around a flow object -----------------------------------------------------------------


class Backing:
    """What a flow object asks of the task that it was made for. This one is of no task at all."""

    read_only = False
    """Whether artifacts can't be assigned: so it is for the inputs of a join."""

    def __init__(self, flow_class: type[FlowSpec], *, step: str = "", frames: tuple[Frame, ...] = ()) -> None:
        self.flow_class = flow_class
        self.fixed = fixed_names(flow_class)
        """Parameters and class constants: names that can't be assigned."""
        self.step = step
        self.frames = frames
        """The foreach nest around the task, outermost first."""
        self.transition: Transition | None = None
        self.parsed: dict[str, Any] = {}
        """Content of included files after their parsers."""

    def load(self, flow: FlowSpec, name: str) -> Any:
        """The inherited artifact ``name``, which is from then on among the attributes of ``flow``.

        Raises ``KeyError`` where there is none.
        """
        raise KeyError(name)

    def forget(self, name: str) -> bool:
        """Inherit ``name`` no more; False where it wasn't inherited."""
        return False

    def item(self, flow: FlowSpec, depth: int) -> Any:
        """The item of ``frames[depth]``, None where its list isn't at hand."""
        return None

    def merge(self, flow: FlowSpec, inputs: Iterable[FlowSpec], exclude: list[str], include: list[str]) -> None:
        raise AsyncflowError(
            f"merge_artifacts was called in {where_is(flow)}, which isn't a join. Only a join, a step that takes "
            "`inputs`, has anything to merge."
        )


def where_is(flow: FlowSpec) -> str:
    """The place of ``flow`` for error messages."""
    name = backing_of(flow).step
    return f"step '{name}' of {type(flow).__name__}" if name else type(flow).__name__


def backing_of(flow: FlowSpec) -> Backing:
    return flow._asyncflow


_making: ContextVar[Backing | None] = ContextVar("asyncflow_making", default=None)
_no_command_line: ContextVar[bool] = ContextVar("asyncflow_no_command_line", default=False)


def make_flow(flow_class: type[_Flow], backing: Backing) -> _Flow:
    """A flow object for one task. Its own ``__init__`` runs, the command line doesn't."""
    token = _making.set(backing)
    try:
        with without_command_line():
            return flow_class()
    finally:
        _making.reset(token)


def make_view(flow_class: type[_Flow], backing: Backing) -> _Flow:
    """A flow object whose ``__init__`` doesn't run."""
    token = _making.set(backing)
    try:
        return flow_class.__new__(flow_class)
    finally:
        _making.reset(token)


@contextmanager
def without_command_line() -> Iterator[None]:
    """Within it, ``MyFlow()`` makes an object and nothing else: a flow file is being imported, or a task run."""
    token = _no_command_line.set(True)
    try:
        yield
    finally:
        _no_command_line.reset(token)


# -- the flow --------------------------------------------------------------------------------------


class _FlowName:
    """``self.name`` is the flow's name until a step assigns something else."""

    def __get__(self, flow: FlowSpec | None, owner: type[FlowSpec]) -> Any:
        if flow is None:
            return owner.__name__
        try:
            return backing_of(flow).load(flow, "name")
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
        backing = _making.get()
        if backing is None or backing.flow_class is not cls:
            backing = Backing(cls)
        object.__setattr__(flow, "_asyncflow", backing)
        return flow

    def __init__(self, use_cli: bool = True) -> None:
        if use_cli and not _no_command_line.get():
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
        raise AttributeError(f"Flow {type(self).__name__} has no attribute {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        backing = self._asyncflow
        if name in backing.fixed or backing.read_only or name in _READ_ONLY:
            raise AttributeError(_refusal(self, name))
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        backing = self._asyncflow
        if name in backing.fixed or backing.read_only or name in _READ_ONLY:
            raise AttributeError(_refusal(self, name))
        inherited = backing.forget(name)
        if name in self.__dict__:
            object.__delattr__(self, name)
        elif not inherited:
            raise AttributeError(f"Flow {type(self).__name__} has no attribute {name!r}", name=name, obj=self)

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
            raise _wrong_next(self, where, f"was called before, at {backing.transition.where}; once is all a step may")
        backing.transition = _read_transition(self, steps, options, where)

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


_READ_ONLY = frozenset({"index", "input", "next", "foreach_stack", "merge_artifacts"})


def _refusal(flow: FlowSpec, name: str) -> str:
    backing = backing_of(flow)
    if backing.read_only:
        return f"{name!r} can't be changed: the inputs of a join are read-only. Assign to self instead."
    if name in _READ_ONLY or name not in backing.fixed:
        return f"{name!r} is a part of every flow and can't be assigned. Use another name."
    what = "class constant" if name in class_constants(type(flow)) else "parameter"
    return (
        f"Flow level attributes and Parameters are not modifiable: {name!r} is a {what} of {type(flow).__name__}. "
        "Assign to another name."
    )


# -- what belongs to the class ---------------------------------------------------------------------

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
        if owner is object or owner is FlowSpec:
            continue
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
        return all(map(_is_scalar, value))
    return type(value) in SCALARS
