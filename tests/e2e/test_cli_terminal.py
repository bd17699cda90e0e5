"""A run in a terminal: the live display, Ctrl-C, and the terminal as it was before."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from cli_rig import TROUBLE, Asyncflow, Terminal, until

HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"


@pytest.fixture
def asyncflow(tmp_path: Path) -> Asyncflow:
    return Asyncflow(tmp_path)


@pytest.fixture
def terminal(asyncflow: Asyncflow) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*words: object, **size: int) -> Terminal:
        opened.append(Terminal(asyncflow, *words, **size))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_bars_count_and_output_stands_above(asyncflow: Asyncflow, terminal) -> None:
    flow = asyncflow.flow("""
from asyncflow import FlowSpec, step

class BarsFlow(FlowSpec):
    @step
    def start(self):
        print("  [bold]no markup[/bold] \\x1b[32mgreen\\x1b[0m \\x1b[2J")
        self.items = list(range(30))
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
""")
    screen = terminal("run", flow)

    assert screen.finish() == 0
    assert "  [bold]no markup[/bold] green" in screen.text
    assert b"\x1b[32mgreen\x1b[0m" in screen.raw
    assert b"\x1b[2J" not in screen.raw
    last = screen.text[screen.text.rindex("start ") :]
    assert "30/30" in last
    assert last.count("1/1") == 3
    assert f"{asyncflow.last_run()} succeeded" in last
    assert "33 tasks done" in last
    assert "Task started" not in screen.text
    assert screen.raw.count(HIDE) == screen.raw.count(SHOW) == 1
    assert screen.raw.index(HIDE) < screen.raw.index(SHOW)
    assert screen.settings == screen.before


def test_ctrl_c_stops_the_run_and_restores_the_terminal(asyncflow: Asyncflow, terminal, tmp_path: Path) -> None:
    screen = terminal("run", f"{TROUBLE}:WaitingFlow", "--folder", tmp_path, "--max-workers", "2")
    screen.wait_for(" 2 running")

    screen.press(b"\x03")

    assert screen.finish() == 1
    assert "Stopping 2 tasks… (Ctrl-C again to kill at once)" in screen.text
    assert "2 cancelled" in screen.text
    assert "was cancelled (SIGINT)" in screen.text
    assert "Traceback" not in screen.text
    assert screen.raw.rindex(SHOW) > screen.raw.rindex(HIDE)
    assert screen.settings == screen.before
    assert asyncflow.last_state() == "cancelled"
    assert (tmp_path / "cleaned-0").exists()


def test_ctrl_c_twice_kills(asyncflow: Asyncflow, terminal, tmp_path: Path) -> None:
    screen = terminal("run", f"{TROUBLE}:WaitingFlow", "--folder", tmp_path, "--max-workers", "2", "--stubborn", "true")
    screen.wait_for(" 2 running")

    screen.press(b"\x03")
    screen.wait_for("Stopping 2 tasks")
    screen.press(b"\x03")

    assert screen.finish() == 1
    assert "Killing" in screen.text
    assert screen.raw.rindex(SHOW) > screen.raw.rindex(HIDE)
    assert asyncflow.last_state() == "cancelled"


def test_ctrl_backslash_ends_it_as_it_is_and_restores_the_terminal(terminal, tmp_path: Path) -> None:
    screen = terminal("run", f"{TROUBLE}:WaitingFlow", "--folder", tmp_path, "--max-workers", "2")
    screen.wait_for(" 2 running")

    screen.press(b"\x1c")

    assert screen.finish() == -signal.SIGQUIT
    assert screen.raw.rindex(SHOW) > screen.raw.rindex(HIDE)
    assert screen.settings == screen.before
    pids = [int((tmp_path / f"pid-{index}").read_text()) for index in range(2)]
    until(lambda: not any(map(psutil.pid_exists, pids)), "the workers are gone")


def test_a_failure_is_told_below_the_bars(asyncflow: Asyncflow, terminal) -> None:
    screen = terminal("run", f"{TROUBLE}:OneBadItemFlow")

    assert screen.finish() == 1
    text = screen.text
    assert "1 failed" in text
    assert text.index("Traceback") > text.rindex("start ")
    assert "ValueError: item 2 is bad" in text
    assert f"Run {asyncflow.last_run()} failed" in text


def test_a_small_terminal_is_enough(asyncflow: Asyncflow, terminal) -> None:
    screen = terminal("run", f"{TROUBLE}:OneBadItemFlow", "--bad", "-1", rows=3, columns=20)

    assert screen.finish() == 0


def test_without_colours_there_are_none(asyncflow: Asyncflow, terminal) -> None:
    asyncflow.environment["NO_COLOR"] = "1"
    screen = terminal("run", f"{TROUBLE}:OneBadItemFlow", "--bad", "-1")

    assert screen.finish() == 0
    assert b"\x1b[3" not in screen.raw


@pytest.mark.parametrize("words", [["--quiet"], ["--json"]])
def test_quiet_and_json_draw_nothing(asyncflow: Asyncflow, terminal, words: list[str]) -> None:
    screen = terminal("run", f"{TROUBLE}:OneBadItemFlow", "--bad", "-1", *words)

    assert screen.finish() == 0
    assert HIDE not in screen.raw


def test_a_debugger_gets_the_terminal_of_an_inline_run(asyncflow: Asyncflow, terminal) -> None:
    flow = asyncflow.flow("""
from asyncflow import FlowSpec, step

class AskFlow(FlowSpec):
    @step
    def start(self):
        self.answer = input("what? ")
        self.next(self.end)

    @step
    def end(self):
        print("it is", self.answer)
""")
    screen = terminal("run", flow, "--executor", "inline")
    screen.wait_for("what? ")
    screen.press(b"forty-two\n")

    assert screen.finish() == 0
    assert "it is forty-two" in screen.text
    assert HIDE not in screen.raw
