"""``run --help``: the flow's own parameters first, then the options of ``run``."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from asyncflow.cli.flowfile import option_names
from asyncflow.cli.options import RUN_OPTIONS, Takes
from asyncflow.ui.output import Output
from asyncflow.ui.text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncflow.cli.dispatch import Program
    from asyncflow.cli.options import Option
    from asyncflow.flow import FlowSpec
    from asyncflow.parameters import Parameter

_LEFT = 30
"""Columns for an option and what it takes."""


def show_help(program: Program, flow_class: type[FlowSpec] | None, parameters: Mapping[str, Parameter]) -> int:
    """Print it to stdout; returns the exit code."""
    argument = "" if program.flow_class is not None else " FLOW.py[:Class]"
    parts = [f"Usage: {program.name} run{argument} [--PARAMETER VALUE]… [OPTIONS]", ""]
    if flow_class is None:
        parts += ["Run a flow. With FLOW.py, --help lists the flow's own parameters too.", ""]
    else:
        doc = flow_class.__doc__ or ""
        parts += [textwrap.indent(plain(textwrap.dedent(doc).strip()), "  "), ""] if doc.strip() else []
        parts += [
            f"Parameters of {flow_class.__name__}:" if parameters else f"{flow_class.__name__} has no parameters."
        ]
        parts += [_row(f"--{each.name} {each.type_name}", _about(each)) for each in parameters.values()]
        parts += [""]
    taken = option_names(parameters)
    parts += ["Options:"]
    parts += [_option(option) for option in RUN_OPTIONS if not option.hidden and option.name not in taken]
    parts += [_row("--help", "Show this and do nothing.")]
    hidden = [f"--{option.name}" for option in RUN_OPTIONS if option.name in taken]
    if hidden:
        parts += ["", _before(hidden, program)]
    Output(sys.stdout).write("\n".join(parts) + "\n")
    return 0


def _option(option: Option) -> str:
    value = "" if option.takes is Takes.NOTHING else option.metavar or "|".join(option.choices)
    value = value or ("N" if option.takes is Takes.NUMBER else "TEXT")
    return _row(
        f"--{option.name} {value}".rstrip() if option.takes is not Takes.NOTHING else f"--{option.name}", option.help
    )


def _about(parameter: Parameter) -> str:
    parts = [plain(parameter.help)] if parameter.help else []
    if parameter.separator is not None:
        parts.append(f"[separated by {parameter.separator!r}]")
    if parameter.required:
        parts.append("[required]")
    elif callable(parameter.default):
        parts.append("[default: found out when the run starts]")
    elif parameter.default_text is not None:
        parts.append(f"[default: {plain(parameter.default_text)}]")
    return " ".join(parts)


def _row(left: str, right: str) -> str:
    width = max(shutil.get_terminal_size().columns, 60) - _LEFT - 4
    lines = textwrap.wrap(right, min(width, 90)) or [""]
    if len(left) > _LEFT:
        lines = ["", *lines]
    first, *others = lines
    return "\n".join([f"  {left:<{_LEFT}}  {first}".rstrip(), *(" " * (_LEFT + 4) + line for line in others)])


def _before(hidden: list[str], program: Program) -> str:
    names = ", ".join(hidden)
    return f"The flow has parameters called like {names}: the option stands before the command, `{program.name} {hidden[0]} … run`."
