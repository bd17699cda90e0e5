"""Every value that is kept or sent comes back as it was; what can't be read says why."""

from __future__ import annotations

import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow import codec, events
from asyncflow.errors import StoreError, StoreVersionError
from asyncflow.events import (
    Attempt,
    BlobRef,
    CancelRequested,
    Event,
    Failure,
    FailureKind,
    FlowSource,
    Frame,
    LimitChanged,
    Next,
    OnFailure,
    RetryDue,
    RetryPolicy,
    RunContext,
    RunStarted,
    SourceKind,
    StepPolicy,
    TaskAccepted,
    TaskCancelled,
    TaskFailed,
    TaskId,
    TaskInput,
    TaskSpec,
    TaskStarted,
    TaskSucceeded,
)
from asyncflow.protocols import SmallBlob

names = st.text(min_size=1, max_size=12)
times = st.floats(min_value=0, max_value=4e9)
numbers = st.integers(0, 2**40)
keys = st.binary(min_size=32, max_size=32)
refs = st.builds(BlobRef, keys, numbers, st.none() | names, numbers)
attempts = st.builds(
    Attempt, st.builds(TaskId, names, st.lists(numbers, max_size=3).map(tuple)), st.integers(0, 9), numbers
)
nexts = st.builds(Next, st.lists(names, min_size=1, max_size=3).map(tuple), st.none() | numbers, st.none() | names)
failures = st.builds(Failure, st.sampled_from(FailureKind), st.text(), st.text(), st.text(), st.booleans())
retries = st.builds(RetryPolicy, st.integers(0, 9), times, times)
policies = st.builds(StepPolicy, names, retries, st.booleans())
successes = st.builds(TaskSucceeded, attempts, refs, st.none() | nexts, times, times, names, st.booleans())
task_failures = st.builds(TaskFailed, attempts, failures, times, st.none() | times, names, st.none() | refs)
all_events = st.one_of(
    st.builds(
        RunStarted,
        names,
        names,
        times,
        names,
        refs,
        st.dictionaries(names, policies, max_size=3),
        st.dictionaries(names, numbers, max_size=3),
        st.sampled_from(OnFailure),
        names,
    ),
    st.builds(TaskAccepted, attempts, names),
    st.builds(TaskStarted, attempts, times, names),
    successes,
    task_failures,
    st.builds(TaskCancelled, attempts, times, st.none() | times, names),
    st.builds(RetryDue, attempts),
    st.builds(CancelRequested, st.text(), times),
    st.builds(LimitChanged, names, numbers),
)


def test_the_strategy_knows_every_event():
    assert len(typing.get_args(Event)) == len(all_events.original_strategies)


@given(all_events)
def test_an_event_comes_back(event):
    assert codec.decode_event(codec.encode_event(event)) == event


@given(st.lists(all_events, max_size=5))
def test_a_batch_of_events_comes_back(batch):
    assert codec.decode_events(codec.encode_events(batch)) == batch


@given(
    st.builds(
        TaskSpec,
        attempts,
        st.lists(st.builds(TaskInput, st.builds(TaskId, names), refs), max_size=3).map(tuple),
        st.lists(st.builds(Frame, names, names, numbers, numbers), max_size=3).map(tuple),
    )
)
def test_a_task_spec_comes_back_alone_and_in_a_batch(spec):
    assert codec.decode_spec(codec.encode_spec(spec)) == spec
    assert codec.decode_specs(codec.encode_specs([spec, spec])) == [spec, spec]


@given(successes | task_failures, st.binary())
def test_an_outcome_comes_back_with_its_blobs(ending, content):
    blobs = [SmallBlob(b"k" * 32, content)]
    assert codec.decode_outcome(memoryview(codec.encode_outcome(ending, blobs))) == (ending, blobs)


def test_a_run_context_and_a_failure_come_back():
    source = FlowSource(SourceKind.FILE, "/flows/f.py", "F", ("/a", "/b"), b"\x00\xff")
    context = RunContext(
        "17", "F", source, "/s/.asyncflow", BlobRef(b"k" * 32, 5), "user:ann", "ann", ("t",), "16", 100
    )
    assert codec.decode_context(codec.encode_context(context)) == context
    failure = Failure(FailureKind.CRASH, "segfault", "Traceback", "ValueError", retriable=False)
    assert codec.decode_failure(codec.encode_failure(failure)) == failure


def test_a_field_added_at_the_end_of_a_struct_leaves_older_texts_readable():
    class TaskStartedOfOld(msgspec.Struct, frozen=True, array_like=True, tag="TaskStarted"):
        attempt: Attempt
        at: float

    attempt = Attempt(TaskId("a"), 0, 1)
    old = codec.encode_versioned(TaskStartedOfOld(attempt, 2.0))
    assert codec.decode_event(old) == TaskStarted(attempt, 2.0, "")


def test_a_newer_version_is_refused_by_name():
    body = bytes([codec.VERSION + 1]) + codec.encode_event(LimitChanged("local", 1))[1:]
    with pytest.raises(StoreVersionError, match=r"The event has version 2, .* up to version 1.*Upgrade asyncflow"):
        codec.decode_event(body)


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x01\xc1", b"\x01\x93\x01\x02\x03", b"\x01\xa5hello"])
def test_what_is_no_text_of_ours_is_an_error_that_says_what_to_do(body):
    with pytest.raises(StoreError, match="asyncflow verify"):
        codec.decode_events(body)


@given(all_events, st.data())
def test_a_damaged_event_is_an_event_or_an_error_of_ours(event, data):
    body = bytearray(codec.encode_event(event))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = codec.decode_event(bytes(body))
    except StoreError:
        return
    assert isinstance(decoded, events.Value)
