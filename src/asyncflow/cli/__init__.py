"""The command line: ``asyncflow``, ``python -m asyncflow``, and ``python flow.py``.

It is thin: it reads what the user asked for, calls the engine or the client, and shows what they say. Nothing
is imported here; ``asyncflow run`` loads no more than it uses (``docs/adr/0040`` says why it parses its options itself).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncflow.flow import FlowSpec


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The ``asyncflow`` command. Exits with 0, 1 after a failure or an interrupt, 2 after a usage error."""
    _main(None, argv)


def program() -> NoReturn:
    """``main`` as a process of its own: ends it without taking the interpreter apart, a sixth of a short run's time.

    What was registered with ``atexit`` runs; threads that the flow's import started aren't waited for.
    """
    import os
    import sys

    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    import atexit

    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage] - the only way to run them without the interpreter's end
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            continue
        except (OSError, ValueError, AttributeError):  # a full disk; closed, or never there
            code = code or 1
    os._exit(code)


def main_for(flow_class: type[FlowSpec], argv: Sequence[str] | None = None) -> NoReturn:
    """The command line of one flow: what ``MyFlow()`` does at the end of a flow file. Exits like ``main``."""
    _main(flow_class, argv)


def _main(flow_class: type[FlowSpec] | None, argv: Sequence[str] | None) -> NoReturn:
    import sys

    try:
        from asyncflow.cli.dispatch import Program, execute

        code = execute(Program(flow_class), list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # while that was imported; later ones are execute's to report
        if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison] - None without a console
            sys.stderr.write("Interrupted.\n")
        code = 1
    raise SystemExit(code)
