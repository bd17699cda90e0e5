"""Command lines in parts: options with their values, and the words between them.

``run`` is parsed here and not by typer, whose import and first parse take longer than all the rest of a small run.
The rules are the usual ones: ``--name value``, ``--name=value``, and nothing after ``--`` is an option.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HELP = frozenset({"--help", "-h"})


@dataclass(slots=True)
class Scanned:
    """``values`` by option name, in the order given; a switch that stands alone has the value ``true``."""

    values: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    words: list[str] = field(default_factory=list[str])
    help: bool = False
    rest: list[str] = field(default_factory=list[str])
    """With ``first_word_only``: the first word and all after it."""


def scan(
    words: Sequence[str], options: Mapping[str, bool], *, hint: str = "", first_word_only: bool = False
) -> Scanned:
    """Take ``words`` apart. ``options`` says of each option, by its name without dashes, whether it takes a value.

    Raises ``UsageError`` for an unknown option and for a missing value; ``hint`` says where to look then.
    """
    found = Scanned()
    waiting = list(reversed(words))
    while waiting:
        word = waiting.pop()
        if word == "--":
            found.words += reversed(waiting)
            break
        if word in HELP and word.lstrip("-") not in options:
            found.help = True
        elif word.startswith("-") and word != "-":
            name, value = _option(word, waiting, options, hint)
            found.values.setdefault(name, []).append(value)
        elif first_word_only:
            found.rest = [word, *reversed(waiting)]
            break
        else:
            found.words.append(word)
    return found


def _option(word: str, waiting: list[str], options: Mapping[str, bool], hint: str) -> tuple[str, str]:
    name, equals, value = word.removeprefix("--").partition("=")
    if not word.startswith("--") or name not in options:
        raise UsageError(f"There is no option {word.partition('=')[0]}.{_meant(name, options)}{hint}")
    if not options[name]:
        return name, value if equals else "true"
    if equals:
        return name, value
    if not waiting or (waiting[-1].startswith("--") and waiting[-1][2:].partition("=")[0] in options):
        raise UsageError(f"Option --{name} needs a value.{hint}")
    return name, waiting.pop()


def _meant(name: str, options: Mapping[str, bool]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name.lstrip("-"), list(options), n=1)
    return f" Did you mean --{close[0]}?" if close else ""


def find_word(words: Sequence[str], switches: frozenset[str]) -> int | None:
    """Where the first word stands, when not all options are known yet: one that isn't in ``switches`` takes a value."""
    index = 0
    while index < len(words):
        word = words[index]
        if word == "--":
            return index + 1 if index + 1 < len(words) else None
        if not word.startswith("-") or word == "-":
            return index
        alone = "=" in word or word in HELP or word.removeprefix("--") in switches
        index += 1 if alone else 2
    return None
