"""Text for people: times, durations, counts, and the output of steps made safe to show.

A step's output is shown as it is, with its leading blanks and its colours, but it never moves the cursor, clears the
screen, renames the window or breaks the line that it stands in.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor, screen
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: window titles, hyperlinks
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # strings for the terminal itself
    r"|\x1b[ -/]*[0-~]?"  # all other escapes
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]"
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_RESET = "\x1b[0m"


def safe(line: bytes) -> str:
    """One line of a step's output for a terminal or a file: colours stay, other control sequences don't.

    What isn't UTF-8 becomes U+FFFD; other control characters become their pictures (``␇``). Of a line that
    overwrites itself with carriage returns (a progress bar) the last state is shown.
    """
    text = line.decode("utf-8", "replace")
    if text.isprintable():
        return text
    text = text.rstrip("\r\n").rpartition("\r")[2]
    shown = _CONTROL.sub(_harmless, text)
    return shown + _RESET if "\x1b" in shown and not shown.endswith(_RESET) else shown


def _harmless(found: re.Match[str]) -> str:
    sequence = found[0]
    if sequence[0] == "\x1b":
        return sequence if _COLOUR.fullmatch(sequence) else ""
    code = ord(sequence)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def plain(text: str) -> str:
    """``text`` of several lines (a traceback, a message) made safe like ``safe``, line by line, without colours."""
    lines = (safe(line.encode("utf-8", "replace")) for line in text.split("\n"))
    return "\n".join(_COLOUR.sub("", line) for line in lines)


def stamp(at: float) -> str:
    """``2026-11-23 08:43:25.345`` in local time."""
    seconds = int(at)
    return f"{_second(seconds)}.{int((at - seconds) * 1000):03d}"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def duration(seconds: float) -> str:
    """``42 ms``, ``0.42 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``, ``4 d 3 h``."""
    if seconds < 0.0995:
        return f"{max(seconds, 0.0) * 1000:.0f} ms"
    if seconds < 0.995:
        return f"{max(seconds, 0.0):.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return _two(days, "d", hour, "h")
    if hours:
        return _two(hours, "h", minute, "min")
    if minutes:
        return _two(minutes, "min", second, "s")
    return f"{whole} s"


def _two(big: int, unit: str, small: int, part: str) -> str:
    return f"{big} {unit} {small} {part}" if small else f"{big} {unit}"


def count(number: int) -> str:
    """``12,345``."""
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """``1 task``, ``12,345 tasks``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def rate(per_second: float) -> str:
    """``830/s``, ``1.2/s``, ``12/min``."""
    if per_second >= 9.95:
        return f"{per_second:,.0f}/s"
    if per_second >= 0.995:
        return f"{per_second:.1f}/s"
    return f"{per_second * 60:.1f}/min" if per_second * 60 < 9.95 else f"{per_second * 60:.0f}/min"


def size(octets: int) -> str:
    """``512 B``, ``1.5 kB``, ``12 MB``."""
    number = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if number >= 9.95 or unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
