"""From the words of a command line to the command that they mean."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncflow.cli.options import RUN_OPTIONS, Takes
from asyncflow.cli.reports import report
from asyncflow.cli.scan import HELP, Scanned, scan
from asyncflow.settings import option

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
        return _run(invocation)
    from asyncflow.cli.app import call

    return call(invocation)


def _run(invocation: Invocation) -> int:
    """While this process imports the engine, the one that will import the flow for the workers comes up."""
    from asyncflow.executors import launch

    if _is_for_local_workers(invocation):
        launch.ahead()
    try:
        from asyncflow.cli.running import run

        return run(invocation)
    finally:
        launch.dismiss()


def _is_for_local_workers(invocation: Invocation) -> bool:
    """Whether the run will most likely need them; a wrong guess costs nothing but a moment of another processor."""
    elsewhere = "executor" in invocation.before or any(
        word in HELP or word.startswith("--executor") for word in invocation.rest
    )
    return not elsewhere and option("executor") in {None, "local"}


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
