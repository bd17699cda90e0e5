"""Flows whose steps go wrong, or wait until they are told."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from asyncflow import FlowSpec, Parameter, step


class OneBadItemFlow(FlowSpec):
    """Item ``bad`` of a fan-out goes wrong in the ``way`` that is asked for."""

    n = Parameter("n", default=4, type=int)
    bad = Parameter("bad", default=2, type=int)
    way = Parameter("way", default="raise")

    @step
    def start(self):
        self.items = list(range(self.n))
        self.next(self.work, foreach="items")

    @step
    def work(self):
        self.item = self.input
        if self.input == self.bad:
            self.go_wrong()
        self.next(self.join)

    def go_wrong(self):
        match self.way:
            case "raise":
                raise ValueError(f"item {self.input} is bad")
            case "exit":
                os._exit(3)
            case "segfault":
                ctypes.string_at(0)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "sysexit":
                sys.exit(0)
            case "unpicklable":
                self.lock = {"inner": [threading.Lock()]}

    @step
    def join(self, inputs):
        self.items = [task.item for task in inputs]
        self.next(self.end)

    @step
    def end(self):
        pass


class WaitingFlow(FlowSpec):
    """``n`` tasks that each write their pid into ``folder`` and wait for a file ``go`` there."""

    n = Parameter("n", default=2, type=int)
    folder = Parameter("folder", required=True)
    stubborn = Parameter("stubborn", default=False, type=bool)
    child = Parameter("child", default=False, type=bool)

    @step
    def start(self):
        self.items = list(range(self.n))
        self.next(self.work, foreach="items")

    @step
    def work(self):
        if self.stubborn:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        folder = Path(self.folder)
        if self.child:
            child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            (folder / f"child-{self.input}").write_text(str(child.pid))
        (folder / f"pid-{self.input}.new").write_text(str(os.getpid()))
        (folder / f"pid-{self.input}.new").rename(folder / f"pid-{self.input}")
        try:
            while not (folder / "go").exists():
                time.sleep(0.01)  # the flow's own waiting, ended by the test's file
        finally:
            (folder / f"cleaned-{self.input}").touch()
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


class WrongNextFlow(FlowSpec):
    """What runs differs from what the source's last statement says."""

    early = True

    @step
    def start(self):
        if self.early:
            self.next(self.a)
            return
        self.next(self.b)

    @step
    def b(self):
        self.next(self.a)

    @step
    def a(self):
        self.next(self.end)

    @step
    def end(self):
        pass


class BadForeachFlow(FlowSpec):
    """A foreach over something that can't be fanned out over."""

    what = Parameter("what", default="none")

    @step
    def start(self):
        self.items = {"none": None, "int": 3, "empty": []}[self.what]
        self.next(self.work, foreach="items")

    @step
    def work(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


class UmaskFlow(FlowSpec):
    """Lets nobody read what it makes, and leaves an artifact that is a file."""

    fails = Parameter("fails", default=False, type=bool)

    @step
    def start(self):
        os.umask(0o777)
        self.large = b"x" * 100_000
        if self.fails:
            raise ValueError("after its umask")
        self.seen = os.umask(0o777)
        self.next(self.end)

    @step
    def end(self):
        pass
