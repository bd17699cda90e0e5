"""The ways to show a run: plain lines, JSON lines, bars in a terminal; and the pump that feeds them."""

import asyncio
import io
import json
import os
import threading
from collections.abc import Iterator

import pytest
from ui_stream import (
    NOON,
    RUN,
    attempt,
    cancelled,
    failed,
    fan_graph,
    fan_out,
    finished,
    log,
    run_started,
    started,
    stream,
    succeeded,
)

from asyncflow.events import (
    CancelRequested,
    EventsDropped,
    LimitChanged,
    Next,
    RetryDue,
    RunState,
    TaskAccepted,
    TaskLog,
)
from asyncflow.ui.jsonlines import JsonView, as_object, encode
from asyncflow.ui.lines import progress
from asyncflow.ui.live import LiveView, can_draw, visible
from asyncflow.ui.output import Output
from asyncflow.ui.plain import PlainView
from asyncflow.ui.show import show
from asyncflow.ui.tally import Row
from asyncflow.ui.view import Backlog


class Paper(io.TextIOWrapper):
    """A stream without a file, that remembers what was written."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="replace", newline="\n")

    def read_back(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined]


@pytest.fixture
def paper() -> Iterator[Paper]:
    paper = Paper()
    yield paper
    paper.close()


def drawn(view, *, last: bool = True, now: float = NOON + 60) -> None:
    frame = view.frame(now, last=last)
    if frame is not None:
        frame()


# -- plain lines -------------------------------------------------------------------------------------


def plain_lines(paper: Paper, items, *, quiet: bool = False) -> list[str]:
    view = PlainView(RUN, fan_graph(), Output(paper), quiet=quiet)
    for item in items:
        view.take(item)
    drawn(view)
    return paper.read_back().splitlines()


def test_a_narrow_step_has_a_line_for_each_start_and_end(paper: Paper) -> None:
    lines = plain_lines(paper, fan_out(3))

    assert len(lines) == 2 * (1 + 3 + 3 + 1 + 1)
    assert lines[0].endswith(f"[{RUN}/start/1 (pid 4001)] Task started.")
    assert lines[1].endswith(f"[{RUN}/start/1 (pid 4001)] Task succeeded in 1.5 s.")


def test_a_wide_step_has_a_summary_instead(paper: Paper) -> None:
    lines = plain_lines(paper, fan_out(101))

    assert not [line for line in lines if "/work/" in line]
    summaries = [line for line in lines if f"[{RUN}/work]" in line]
    assert len(summaries) == 1
    assert "101 of 101 done" in summaries[0]


def test_summaries_come_every_five_seconds_and_at_the_end(paper: Paper) -> None:
    view = PlainView(RUN, fan_graph(), Output(paper))
    items = fan_out(200)
    for item in items[:3]:
        view.take(item)
    seconds = iter(range(1, 1000))
    for item in items[3:]:
        view.take(item)
        drawn(view, last=False, now=NOON + 0.1 * next(seconds))  # ten events a second

    drawn(view)
    lines = [line for line in paper.read_back().splitlines() if f"[{RUN}/work]" in line]
    assert 14 <= len(lines) <= 20  # 80 seconds, and the end of the step
    assert "200 of 200 done" in lines[-1]
    assert "left" in lines[3]
    assert "/s" in lines[3]


def test_output_lines_name_their_worker_and_keep_their_form(paper: Paper) -> None:
    lines = plain_lines(paper, [started("work", 7), log("work", 7, b"   \x1b[32mgreen\x1b[0m [bold]")])

    assert lines[1].endswith(f".345 [{RUN}/work/7 (pid 4007)]    \x1b[32mgreen\x1b[0m [bold]\x1b[0m")


def test_quiet_leaves_output_and_failures(paper: Paper) -> None:
    lines = plain_lines(paper, [started("work", 7), log("work", 7, b"said"), failed("work", 7)], quiet=True)

    assert len(lines) == 2
    assert lines[0].endswith("said")
    assert "Task failed after 1.5 s: ValueError: no" in lines[1]


def test_failures_of_a_wide_step_have_lines_up_to_a_hundred(paper: Paper) -> None:
    items = [run_started(), succeeded("start", 1, Next(("work",), 1000, "items"))]
    items += [failed("work", 2 + n, message="E: \x1b[2Jboom\nmore") for n in range(150)]
    lines = plain_lines(paper, items)

    shown = [line for line in lines if "Task failed" in line]
    assert len(shown) == 100
    assert shown[0].endswith("E: boom")
    assert "150 failed" in "".join(lines)


def test_a_retry_is_told_as_such(paper: Paper) -> None:
    lines = plain_lines(
        paper, [run_started({"work": 1}), failed("work", 7), started("work", 7, 1), cancelled("work", 7)]
    )

    assert "Attempt 1 failed after 1.5 s, and will be tried again: ValueError: no" in lines[0]
    assert lines[1].endswith("Task started (attempt 2).")
    assert lines[2].endswith("Task cancelled.")


def test_lines_without_room_are_counted(paper: Paper) -> None:
    view = PlainView(RUN, fan_graph(), Output(paper))
    view._backlog = Backlog(room=200)
    for _ in range(1000):
        view.take(log("work", 7, b"x" * 50))
    view.take(EventsDropped(7))
    drawn(view)

    lines = paper.read_back().splitlines()
    assert len(lines) < 10
    assert f"{1000 - (len(lines) - 1) + 7:,} lines not shown here" in lines[-1]


# -- JSON --------------------------------------------------------------------------------------------


def test_json_has_one_object_a_line(paper: Paper) -> None:
    view = JsonView(f"FanFlow/{RUN}", fan_graph(), Output(paper))
    for item in fan_out(2):
        view.take(item)
    drawn(view)

    objects = [json.loads(line) for line in paper.read_back().splitlines()]
    assert [each["type"] for each in objects][:3] == ["RunStarted", "TaskStarted", "TaskSucceeded"]
    assert objects[-1] == {
        "type": "RunFinished", "run": f"FanFlow/{RUN}", "state": "succeeded", "at": NOON + 60, "reason": "",
        "first_failure": None,
    }  # fmt: skip
    assert objects[2]["task"] == f"FanFlow/{RUN}/start/1"
    assert objects[2]["next"] == {"steps": ["work"], "width": 2, "var": "items"}
    assert objects[2]["manifest"] == bytes(range(32)).hex()


@pytest.mark.parametrize(
    "item",
    [
        run_started(), started("work", 7), succeeded("work", 7), failed("work", 7), cancelled("work", 7),
        TaskAccepted(attempt("work", 7), "handle"), RetryDue(attempt("work", 7, 1)), CancelRequested("SIGINT", NOON),
        LimitChanged("local", 4), EventsDropped(3), log("work", 7, b"x"), finished(RunState.FAILED, failed("work", 7)),
    ],
)  # fmt: skip
def test_every_kind_of_item_has_its_object(item) -> None:
    made = json.loads(encode(as_object(item, "FanFlow/1")))

    assert made["type"] == type(item).__name__
    assert made["run"] == "FanFlow/1"


def test_a_failure_comes_whole() -> None:
    made = as_object(finished(RunState.FAILED, failed("work", 7)), "FanFlow/1")

    assert made["first_failure"]["task"] == "FanFlow/1/work/7"
    assert made["first_failure"]["failure"]["message"] == "ValueError: no"
    assert made["first_failure"]["failure"]["kind"] == "user"


def test_output_that_is_no_text_comes_as_bytes_too() -> None:
    made = as_object(log("work", 7, b"\xff\x00ok"), "FanFlow/1")

    assert (made["line"], made["base64"]) == ("\ufffd\x00ok", "/wBvaw==")


def test_text_that_utf8_cannot_hold_still_becomes_json() -> None:
    assert json.loads(encode({"message": "file \udcff"})) == {"message": "file \udcff"}


# -- bars --------------------------------------------------------------------------------------------


def test_bars_show_every_step_with_its_counts(paper: Paper) -> None:
    view = LiveView(RUN, fan_graph(), Output(paper))
    for item in fan_out(200):
        view.take(item)
    drawn(view)
    view.close()

    shown = paper.read_back()
    for expected in ("start", "200/200", "post", "join", "1/1", "succeeded", "403 tasks done"):
        assert expected in shown


def test_output_stands_above_the_bars_and_is_no_markup(paper: Paper) -> None:
    view = LiveView(RUN, fan_graph(), Output(paper))
    for item in [run_started(), started("work", 7), log("work", 7, b"  [bold]text[/] :smile: " + b"x" * 300)]:
        view.take(item)
    drawn(view, last=False)
    view.close()

    shown = paper.read_back()
    assert "  [bold]text[/] :smile: " + "x" * 300 in shown
    assert shown.index("xxx") < shown.index("start")


def test_bars_and_summaries_tell_who_waits_for_another_attempt(paper: Paper) -> None:
    items = [run_started({"work": 1}), started("work", 7), failed("work", 7)]
    view = LiveView(RUN, fan_graph(), Output(paper))
    for item in items:
        view.take(item)
    drawn(view, last=False)
    view.close()

    assert "1 to be tried again" in paper.read_back()
    assert "1 to be tried again" in progress(view.tally.rows(NOON)[1])


def test_a_terminal_that_can_do_nothing_gets_lines(paper: Paper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "isatty", lambda: True)

    monkeypatch.setenv("TERM", "xterm-256color")
    assert can_draw(Output(paper))
    monkeypatch.setenv("TERM", "dumb")
    assert not can_draw(Output(paper))


def test_a_short_terminal_shows_what_is_under_way() -> None:
    def row(name: str, total: int, done: int, running: int) -> Row:
        return Row(
            name=name, total=total, done=done, running=running, failed=0, cancelled=0, waiting=0, rate=None, left=None
        )  # fmt: skip

    done = [row(f"done{n}", 1, 1, 0) for n in range(20)]
    active = [row("active", 10, 3, 2)]
    ahead = [row(f"ahead{n}", 1, 0, 0) for n in range(20)]

    names = [each.name for each in visible([*done, *active, *ahead], 5)]
    assert names == ["active", "ahead0", "ahead1", "ahead2", "ahead3"]
    assert [each.name for each in visible([*done, *active], 3)] == ["done18", "done19", "active"]
    assert len(visible([*done, *active, *ahead], 100)) == 41


def test_a_terminal_that_goes_away_ends_the_display_only() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "w", encoding="utf-8") as gone:
        output = Output(gone)
        view = LiveView(RUN, fan_graph(), output)
        view.take(run_started())
        drawn(view, last=False)
        drawn(view)
        view.close()

        assert isinstance(output.error, BrokenPipeError)


# -- output ------------------------------------------------------------------------------------------


def test_writing_to_a_closed_pipe_is_noted_and_not_raised() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "w", encoding="utf-8") as stream:
        output = Output(stream)
        output.write("nobody reads this\n")
        output.write("nor this\n")

        assert isinstance(output.error, BrokenPipeError)
        stream.write("and the stream can be flushed\n")


def test_a_full_disk_is_an_error_unless_the_output_is_not_worth_it() -> None:
    with open("/dev/full", "w", encoding="utf-8") as stream, pytest.raises(OSError, match="No space left"):
        Output(stream).write("x")
    with open("/dev/full", "w", encoding="utf-8") as stream:
        output = Output(stream, forgiving=True)
        output.write("x")

        assert output.error is not None


def test_a_stream_that_was_never_there_takes_everything() -> None:
    Output(None).write("x")


def test_a_pipe_that_does_not_block_still_gets_everything() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    received: list[bytes] = []

    def read() -> None:
        while part := os.read(read_end, 65536):
            received.append(part)

    reader = threading.Thread(target=read)
    with open(write_end, "w", encoding="utf-8") as stream:
        reader.start()
        Output(stream).write("x" * 1_000_000)
    reader.join()
    os.close(read_end)

    assert sum(map(len, received)) == 1_000_000


def test_what_the_encoding_lacks_becomes_a_question_mark() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Output(stream).write("naïve\n")

    assert stream.buffer.getvalue() == b"na?ve\n"  # type: ignore[attr-defined]


# -- the pump ----------------------------------------------------------------------------------------


class Recorder:
    """A view that notes what it is asked for."""

    period = 0.0
    idle = 0.01
    tells_the_end = True

    def __init__(self, *, room: int = 10**9, break_at: int | None = None) -> None:
        self.waiting = 0
        self.taken = 0
        self.drawn: list[int] = []
        self.closed = 0
        self.most = 0
        self._room = room
        self._break_at = break_at

    @property
    def full(self) -> bool:
        return self.waiting >= self._room

    def take(self, item) -> None:
        self.taken += 1
        self.waiting += 1
        self.most = max(self.most, self.waiting)

    def note(self, text: str) -> None: ...

    def frame(self, now: float, *, last: bool):
        if self._break_at is not None and self.taken >= self._break_at:
            raise RuntimeError("a bug in the display")
        if not self.waiting:
            return None
        count, self.waiting = self.waiting, 0
        return lambda: self.drawn.append(count)

    def close(self) -> None:
        self.closed += 1


def test_everything_is_drawn_before_show_returns() -> None:
    view = Recorder()

    assert asyncio.run(show(stream(fan_out(50)), view)) is None
    assert sum(view.drawn) == view.taken == len(fan_out(50))
    assert view.closed == 1


def test_a_full_view_holds_the_stream_back() -> None:
    view = Recorder(room=10)

    asyncio.run(show(stream(fan_out(100)), view))
    assert sum(view.drawn) == view.taken == len(fan_out(100))
    assert view.most <= 10


def test_a_bug_in_the_display_does_not_stop_the_run() -> None:
    view = Recorder(break_at=5, room=20)

    error = asyncio.run(show(stream(fan_out(100)), view))

    assert isinstance(error, RuntimeError)
    assert view.taken == len(fan_out(100))
    assert view.closed == 1


def test_nor_does_a_bug_in_the_counting() -> None:
    class Broken(Recorder):
        def take(self, item) -> None:
            super().take(item)
            if self.taken == 5:
                raise KeyError("a step that nobody knows")

    view = Broken()
    read: list[object] = []

    async def items():
        for item in fan_out(100):
            read.append(item)
            yield item
            await asyncio.sleep(0)

    error = asyncio.run(show(items(), view))

    assert isinstance(error, KeyError)
    assert len(read) == len(fan_out(100))
    assert view.closed == 1


def test_an_error_of_the_stream_is_raised_after_the_terminal_is_given_back() -> None:
    async def broken():
        yield run_started()
        raise OSError("no more")

    view = Recorder()
    with pytest.raises(OSError, match="no more"):
        asyncio.run(show(broken(), view))
    assert view.closed == 1


def test_a_slow_terminal_does_not_hold_the_loop() -> None:
    """While a frame is being drawn, the stream goes on being read."""
    go_on = threading.Event()

    class Slow(Recorder):
        def frame(self, now: float, *, last: bool):
            inner = super().frame(now, last=last)
            return None if inner is None else lambda: (go_on.wait(30), inner())

    async def items():
        for item in fan_out(200):
            yield item
            await asyncio.sleep(0)
        go_on.set()

    view = Slow()
    asyncio.run(show(items(), view))

    assert sum(view.drawn) == view.taken == len(fan_out(200))


def test_logs_count_nothing(paper: Paper) -> None:
    view = PlainView(RUN, fan_graph(), Output(paper))
    view.take(TaskLog(attempt("work", 7), "stderr", NOON, b"x"))

    assert view.tally.steps["work"].seen == 0
