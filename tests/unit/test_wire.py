"""What engine, zygote and workers say to each other, on its way."""

import io
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow.events import Attempt, BlobRef, Frame, TaskId, TaskInput, TaskSpec, TaskSucceeded
from asyncflow.protocols import SmallBlob
from asyncflow.worker.wire import (
    Began,
    Ended,
    Hand,
    HandFile,
    Leave,
    frame,
    packet,
    read_spec,
    receive,
    reports,
    spec_chunks,
    unpack,
)

NOTHING = BlobRef(b"\0" * 32, 0)


def spec(inputs=1):
    many = tuple(TaskInput(TaskId("each", (index,)), BlobRef(b"k" * 32, index)) for index in range(inputs))
    return TaskSpec(Attempt(TaskId("join"), 2, 7), many, (Frame("start", "items", 1, 3),))


def ending(blobs=0, size=10):
    done = TaskSucceeded(Attempt(TaskId("a"), 0, 1), NOTHING, None, 1.0, 2.0, "pid 1")
    return Ended(5, done, [SmallBlob(b"k" * 32, b"x" * size) for _ in range(blobs)], "why")


@given(st.lists(st.integers(1, 3000), max_size=40))
def test_messages_arrive_whole_however_the_stream_is_cut(cuts):
    said = [Began(1, 0.5, 10), ending(), Began(2, 1.5, 10), ending(blobs=3, size=900)]
    stream = b"".join(frame(message) for message in said)
    heard, at, unframer = [], 0, reports()
    for cut in [*cuts, len(stream)]:
        heard += unframer.feed(stream[at : at + cut])
        at += cut
    assert heard == said


def test_a_long_message_is_not_copied_for_each_piece_of_it():
    said = ending(blobs=1, size=20_000_000)
    stream = frame(said)
    unframer = reports()
    for at in range(0, len(stream), 65536):
        heard = unframer.feed(stream[at : at + 65536])
    assert heard == [said]


@pytest.mark.parametrize("message", [Hand(3, spec()), Hand(4, spec(20)), HandFile(9), Leave()])
def test_packets(message):
    assert unpack(packet(message)) == message


@pytest.mark.parametrize("inputs", [0, 1, 9_999, 10_000, 10_001, 25_000])
def test_a_long_spec_through_a_file(inputs):
    file = io.BytesIO()
    for chunk in spec_chunks(spec(inputs)):
        file.write(chunk)
    assert read_spec(file) == spec(inputs)


def test_descriptors_arrive_and_are_not_inherited():
    ours, theirs = socket.socketpair()
    end, begin = os.pipe()
    with ours, theirs:
        socket.send_fds(ours, [b"here"], [begin, end])
        os.close(begin)
        os.close(end)
        said, descriptors = receive(theirs, 100)
        assert said == b"here"
        os.write(descriptors[0], b"through")
        assert os.read(descriptors[1], 100) == b"through"
        assert not any(os.get_inheritable(each) for each in descriptors)
    for each in descriptors:
        os.close(each)
