"""A flow's file that changes between the engine's reading of it and the workers'."""

from __future__ import annotations

import asyncio

import pytest

from asyncflow.engine.runner import Engine
from asyncflow.errors import RunFailed
from asyncflow.loader import find_flow

SOURCE = """
from asyncflow import FlowSpec, step

class ChangingFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.middle)

    @step
    def middle(self):
        self.next(self.end)

    @step
    def end(self):
        self.version = 1
"""


def test_workers_refuse_other_steps_than_the_engines(tmp_path):
    file = tmp_path / "changing_flow.py"
    file.write_text(SOURCE)
    engine = Engine(find_flow(str(file)), store=tmp_path / "store")
    file.write_text(SOURCE.replace("middle", "another"))
    with pytest.raises(RunFailed, match="was changed while its run was starting"):
        asyncio.run(engine.run())


def test_a_change_that_keeps_the_steps_is_taken(tmp_path):
    file = tmp_path / "kept_flow.py"
    file.write_text(SOURCE)
    engine = Engine(find_flow(str(file)), store=tmp_path / "store")
    file.write_text(SOURCE.replace("version = 1", "version = 22"))
    assert asyncio.run(engine.run()).data.version == 22
