"""The options of ``run``, in one table: what they are called, what they take, what they mean.

Each may stand before or after the command, or in the variable ``ASYNCFLOW_<OPTION>``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from asyncflow import settings
from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST = 1_000_000
"""How many there may be of what somebody counts, waits for or looks at."""
DIGITS = 20


class Takes(Enum):
    """What follows an option."""

    NOTHING = auto()
    TEXT = auto()
    NUMBER = auto()
    """A whole number from 1 to the option's ``most``."""
    TEXTS = auto()
    """The option may be given several times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """``--name``. One that ``yields`` leaves its place behind the command to a flow's parameter of the same name."""

    name: str
    help: str = ""
    takes: Takes = Takes.TEXT
    metavar: str = ""
    choices: tuple[str, ...] = ()
    yields: bool = True
    most: int = 10**15
    """The greatest number that it takes."""
    hidden: bool = False
    """Understood, because flows written for Metaflow are started with it, but of no effect here."""


RUN_OPTIONS: tuple[Option, ...] = (
    Option(name="executor", metavar="NAME", help="Where tasks run: local, inline, or one that a package brings."),
    Option(
        name="max-workers",
        takes=Takes.NUMBER,
        most=MOST,
        yields=False,
        help="How many tasks run at the same time. [default: the number of processors]",
    ),
    Option(
        name="max-num-splits",
        takes=Takes.NUMBER,
        yields=False,
        help="How many items a foreach may have. [default: no limit]",
    ),
    Option(
        name="isolation",
        choices=("step", "task"),
        help="Whether a worker process serves many tasks of a step, or only one. [default: step]",
    ),
    Option(name="tag", takes=Takes.TEXTS, yields=False, help="A tag for the run; may be given several times."),
    Option(name="namespace", yields=False, help="The namespace that the run belongs to. [default: user:NAME]"),
    Option(
        name="run-id-file",
        metavar="FILE",
        yields=False,
        help="Write the run's id to this file before the first task starts.",
    ),
    Option(
        name="on-failure",
        choices=("stop", "finish-running", "keep-going"),
        help="What becomes of the other tasks when one has failed for good. [default: stop]",
    ),
    Option(name="store", metavar="PATH", help="The store's directory. [default: .asyncflow here or in a parent]"),
    Option(name="json", takes=Takes.NOTHING, help="Print one event a line, as JSON."),
    Option(name="quiet", takes=Takes.NOTHING, help="Print only the steps' own output and errors."),
    Option(name="no-pylint", takes=Takes.NOTHING, help="Don't look for errors in the flow file with ruff or pylint."),
    Option(
        name="log-level",
        choices=("debug", "info", "warning", "error"),
        help="Print the engine's own log to stderr, as JSON.",
    ),
    Option(name="datastore", choices=("local",), hidden=True),
    Option(name="metadata", choices=("local",), hidden=True),
    Option(name="environment", choices=("local",), hidden=True),
    Option(name="package-suffixes", hidden=True),
    Option(name="max-log-size", hidden=True),
)
BY_NAME: dict[str, Option] = {option.name: option for option in RUN_OPTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The values of ``RUN_OPTIONS`` for one run; None where nothing was said."""

    executor: str | None = None
    max_workers: int | None = None
    max_num_splits: int | None = None
    isolation: str | None = None
    tag: tuple[str, ...] = ()
    namespace: str | None = None
    run_id_file: str | None = None
    on_failure: str | None = None
    store: str | None = None
    json: bool = False
    quiet: bool = False
    no_pylint: bool = False
    log_level: str | None = None


def run_options(given: Mapping[str, Sequence[str]]) -> RunOptions:
    """The options as ``given`` on the command line, else from the environment. Raises ``UsageError``."""
    values = {name: _value(option, given.get(name)) for name, option in BY_NAME.items()}
    shown = {name: value for name, value in values.items() if not BY_NAME[name].hidden and value is not None}
    return RunOptions(**{name.replace("-", "_"): value for name, value in shown.items()})  # type: ignore[arg-type]


def _value(option: Option, given: Sequence[str] | None) -> str | int | bool | tuple[str, ...] | None:
    source = f"--{option.name}"
    if given is None:
        text = _from_environment(option)
        if text is None:
            return None
        source = "ASYNCFLOW_" + option.name.upper().replace("-", "_")
        given = [part.strip() for part in text.split(",")] if option.takes is Takes.TEXTS else [text]
    match option.takes:
        case Takes.NOTHING:
            return switch(source, given[-1])
        case Takes.NUMBER:
            return _number(option, source, given[-1])
        case Takes.TEXTS:
            return tuple(given)
        case Takes.TEXT:
            return _text(option, source, given[-1])


def _from_environment(option: Option) -> str | None:
    # ASYNCFLOW_LOG is what people guess first.
    return settings.option(option.name) or (settings.option("log") if option.name == "log-level" else None)


def switch(source: str, text: str) -> bool:
    """Raises ``UsageError`` where ``text``, which ``source`` says, is neither yes nor no."""
    word = text.lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise UsageError(f"{source} is {text!r}; it must be true or false.")


def _number(option: Option, source: str, text: str) -> int:
    # By its digits first: int() refuses thousands of them.
    if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS and 0 < int(text) <= option.most):
        raise UsageError(f"{source} is {text!r}; it must be a whole number from 1 to {option.most:,}.")
    return int(text)


def _text(option: Option, source: str, text: str) -> str:
    if option.choices and text not in option.choices:
        if option.hidden:
            raise UsageError(f"{source} is {text!r}; this version of asyncflow has only {option.choices[0]!r}.")
        raise UsageError(f"{source} is {text!r}; it must be one of {', '.join(option.choices)}.")
    return text
