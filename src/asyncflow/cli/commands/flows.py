"""``check``, ``show`` and ``output-dot``: a flow's graph, without running it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from asyncflow.cli import flowfile
from asyncflow.cli.commands.common import FlowArgument, StoreOption, flow_of, invocation_of
from asyncflow.cli.precheck import Precheck
from asyncflow.graph import FlowGraph
from asyncflow.settings import find_store
from asyncflow.ui.output import Output, say
from asyncflow.ui.text import counted


def check(
    context: typer.Context,
    flow: FlowArgument = None,
    no_pylint: Annotated[
        bool, typer.Option("--no-pylint", help="Don't look for errors in the file with ruff or pylint.")
    ] = False,
    store: StoreOption = None,
) -> int:
    """Look for mistakes in a flow; run nothing.

    Checks the graph, and the file with ruff or pylint where they are installed.
    """
    from asyncflow.lint import check as problems_of

    invocation = invocation_of(context)
    flow_class = flow_of(context, flow)
    file = flowfile.source_file(flow_class)
    precheck = None
    if file is not None and not invocation.switch("no-pylint", no_pylint):
        precheck = Precheck(file, find_store(given=invocation.store(store))).start()
    problems = problems_of(FlowGraph.of(flow_class))
    errors = precheck.problems() if precheck is not None else []
    for problem in problems:
        say(str(problem))
    for error in errors:
        say(error)
    found = len(problems) + len(errors)
    tool = precheck.tool if precheck is not None else None
    looked = f"{flow_class.__name__}: the graph{f' and, with {tool}, the file' if tool else ''}"
    if found:
        say(f"{looked}: {counted(found, 'problem')}.")
        return 1
    Output(sys.stdout).write(f"{looked} are sound.\n" if tool else f"{looked} is sound.\n")
    return 0


def show(context: typer.Context, flow: FlowArgument = None) -> None:
    """Show the steps of a flow and where they lead."""
    text = FlowGraph.of(flow_of(context, flow)).to_text()
    Output(sys.stdout).write(text if text.endswith("\n") else text + "\n")


def output_dot(context: typer.Context, flow: FlowArgument = None) -> None:
    """Draw the graph of a flow, for graphviz.

    As in `asyncflow output-dot FLOW.py | dot -Tsvg > flow.svg`.
    """
    text = FlowGraph.of(flow_of(context, flow)).to_dot()
    Output(sys.stdout).write(text if text.endswith("\n") else text + "\n")
