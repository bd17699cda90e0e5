"""What stands behind a flow object: the task that it was made for."""

# The modules of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from asyncflow.errors import AsyncflowError
from asyncflow.flow.constants import fixed_names

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from asyncflow.events import Frame
    from asyncflow.flow.spec import FlowSpec
    from asyncflow.flow.transition import Transition

_Flow = TypeVar("_Flow", bound="FlowSpec")


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

    def load(self, flow: FlowSpec, name: str) -> Any:  # noqa: ARG002 - for those that have a task
        """The inherited artifact ``name``, which is from then on among the attributes of ``flow``.

        Raises ``KeyError`` where there is none.
        """
        raise KeyError(name)

    def forget(self, name: str) -> bool:  # noqa: ARG002 - likewise
        """Inherit ``name`` no more; False where it wasn't inherited."""
        return False

    def item(self, flow: FlowSpec, depth: int) -> Any:  # noqa: ARG002 - likewise
        """The item of ``frames[depth]``, None where its list isn't at hand."""
        return None

    def merge(
        self,
        flow: FlowSpec,
        inputs: Iterable[FlowSpec],  # noqa: ARG002 - likewise
        exclude: list[str],  # noqa: ARG002
        include: list[str],  # noqa: ARG002
    ) -> None:
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


making: ContextVar[Backing | None] = ContextVar("asyncflowmaking", default=None)
no_command_line: ContextVar[bool] = ContextVar("asyncflowno_command_line", default=False)


def make_flow(flow_class: type[_Flow], backing: Backing) -> _Flow:
    """A flow object for one task. Its own ``__init__`` runs, the command line doesn't."""
    token = making.set(backing)
    try:
        with without_command_line():
            return flow_class()
    finally:
        making.reset(token)


def make_view(flow_class: type[_Flow], backing: Backing) -> _Flow:
    """A flow object of which nothing of the user's runs: a join may make a hundred thousand of them."""
    flow = object.__new__(flow_class)
    object.__setattr__(flow, "_asyncflow", backing)
    return flow


@contextmanager
def without_command_line() -> Generator[None]:
    """Within it, ``MyFlow()`` makes an object and nothing else: a flow file is being imported, or a task run."""
    token = no_command_line.set(True)
    try:
        yield
    finally:
        no_command_line.reset(token)
