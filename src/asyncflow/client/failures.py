"""Failures as exceptions that readers see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow.errors import MetaflowExceptionWrapper

if TYPE_CHECKING:
    from asyncflow.events import Failure


def exception_of(failure: Failure) -> MetaflowExceptionWrapper:
    """``.type`` is the exception's class, or the kind of failure where a task died without one."""
    said = failure.message
    if failure.exception:
        said = said.removeprefix(failure.exception.rpartition(".")[2]).removeprefix(": ")
    return MetaflowExceptionWrapper(said, failure.exception or failure.kind.value, failure.traceback or failure.message)
