"""``run``: from the words behind it to the end of the run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncflow.cli import flowfile
from asyncflow.cli.options import BY_NAME, RUN_OPTIONS, Takes, run_options
from asyncflow.cli.precheck import Precheck
from asyncflow.cli.scan import HELP, find_word, scan
from asyncflow.errors import FlowDefinitionError, UsageError
from asyncflow.settings import find_store, username

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncflow.cli.dispatch import Invocation
    from asyncflow.cli.options import RunOptions
    from asyncflow.cli.runidfile import RunIdFile
    from asyncflow.flow import FlowSpec
    from asyncflow.parameters import Parameter

_SWITCHES = frozenset(option.name for option in RUN_OPTIONS if option.takes is Takes.NOTHING)


@dataclass(frozen=True, slots=True)
class Request:
    """What a command line asks for."""

    flow_class: type[FlowSpec]
    values: Mapping[str, object]
    """Arguments of ``Engine.start``."""
    options: RunOptions


def run(invocation: Invocation) -> int:
    """``asyncflow run FLOW.py[:Class] …`` and ``python flow.py run …``; returns the exit code."""
    argument, words = _flow_argument(invocation)
    helping = any(word in HELP for word in words)
    if argument is None and invocation.program.flow_class is None:
        if helping:
            return _help(invocation, None, {})
        raise UsageError(f"Name the file of a flow: `{invocation.program.name} run FLOW.py`.")
    precheck = None if helping else _precheck(invocation, argument, words)
    try:
        with _off_the_json(_wants_json(invocation, words)):
            flow_class = invocation.program.flow_class or flowfile.load(argument or "")
        request = _read(invocation, flow_class, words)
        if request is None:
            return _help(invocation, flow_class, _parameters(flow_class))
        return _start(request, precheck)
    finally:
        if precheck is not None:
            precheck.abandon()


def _flow_argument(invocation: Invocation) -> tuple[str | None, list[str]]:
    """The FLOW argument and the other words; there is none for a flow's own command line."""
    words = list(invocation.rest)
    if invocation.program.flow_class is not None:
        return None, words
    place = find_word(words, _SWITCHES)
    return (None, words) if place is None else (words.pop(place), words)


def _precheck(invocation: Invocation, argument: str | None, words: Sequence[str]) -> Precheck | None:
    """Started before the flow is imported, so that the two overlap."""
    off = "--no-pylint" in words or run_options(invocation.before).no_pylint
    flow_class = invocation.program.flow_class
    file = flowfile.source_file(flow_class) if flow_class else os.path.abspath(flowfile.split_flow(argument or "")[0])  # noqa: PTH100
    if off or file is None or not os.path.isfile(file):  # noqa: PTH113 - pathlib is an import
        return None
    return Precheck(file, find_store(given=_store_among(invocation, words))).start()


def _store_among(invocation: Invocation, words: Sequence[str]) -> str | None:
    for index, word in enumerate(words):
        if word.startswith("--store"):
            name, equals, value = word.partition("=")
            if name == "--store":
                return value if equals else next(iter(words[index + 1 : index + 2]), None)
    return invocation.store(None)


def _wants_json(invocation: Invocation, words: Sequence[str]) -> bool:
    """As far as it can be told before the flow's own parameters are known."""
    return "--json" in words or run_options(invocation.before).json


def _off_the_json(asked: bool) -> contextlib.AbstractContextManager[object]:
    """What the flow's own code prints in this process mustn't stand between the lines of JSON."""
    return contextlib.redirect_stdout(sys.stderr) if asked else contextlib.nullcontext()


# -- reading -----------------------------------------------------------------------------------------


def _parameters(flow_class: type[FlowSpec]) -> dict[str, Parameter]:
    from asyncflow.parameters import flow_parameters

    return flow_parameters(flow_class)


def _read(invocation: Invocation, flow_class: type[FlowSpec], words: Sequence[str]) -> Request | None:
    """None when help is asked for. Raises ``UsageError``."""
    names = flowfile.option_names(_parameters(flow_class))
    hint = (
        f" `{invocation.program.name} run {'' if invocation.program.flow_class else 'FLOW.py '}--help` lists them all."
    )
    ours = {name: each.takes is not Takes.NOTHING for name, each in BY_NAME.items() if name not in names}
    found = scan(words, ours | dict.fromkeys(names, True), hint=hint)
    if found.help:
        return None
    if found.words:
        raise UsageError(f"Unexpected {found.words[0]!r}: a parameter's value is given as --name value.{hint}")
    given = dict(invocation.before)
    for name in found.values.keys() - names.keys():
        given[name] = [*given.get(name, ()), *found.values[name]]
    asked = {name: texts for name, texts in found.values.items() if name in names}
    return Request(flow_class, flowfile.values_of(names, asked), run_options(given))


def _help(invocation: Invocation, flow_class: type[FlowSpec] | None, parameters: Mapping[str, Parameter]) -> int:
    from asyncflow.cli.runhelp import show_help

    return show_help(invocation.program, flow_class, parameters)


# -- starting ----------------------------------------------------------------------------------------


def _start(request: Request, precheck: Precheck | None) -> int:
    from asyncflow.cli.driving import drive
    from asyncflow.engine.runner import Engine
    from asyncflow.ui.output import Output

    options = request.options
    _check_names(request)
    _check_executor(options.executor)
    _log(options.log_level)
    try:
        engine = Engine(
            request.flow_class,
            executor=options.executor or "local",
            max_workers=options.max_workers,
            isolation=options.isolation,
            on_failure=options.on_failure or "stop",
            max_num_splits=options.max_num_splits,
            tags=options.tag,
            namespace=options.namespace,
            store=options.store,
        )
    except FlowDefinitionError:
        _say_problems(precheck)
        raise
    if _say_problems(precheck):
        return 1
    output = Output(sys.stdout, forgiving=True)
    with _off_the_json(options.json), contextlib.ExitStack() as stack:
        run_id_file = _run_id_file(options.run_id_file)
        if run_id_file is not None:
            stack.enter_context(run_id_file)
        try:
            return asyncio.run(drive(engine, request, _checks(precheck), output, run_id_file))
        except asyncio.CancelledError:  # a signal before the run had begun
            raise KeyboardInterrupt from None


def _say_problems(precheck: Precheck | None) -> bool:
    """Whether the linter found errors in the flow's file, which have then been said."""
    problems = precheck.problems() if precheck is not None else []
    if not problems:
        return False
    from asyncflow.ui.output import say
    from asyncflow.ui.text import counted

    assert precheck is not None
    say(f"{precheck.tool} finds {counted(len(problems), 'error')} in the flow's file (--no-pylint doesn't look):")
    say("\n".join(f"  {problem}" for problem in problems) + "\n")
    return True


def _checks(precheck: Precheck | None) -> str:
    """What was looked at, for the banner."""
    return "graph" if precheck is None or precheck.tool is None else f"graph and {precheck.tool}"


def _check_names(request: Request) -> None:
    """All that goes into the store with the run, and to its workers."""
    from asyncflow.cli.encodings import require_utf8

    options = request.options
    require_utf8(
        {
            "The flow's file": flowfile.source_file(request.flow_class),
            "The store": str(find_store(given=options.store)),
            "--namespace": options.namespace,
            "The user": username(),
        }
        | {f"Entry {index} of sys.path": entry for index, entry in enumerate(sys.path)}
    )


def _check_executor(name: str | None) -> None:
    """A name that nothing goes by is said before anything else is looked at."""
    if name is not None and name not in {"local", "inline"}:
        from asyncflow.engine.runner import registered_executor

        registered_executor(name)


def _run_id_file(path: str | None) -> RunIdFile | None:
    if path is None:
        return None
    from asyncflow.cli.runidfile import RunIdFile

    return RunIdFile(path)


def _log(level: str | None) -> None:
    """The engine's own log: silent unless asked for."""
    import logging

    logger = logging.getLogger("asyncflow")
    logger.propagate = False
    if level is None:
        logger.addHandler(logging.NullHandler())
        return
    from asyncflow.cli.enginelog import handler

    with contextlib.suppress(ValueError):
        logger.setLevel(level.upper())
    logger.addHandler(handler(sys.stderr))
