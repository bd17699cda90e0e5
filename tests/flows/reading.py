"""Flows that read runs from inside their steps, and flows to be read."""

from __future__ import annotations

import sys
import threading

from asyncflow import Flow, FlowSpec, Parameter, Run, current, get_namespace, namespace, step


class SelfReadingFlow(FlowSpec):
    """Each step reads what the run has kept so far."""

    @step
    def start(self):
        self.x = 5
        self.next(self.middle)

    @step
    def middle(self):
        run = Run(f"{current.flow_name}/{current.run_id}")
        self.seen = run["start"].task.data.x
        self.state = str(run.state)
        self.namespace_here = get_namespace()
        self.latest = Flow("SelfReadingFlow").latest_run.pathspec
        self.before = Flow("SelfReadingFlow").latest_successful_run
        namespace(None)
        self.next(self.end)

    @step
    def end(self):
        self.namespace_after = get_namespace()
        self.run = current.run
        self.me = current.task


class KeptFlow(FlowSpec):
    """Artifacts and output of several kinds; ``bad`` tells which item fails."""

    bad = Parameter("bad", default=-1, type=int)
    constant = ("a", 1)

    @step
    def start(self):
        print("zwölf")
        print("  from the start", file=sys.stderr)
        sys.stdout.flush()
        sys.stdout.buffer.write(b"a\xffb\n")
        self.items = [10, 20, 30]
        self._secret = threading.current_thread().name
        self.next(self.work, foreach="items")

    @step
    def work(self):
        self.before = self.input
        self.place = current.task.index
        if self.index == self.bad:
            raise ValueError(f"item {self.index} is bad")
        self.twice = self.input * 2
        self.next(self.join)

    @step
    def join(self, inputs):
        self.all = [task.twice for task in inputs]
        self.next(self.end)

    @step
    def end(self):
        self.table = bytearray(b"t" * 2_000_000)
