"""Exceptions of user code as text, without asyncflow's own frames."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asyncflow.errors import AsyncflowError

if TYPE_CHECKING:
    from traceback import FrameSummary, TracebackException

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120 - pathlib isn't imported by workers
_IMPORTING = "<frozen importlib"
_LIBRARY = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - likewise
_LOOPS = (f"{_LIBRARY}asyncio{os.sep}", f"{_LIBRARY}concurrent{os.sep}")
"""What stands between us and an async step."""
_LONGEST_MESSAGE = 2_000
_LONGEST_TRACEBACK = 64_000
"""Characters: a failure is kept in the journal, whatever a step puts into an exception."""


_TRACEBACK = BaseException.__dict__["__traceback__"]
"""A class of the user's may have another attribute of that name."""


def message_of(error: BaseException) -> str:
    """One line: ``ValueError: no such carrier``; of asyncflow's own errors the sentence alone."""
    try:
        said = _storable(str(error).strip())
    except Exception:
        said = "(its text can't be shown: str() of it raises)"
    if not isinstance(error, AsyncflowError) or not said:
        first, _, more = said.partition("\n")
        name = type(error).__qualname__
        said = (f"{name}: {first}" if first else name) + (" …" if more else "")
    return said if len(said) <= _LONGEST_MESSAGE else said[:_LONGEST_MESSAGE] + " …"


def step_traceback(error: BaseException) -> str:
    """The traceback as text; empty where no frame of it is the user's."""
    summary = _summary(error)
    if not summary.stack:
        return ""
    return _text(summary)


def traceback_text(error: BaseException) -> str:
    """The traceback as text; where no frame is the user's, the exception alone."""
    summary = _summary(error)
    return _text(summary) if summary.stack else "".join(summary.format_exception_only())


def plain_traceback(error: BaseException) -> str:
    """Where it was raised, and nothing that its class could say about it."""
    from traceback import extract_tb, format_list

    frames = [frame for frame in extract_tb(_TRACEBACK.__get__(error)) if not _ours(frame)]
    return _storable("".join(format_list(frames)))[-_LONGEST_TRACEBACK:]


def _summary(error: BaseException) -> TracebackException:
    from traceback import TracebackException

    summary = TracebackException(type(error), error, error.__traceback__, compact=True)
    _strip(summary, set())
    return summary


def _text(summary: TracebackException) -> str:
    text = _storable("".join(summary.format()))
    if len(text) <= _LONGEST_TRACEBACK:
        return text
    half = _LONGEST_TRACEBACK // 2
    return f"{text[:half]}\n  … {len(text) - 2 * half:,} characters …\n{text[-half:]}"


def _storable(text: str) -> str:
    """Surrogates, which stand for bytes that couldn't be decoded, are no Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()


def _strip(summary: TracebackException, seen: set[int]) -> None:
    if id(summary) in seen:
        return
    seen.add(id(summary))
    summary.stack[:] = [frame for frame in summary.stack if not _ours(frame)]
    while summary.stack and summary.stack[0].filename.startswith(_LOOPS):
        del summary.stack[0]
    for other in (summary.__cause__, summary.__context__, *(getattr(summary, "exceptions", None) or ())):
        if other is not None:
            _strip(other, seen)


def _ours(frame: FrameSummary) -> bool:
    return frame.filename.startswith((_HERE, _IMPORTING))
