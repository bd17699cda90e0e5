"""Bytes of a worker's pipe to the lines of its tasks, however they were cut."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncflow.executors.pipes import CHUNK, LONGEST, TAG, Output, new_tag


class Pipe:
    """An output with the writing end in our hands."""

    def __init__(self, announced=None):
        self.tag = new_tag()
        self.heard = []
        self.announced = list(announced or [])
        self.end, self.begin = os.pipe()
        os.set_blocking(self.end, False)
        self.output = Output(
            self.end,
            "stdout",
            self.tag,
            line=lambda seq, _stream, _at, text: self.heard.append((seq, text)),
            marked=lambda seq: self.heard.append((seq, None)),
            asks=self.announce,
        )

    def announce(self):
        for seq in self.announced:
            self.output.expect(seq)
        self.announced.clear()

    def mark(self, seq):
        return b"%b%d\n" % (self.tag, seq)

    def write(self, *pieces):
        for piece in pieces:
            os.write(self.begin, piece)
            while self.output.read():
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.begin)
        os.close(self.end)


def lines_of(printed):
    """The lines of one task's output, the last one without its end."""
    lines = printed.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def test_lines_come_as_they_are_written():
    with Pipe([1]) as pipe:
        pipe.write(b"one\ntw")
        assert pipe.heard == [(1, b"one")]
        pipe.write(b"o\n")
        assert pipe.heard == [(1, b"one"), (1, b"two")]


def test_a_mark_ends_a_line_and_a_task():
    with Pipe([1, 2]) as pipe:
        pipe.write(b"half" + pipe.mark(1) + b"next\n")
        assert pipe.heard == [(1, b"half"), (1, None), (2, b"next")]


def test_what_nobody_printed_is_kept_for_an_error_message():
    with Pipe() as pipe:
        pipe.write(b"ImportError: no\n")
        assert pipe.heard == []
        assert pipe.output.tail == b"ImportError: no\n"


def test_the_tail_is_short():
    with Pipe() as pipe:
        for _ in range(100):
            pipe.write(b"x" * 1000 + b"\n")
        assert len(pipe.output.tail) < 10_000


def test_the_end_of_a_pipe_is_seen():
    with Pipe([1]) as pipe:
        os.write(pipe.begin, b"last words")
        os.close(pipe.begin)
        pipe.begin = os.dup(pipe.end)
        pipe.output.drain()
        assert pipe.heard == [(1, b"last words")]
        assert pipe.output.ended


def test_a_line_that_is_too_long_is_cut():
    with Pipe([1, 2]) as pipe:
        for _ in range(LONGEST * 2 // CHUNK):
            pipe.write(b"z" * CHUNK)
        pipe.write(b"end" + pipe.mark(1))
        assert [len(text) for _, text in pipe.heard[:-1]] == [LONGEST, LONGEST, 3]
        assert pipe.heard[-1] == (1, None)


def test_a_mark_behind_a_line_that_is_just_too_long_is_whole():
    with Pipe([1]) as pipe:
        mark = pipe.mark(1)
        for piece in (b"z" * LONGEST, b"z" * 40, mark[:5], mark[5:30], mark[30:]):
            for at in range(0, len(piece), CHUNK):
                pipe.write(piece[at : at + CHUNK])
        assert pipe.heard == [(1, b"z" * LONGEST), (1, b"z" * 40), (1, None)]


def test_reading_while_reading_does_nothing():
    with Pipe([1]) as pipe:
        os.write(pipe.begin, b"a\nb\n")
        inner = []
        pipe.output._line = lambda *_: inner.append(pipe.output.read())
        assert pipe.output.read()
        assert inner == [False, False]


@pytest.mark.parametrize("_", range(50))
def test_a_tag_is_of_one_line(_):
    tag = new_tag()
    assert len(tag) == TAG
    assert b"\n" not in tag


texts = st.binary(max_size=60) | st.sampled_from([b"", b"\n", b"\n\n", b"a\n", b"a", b"\0", b"a\r\n"])


@given(outputs=st.lists(texts, min_size=1, max_size=6), cuts=st.lists(st.integers(0, 400), max_size=12))
@example(outputs=[b"", b"", b"\n"], cuts=list(range(0, 60, 1)))
def test_every_line_goes_to_its_task_wherever_the_bytes_are_cut(outputs, cuts):
    with Pipe(range(1, len(outputs) + 1)) as pipe:
        whole = b"".join(printed + pipe.mark(seq) for seq, printed in enumerate(outputs, 1))
        places = sorted({cut for cut in cuts if 0 < cut < len(whole)})
        pipe.write(*(whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)))
        expected = []
        for seq, printed in enumerate(outputs, 1):
            expected += [(seq, line) for line in lines_of(printed)]
            expected.append((seq, None))
        assert pipe.heard == expected
