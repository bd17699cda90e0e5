"""The FLOW argument, and the options that a flow's parameters become."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncflow.flow import FlowSpec
    from asyncflow.parameters import Parameter


def split_flow(argument: str) -> tuple[str, str | None]:
    """``flow.py:Class`` in parts; the class may be missing."""
    path, colon, name = argument.rpartition(":")
    if colon and name.isidentifier() and not os.path.exists(argument):  # noqa: PTH110 - pathlib is an import
        return path, name
    return argument, None


def load(argument: str) -> type[FlowSpec]:
    """The flow that the argument names. Raises ``FlowNotFound``."""
    from asyncflow.loader import find_flow

    return find_flow(*split_flow(argument))


def source_file(flow_class: type[FlowSpec]) -> str | None:
    """The file that ``flow_class`` is written in; None in a notebook."""
    import sys

    path = getattr(sys.modules.get(flow_class.__module__), "__file__", None)
    return os.path.abspath(path) if isinstance(path, str) else None  # noqa: PTH100 - symlinks stay as the user wrote them


def spellings(parameter: Parameter) -> tuple[str, ...]:
    """The option names of a parameter: its own, and the one with dashes where it has underscores."""
    return tuple(dict.fromkeys((parameter.name, parameter.name.replace("_", "-"))))


def option_names(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Every option name that stands for a parameter."""
    return {spelling: parameter for parameter in parameters.values() for spelling in spellings(parameter)}


def values_of(names: Mapping[str, Parameter], given: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """Keyword arguments for ``Engine.start`` from the texts on the command line; of several, the last one counts.

    Raises ``ParameterError``.
    """
    return {names[option].name: _value(names[option], texts[-1]) for option, texts in given.items()}


def _value(parameter: Parameter, text: str) -> object:
    # What is written as text in Python too (a text, JSON, a file's name) is read where the run starts.
    return parameter.from_text(text) if parameter.type in (int, float, bool) else text
