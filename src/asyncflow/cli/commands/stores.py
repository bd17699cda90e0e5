"""``verify`` and ``version``."""

from __future__ import annotations

import platform
import sys

import typer

from asyncflow._version import __version__
from asyncflow.cli.commands.common import StoreOption, invocation_of
from asyncflow.cli.places import open_store
from asyncflow.ui.output import Output
from asyncflow.ui.text import counted, plain


def verify(context: typer.Context, store: StoreOption = None) -> int:
    """Read all of a store and check every hash.

    What is damaged is listed, one a line, and the exit code is 1.
    """
    from asyncflow.store.verify import verify_store

    opened = open_store(invocation_of(context).store(store))
    output = Output(sys.stdout)
    found = 0
    for damage in verify_store(opened):
        found += 1
        output.write(f"{plain(damage.where)}: {plain(damage.problem)}\n")
    output.write(f"{opened.root}: {counted(found, 'problem')}.\n" if found else f"{opened.root} is sound.\n")
    return 1 if found else 0


def version() -> None:
    """Print the version of asyncflow."""
    Output(sys.stdout).write(f"asyncflow {__version__} (Python {platform.python_version()}, {platform.system()})\n")
