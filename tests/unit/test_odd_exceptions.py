"""Exceptions whose class does odd things when it is asked: the task fails, and that is all."""

from __future__ import annotations

import pytest
from task_rig import fail

from asyncflow import FlowSpec, step


class OddNotes(Exception):
    __notes__ = 5


class OddCause(Exception):
    @property
    def __cause__(self):
        raise RuntimeError("no cause")


class OddText(Exception):
    def __str__(self):
        raise KeyboardInterrupt

    __repr__ = __str__


class OddTextInNotes(Exception):
    @property
    def __notes__(self):
        return [OddText()]


class OddCode(SystemExit):
    @property
    def code(self):
        raise RuntimeError("no code")


class OddTraceback(Exception):
    @property
    def __traceback__(self):
        raise SystemExit(3)

    @__traceback__.setter
    def __traceback__(self, traceback):
        pass


class OddClass(Exception):
    @property
    def __class__(self):
        raise RuntimeError("no class")


class OddMeta(type):
    def __getattribute__(cls, name):
        if name == "__qualname__":
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class OddName(Exception, metaclass=OddMeta):
    pass


ODD = [OddNotes, OddCause, OddText, OddTextInNotes, OddCode, OddTraceback, OddClass, OddName]


@pytest.mark.parametrize("kind", ODD, ids=range(len(ODD)))
def test_an_odd_exception_is_a_failure_like_others(kind):
    class OddFlow(FlowSpec):
        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            raise kind

    failure = fail(OddFlow)
    name = type.__dict__["__qualname__"].__get__(kind)
    assert name in failure.message
    assert failure.exception.endswith(name)
    assert "raise kind" in failure.traceback
    assert "worker" not in failure.traceback
