"""All commands but ``run``, by typer. Only the module of the command that is called is imported."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer

from asyncflow import settings
from asyncflow.cli.encodings import not_utf8
from asyncflow.cli.options import switch
from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncflow.cli.dispatch import Invocation

COMMANDS: dict[str, tuple[str, str]] = {
    "check": ("flows", "check"),
    "show": ("flows", "show"),
    "output-dot": ("flows", "output_dot"),
    "list": ("listing", "list_runs"),
    "logs": ("logs", "logs"),
    "dump": ("dump", "dump"),
    "tag": ("tags", "app"),
    "verify": ("stores", "verify"),
    "version": ("stores", "version"),
}
"""The module of ``cli.commands`` and the function or typer app in it."""
_EPILOG = "Options may stand before or after the command. Each has a variable: ASYNCFLOW_STORE, ASYNCFLOW_MAX_WORKERS …"
INTERRUPTED = 130
"""What typer makes of Ctrl-C."""


def call(invocation: Invocation) -> int:
    """Parse the rest of the command line and call the command; returns the exit code."""
    name, program = invocation.command, invocation.program.name
    if name and name not in COMMANDS:
        raise UsageError(f"There is no command {name!r}.{_meant(name)} `{program} --help` lists them.")
    app = _typer()
    for each in (name,) if name else ("run", *COMMANDS):
        _add(app, each)
    if not name:
        app.callback(help=_about(invocation), epilog=_EPILOG)(_nothing)
    command = typer.main.get_command(app)
    path = program if not name or name == "tag" else f"{program} {name}"
    try:
        words = _words(invocation)
        words = [*_from_environment(command, words), *words] if name else words
        code = command.main(words, prog_name=path, obj=invocation, standalone_mode=False)
    except UnicodeEncodeError as error:  # a name to look up, as no store has it
        raise not_utf8(error) from None
    except Exception as error:
        message = _usage_message(error)
        if message is None:
            raise
        stop = "" if message.endswith((".", "?")) else "."
        raise UsageError(f"{message}{stop} `{program}{f' {name}' if name else ''} --help` says more.") from None
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _typer() -> typer.Typer:
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def _words(invocation: Invocation) -> list[str]:
    if invocation.command == "tag":  # it has commands of its own
        return ["tag", *(invocation.rest or ("--help",))]
    return list(invocation.rest)


def _from_environment(command: Any, words: Sequence[str]) -> list[str]:
    """What the variables ``ASYNCFLOW_<OPTION>`` say of options that aren't among ``words``, as words."""
    given = {word.partition("=")[0] for word in words}
    found: list[str] = []
    for parameter in command.params:
        name = next((each for each in parameter.opts if each.startswith("--")), None)
        text = None if name is None or given.intersection(parameter.opts) else settings.option(name[2:])
        if name is None or text is None:
            continue
        if getattr(parameter, "is_flag", False):
            found += [name] if switch(f"The variable of {name}", text) else []
        else:
            for value in text.split(",") if getattr(parameter, "multiple", False) else (text,):
                found += [name, value.strip()]
    return found


def _add(app: typer.Typer, name: str) -> None:
    if name == "run":
        app.command("run", help="Run a flow. `run FLOW.py --help` lists its parameters and all options.")(_nothing)
        return
    module, attribute = COMMANDS[name]
    found: Any = getattr(import_module(f"asyncflow.cli.commands.{module}"), attribute)
    if isinstance(found, typer.Typer):
        app.callback()(_nothing)
        app.add_typer(found, name=name)
    else:
        function: Callable[..., Any] = found
        app.command(name, help=inspect.getdoc(function))(function)


def _nothing() -> None:
    """Stands for what is done elsewhere."""


def _about(invocation: Invocation) -> str:
    flow = invocation.program.flow_class
    if flow is None:
        return "Run flows, and look at what they did."
    return inspect.getdoc(flow) or f"The flow {flow.__name__}."


def _meant(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, ["run", *COMMANDS], n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _usage_message(error: Exception) -> str | None:
    """What typer says of a wrong command line. Its exceptions have no public base class."""
    form = getattr(error, "format_message", None)
    return str(form()) if callable(form) else None
