"""The command line of a fresh interpreter for a part of asyncflow."""

from __future__ import annotations

import os
import sys


def interpreter(call: str) -> list[str]:
    """The command line of a fresh interpreter that runs ``call`` of a module below ``asyncflow``.

    It has this interpreter's options, and finds asyncflow where this one did.
    """
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - slim
    module = call.partition("(")[0].rpartition(".")[0]
    code = f"import sys; sys.path.append({home!r}); import {module}; {call}"
    return [sys.executable, *_options(), "-P", "-c", code]


def _options() -> list[str]:
    flags = sys.flags
    options = ["-O"] * flags.optimize
    for letter, is_set in (
        ("-B", flags.dont_write_bytecode),
        ("-E", flags.ignore_environment),
        ("-s", flags.no_user_site),
    ):
        if is_set:
            options.append(letter)
    options += [f"-W{option}" for option in sys.warnoptions]
    options_x: dict[str, str | bool] = vars(sys)["_xoptions"]
    for name, value in options_x.items():
        options += ["-X", name if value is True else f"{name}={value}"]
    return options
