"""From the words of a command line to the command that they mean."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncflow.cli.options import RUN_OPTIONS, Takes
from asyncflow.cli.reports import report
from asyncflow.cli.scan import Scanned, scan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncflow.flow import FlowSpec

TOP_OPTIONS: dict[str, bool] = {option.name: option.takes is not Takes.NOTHING for option in RUN_OPTIONS}
"""What may stand before a command, and whether it takes a value."""


@dataclass(frozen=True, slots=True)
class Program:
    """What was started: ``asyncflow``, or the file of ``flow_class``."""

    flow_class: type[FlowSpec] | None = None

    @property
    def name(self) -> str:
        """As the user types it."""
        if self.flow_class is None:
            return "asyncflow"
        import os

        return f"python {os.path.basename(sys.argv[0])}"  # noqa: PTH119 - pathlib is an import

    @property
    def flow_name(self) -> str | None:
        return None if self.flow_class is None else self.flow_class.__name__


@dataclass(frozen=True, slots=True)
class Invocation:
    """One command, the options that stood before it, and what stood after it."""

    program: Program
    command: str
    before: Mapping[str, Sequence[str]] = field(default_factory=dict[str, "Sequence[str]"])
    rest: Sequence[str] = ()

    def store(self, given: str | None) -> str | None:
        """The value of ``--store``, wherever it stood; None leaves it to the environment."""
        return given if given is not None else self.before.get("store", [None])[-1]

    def switch(self, name: str, given: bool) -> bool:
        """Whether the switch ``name`` was given, wherever it stood."""
        return given or name in self.before


def execute(program: Program, arguments: Sequence[str]) -> int:
    """Carry out one command line; returns the exit code. Errors are reported, never raised."""
    _forgive_encodings()
    try:
        return _execute(program, arguments)
    except BrokenPipeError:
        from asyncflow.ui.output import silence

        silence(sys.stdout)
        return 0
    except (Exception, KeyboardInterrupt) as error:
        return report(error)


def _execute(program: Program, arguments: Sequence[str]) -> int:
    hint = f" `{program.name} --help` lists the commands and `{program.name} run --help` the options."
    options = TOP_OPTIONS | {"version": False}
    top = scan(arguments, options, hint=hint, first_word_only=True)
    invocation = _invocation(program, top)
    if invocation.command == "run":
        from asyncflow.cli.running import run

        return run(invocation)
    from asyncflow.cli.app import call

    return call(invocation)


def _invocation(program: Program, top: Scanned) -> Invocation:
    if top.help or (not top.rest and "version" not in top.values):
        return Invocation(program, "", {}, ["--help"])
    if "version" in top.values:
        return Invocation(program, "version")
    command, *rest = top.rest
    return Invocation(program, command, top.values, rest)


def _forgive_encodings() -> None:
    """A character that the terminal's encoding lacks is no reason to fail."""
    from io import TextIOWrapper

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
