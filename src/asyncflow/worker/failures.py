"""What a step raised, as the failure that everybody else sees."""

from __future__ import annotations

from asyncflow.errors import InvalidNextException
from asyncflow.events import Failure, FailureKind
from asyncflow.tracebacks import message_of, step_traceback


def failure_of(error: BaseException, *, kind: FailureKind = FailureKind.USER) -> Failure:
    message = message_of(error)
    if isinstance(error, SystemExit):
        message += " (the step called sys.exit before its end)"
    exception = f"{type(error).__module__}.{type(error).__qualname__}"
    return Failure(kind, message, step_traceback(error), exception, retriable=not _hopeless(error))


def _hopeless(error: BaseException) -> bool:
    """Whether another try would end the same way."""
    return isinstance(error, InvalidNextException) or (isinstance(error, SystemExit) and not error.code)
