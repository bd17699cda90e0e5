"""Output that nobody reads holds a run up, but not those who want to end it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cli_rig import PATIENCE, Asyncflow, Terminal, until

FLOW = """
import time
from pathlib import Path
from asyncflow import FlowSpec, Parameter, step

class LoudFlow(FlowSpec):
    waits = Parameter("waits", default=False)

    @step
    def start(self):
        for _ in range(100_000):
            print("x" * 100)
        Path("printed").touch()
        while self.waits:
            time.sleep(0.01)
        self.next(self.end)

    @step
    def end(self):
        pass
"""


class Unread:
    """A command whose output goes into a pipe that nobody reads."""

    def __init__(self, asyncflow: Asyncflow, *words: object, also_errors: bool) -> None:
        self.asyncflow = asyncflow
        self.reader, writer = os.pipe()
        with (asyncflow.folder / "stderr").open("wb") as errors:
            self.process = subprocess.Popen(
                asyncflow.command("run", asyncflow.flow(FLOW), "--no-pylint", *words), cwd=asyncflow.folder,
                env=asyncflow.environment, stdin=subprocess.DEVNULL, stdout=writer,
                stderr=writer if also_errors else errors,
            )  # fmt: skip
        os.close(writer)

    @property
    def said(self) -> str:
        return (self.asyncflow.folder / "stderr").read_text()

    def printed(self) -> None:
        until((self.asyncflow.folder / "printed").exists, "printed", lambda: self.said)

    def close(self) -> None:
        os.close(self.reader)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[Callable[..., Unread]]:
    started: list[Unread] = []

    def start(*words: object, also_errors: bool = False) -> Unread:
        started.append(Unread(Asyncflow(tmp_path), *words, also_errors=also_errors))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.mark.parametrize("words", [[], ["--json"], ["--quiet"]])
def test_a_signal_ends_the_run_and_the_process(unread: Callable[..., Unread], words: list[str]) -> None:
    run = unread("--waits", "true", *words)
    run.printed()

    run.process.send_signal(signal.SIGTERM)

    assert run.process.wait(PATIENCE) == 1
    assert "nobody reads it" in run.said
    assert "was cancelled (SIGTERM)" in run.said
    assert run.asyncflow.last_state() == "cancelled"


def test_nor_do_errors_that_nobody_reads(unread: Callable[..., Unread]) -> None:
    run = unread("--waits", "true", also_errors=True)
    run.printed()

    run.process.send_signal(signal.SIGINT)

    assert run.process.wait(PATIENCE) == 1
    assert run.asyncflow.last_state() == "cancelled"


def test_a_run_that_had_succeeded_did_succeed(unread: Callable[..., Unread]) -> None:
    run = unread()
    run.printed()
    until(lambda: run.asyncflow.last_state() == "succeeded", "succeeded")
    assert run.process.poll() is None

    run.process.send_signal(signal.SIGTERM)
    with suppress(ProcessLookupError):
        run.process.send_signal(signal.SIGTERM)

    assert run.process.wait(PATIENCE) == 0
    assert "nobody reads it" in run.said


def test_a_terminal_that_shows_nothing_more(tmp_path: Path) -> None:
    asyncflow = Asyncflow(tmp_path)
    screen = Terminal(asyncflow, "run", asyncflow.flow(FLOW), "--no-pylint", "--waits", "true")
    try:
        until((tmp_path / "printed").exists, "printed")
        screen.process.send_signal(signal.SIGTERM)
        assert screen.process.wait(PATIENCE) == 1
    finally:
        screen.close()
