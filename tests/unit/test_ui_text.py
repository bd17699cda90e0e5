"""Text for people, and the output of steps made safe."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow.ui import text


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"plain", "plain"),
        (b"   leading blanks stay", "   leading blanks stay"),
        (b"\ttabs too", "\ttabs too"),
        ("naïve ☃ 你好".encode(), "naïve ☃ 你好"),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        (b"\x1b[1;38:2::10:20:30mtrue colour", "\x1b[1;38:2::10:20:30mtrue colour\x1b[0m"),
        (b"\x1b[2J\x1b[Hcleared", "cleared"),
        (b"\x1b]0;a new title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b[?1049hother screen", "other screen"),
        (b"\x1bcreset", "reset"),
        (b"bell\x07 and nul\x00", "bell\u2407 and nul\u2400"),
        (b"\x7f", "\u2421"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"windows\r", "windows"),
        (b" 10%\r 50%\r100%", "100%"),
        (b"cut off \x1b[3", "cut off "),
        (b"[bold]no markup[/bold]", "[bold]no markup[/bold]"),
    ],
)
def test_output_is_shown_as_it_is_but_harmless(line: bytes, shown: str) -> None:
    assert text.safe(line) == shown


@given(st.binary(max_size=200))
def test_nothing_but_colours_gets_through(line: bytes) -> None:
    rest = re.sub(r"\x1b\[[0-9;:]*m", "", text.safe(line))

    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", rest)


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"])))
def test_ordinary_text_is_untouched(line: str) -> None:
    assert text.safe(line.encode()) == line


def test_messages_lose_their_colours_and_keep_their_lines() -> None:
    assert text.plain("one\n\x1b[31mtwo\x1b[0m\n  three\x1b[2K") == "one\ntwo\n  three"


def test_a_message_may_hold_what_utf8_cannot() -> None:
    assert text.plain("file \udcff") == "file ?"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (-1, "0 ms"),
        (0.0421, "42 ms"),
        (0.42, "0.42 s"),
        (1.25, "1.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (86400, "1 d"),
        (4 * 86400 + 3 * 3600, "4 d 3 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("per_second", "shown"), [(1234.4, "1,234/s"), (10, "10/s"), (1.25, "1.2/s"), (0.5, "30/min"), (0.05, "3.0/min")]
)
def test_rates(per_second: float, shown: str) -> None:
    assert text.rate(per_second) == shown


@pytest.mark.parametrize(
    ("octets", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (12_345_678, "12 MB"), (5 * 10**12, "5.0 TB")]
)
def test_sizes(octets: int, shown: str) -> None:
    assert text.size(octets) == shown


def test_counted() -> None:
    assert text.counted(1, "task") == "1 task"
    assert text.counted(12345, "task") == "12,345 tasks"


def test_stamps_have_milliseconds() -> None:
    assert re.fullmatch(r"2026-\d\d-\d\d \d\d:\d\d:25\.345", text.stamp(1_795_434_205.3456))
