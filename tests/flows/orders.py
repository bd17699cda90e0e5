"""A flow whose tasks do what they are ordered: for the contract of executors."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from asyncflow import FlowSpec, JSONType, Parameter, step


class OrdersFlow(FlowSpec):
    """Item i of ``orders`` is what task i does: ``succeed``, ``fail``, ``print N``, or ``wait FOLDER``."""

    orders = Parameter("orders", type=JSONType, default=["succeed"])

    @step
    def start(self):
        self.next(self.work, foreach="orders")

    @step
    def work(self):
        order, _, detail = self.input.partition(" ")
        if order == "fail":
            raise ValueError(f"order {self.index}")
        if order == "print":
            for number in range(int(detail)):
                print(f"line {number}", file=sys.stderr if number % 2 else sys.stdout)
        if order == "wait":
            (Path(detail) / f"started-{self.index}").touch()
            while not (Path(detail) / "go").exists():
                time.sleep(0.01)  # the flow's own waiting, ended by the test's file
        self.done = self.index
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass
