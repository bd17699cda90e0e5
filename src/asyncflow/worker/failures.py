"""What a step raised, as the failure that everybody else sees."""

from __future__ import annotations

from asyncflow.errors import InvalidNextException
from asyncflow.events import Failure, FailureKind
from asyncflow.tracebacks import message_of, plain_traceback, step_traceback


def failure_of(error: BaseException, *, kind: FailureKind = FailureKind.USER) -> Failure:
    """Never raises, whatever a class of the user's does where it is asked for its text, notes or cause."""
    try:
        return _failure(error, kind)
    except BaseException as second:
        # Asked of the objects themselves; their own attributes have just failed.
        exception = type.__dict__["__qualname__"].__get__(type(error))
        why = type.__dict__["__qualname__"].__get__(type(second))
        message = f"{exception} (it can't be shown in full: asking it raises {why})"
        return Failure(kind, message, plain_traceback(error), exception)


def _failure(error: BaseException, kind: FailureKind) -> Failure:
    message = message_of(error)
    if isinstance(error, SystemExit):
        message += " (the step called sys.exit before its end)"
    exception = f"{type(error).__module__}.{type(error).__qualname__}"
    return Failure(kind, message, step_traceback(error), exception, retriable=not _hopeless(error))


def _hopeless(error: BaseException) -> bool:
    """Whether another try would end the same way."""
    return isinstance(error, InvalidNextException) or (isinstance(error, SystemExit) and not error.code)
