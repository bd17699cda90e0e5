"""What several commands take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from asyncflow.cli.dispatch import Invocation
    from asyncflow.flow import FlowSpec

StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="PATH", help="The store's directory. [default: .asyncflow here or in a parent]"),
]
FlowArgument = Annotated[
    str | None, typer.Argument(metavar="FLOW.py[:Class]", help="The flow's file; of several flows, name one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def invocation_of(context: typer.Context) -> Invocation:
    return cast("Invocation", context.find_root().obj)


def flow_of(context: typer.Context, argument: str | None) -> type[FlowSpec]:
    """The flow that a command is about. Raises ``UsageError`` and ``FlowNotFound``."""
    from asyncflow.cli import flowfile

    invocation = invocation_of(context)
    own = invocation.program.flow_class
    if own is not None and argument is None:
        return own
    if argument is None:
        raise UsageError(f"Name the file of a flow: `{invocation.program.name} {invocation.command} FLOW.py`.")
    return flowfile.load(argument)


def required(pathspec: str | None) -> str:
    """Raises ``UsageError``, in our own words, where there is none."""
    if pathspec is None:
        raise UsageError("Name what to look at: a run as Flow/run, a task as Flow/run/step/task.")
    return pathspec
