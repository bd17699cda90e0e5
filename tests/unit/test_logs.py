"""The log file of a run: lines come back as they were, with little memory, and damage is seen."""

from __future__ import annotations

import os
import tracemalloc

import pytest

from asyncflow.errors import StoreError
from asyncflow.protocols import LogChunk, LogLine
from asyncflow.store.logs import LocalLogs


@pytest.fixture
def logs(tmp_path):
    return LocalLogs(tmp_path)


def cut(path, size):
    os.truncate(path, os.path.getsize(path) - size)


def line(text, stream="stdout", at=1.0):
    return LogLine(stream, at, text if isinstance(text, bytes) else text.encode())


def test_lines_come_back_by_attempt_in_their_order(logs):
    writer = logs.writer("1")
    chunks = [
        writer.append(1, 0, [line("a"), line(b"\xff\x00\x1b[31m", "stderr", 2.5)]),
        writer.append(2, 0, [line("other")]),
        writer.append(1, 0, [line(""), line("b")]),
    ]
    chunks += writer.append_groups([(1, 1, [line("c")]), (2, 1, [line("d")]), (3, 0, [])])
    writer.close()
    writer.close()
    chunks.append(writer.append(1, 2, [line("after closing")]))
    writer.close()
    first = [chunk for chunk in chunks if chunk.serial == 1]
    assert list(logs.read("1", first)) == [
        line("a"),
        line(b"\xff\x00\x1b[31m", "stderr", 2.5),
        line(""),
        line("b"),
        line("c"),
        line("after closing"),
    ]
    assert chunks[5].size == 0
    assert list(logs.read("1", [chunks[5], chunks[4]])) == [line("d")]
    assert list(logs.read("no such run", [])) == []


def test_a_line_of_many_megabytes_is_split_and_nothing_of_it_is_lost(logs):
    long = os.urandom(3_500_000)
    writer = logs.writer("1")
    chunk = writer.append(1, 0, [line("before"), line(long, "stderr"), line("after")])
    writer.close()
    before, *pieces, after = logs.read("1", [chunk])
    assert (before, after) == (line("before"), line("after"))
    assert b"".join(piece.line for piece in pieces) == long
    assert max(len(piece.line) for piece in pieces) == 1 << 20
    assert {piece.stream for piece in pieces} == {"stderr"}


def test_reading_a_long_log_needs_little_memory(logs):
    writer = logs.writer("1")
    chunks = [writer.append(1, 0, [line("x" * 1000)] * 5000) for _ in range(10)]
    writer.close()
    tracemalloc.start()
    count = sum(1 for _ in logs.read("1", chunks))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 50_000
    assert peak < 8 << 20


def test_two_writers_of_one_log_know_where_their_lines_are(logs):
    first, second = logs.writer("1"), logs.writer("1")
    chunks = []
    for i in range(20):
        chunks += [first.append(1, 0, [line(f"first {i}")]), second.append(1, 1, [line(f"second {i}")])]
    first.close()
    second.close()
    assert [found.line.decode() for found in logs.read("1", chunks)] == [
        f"{who} {i}" for i in range(20) for who in ("first", "second")
    ]


def test_a_log_that_lost_its_end_gives_what_is_there(logs):
    writer = logs.writer("1")
    chunks = [writer.append(1, 0, [line("whole")]), writer.append(1, 0, [line("lost")])]
    writer.close()
    cut(logs.path("1"), 3)
    assert list(logs.read("1", chunks)) == [line("whole")]
    cut(logs.path("1"), chunks[1].size - 5)
    assert list(logs.read("1", chunks)) == [line("whole")]


@pytest.mark.parametrize("chunk", [LogChunk(1, 0, 1, 20), LogChunk(2, 0, 0, 20), LogChunk(1, 0, 0, 5)])
def test_a_place_where_something_else_stands_is_an_error(logs, chunk):
    writer = logs.writer("1")
    writer.append(1, 0, [line("some line")])
    writer.close()
    with pytest.raises(StoreError, match=r"The log .*1\.log is damaged at byte"):
        list(logs.read("1", [chunk]))


def test_a_log_that_is_gone_is_an_error_with_its_path(logs):
    with pytest.raises(StoreError, match=rf"The log {logs.path('9')} can't be read"):
        list(logs.read("9", [LogChunk(1, 0, 0, 5)]))
