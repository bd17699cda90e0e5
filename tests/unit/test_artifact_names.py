"""What a step may put into its own ``__dict__``: names that can be kept, and what is said of the others."""

from __future__ import annotations

import numpy as np
import pytest
from task_rig import play, succeed

from asyncflow import FlowSpec, step
from asyncflow.events import RunState


def flow_that_assigns(names):
    class NamesFlow(FlowSpec):
        @step
        def start(self):
            self.kept = 1
            vars(self).update(dict.fromkeys(names, 2))
            self.next(self.end)

        @step
        def end(self):
            pass

    return NamesFlow


@pytest.mark.parametrize("name", [1, None, ("a", 1), b"bytes", "\ud800", "x\udcff"])
def test_a_name_that_can_not_be_kept_fails_the_task_and_is_said(name):
    played = play(flow_that_assigns([name]))
    assert played.state is RunState.FAILED
    assert repr(name) in played.failure.message
    assert "of its own" in played.failure.message
    assert played.data("start") == {"kept": 1}


def test_a_kind_of_string_is_kept_as_a_plain_one():
    played = succeed(flow_that_assigns([np.str_("subclass"), "größe", "not an identifier"]))
    assert played.data("end") == {"kept": 1, "subclass": 2, "größe": 2, "not an identifier": 2}
    assert {type(name) for name in played.refs("start")} == {str}
