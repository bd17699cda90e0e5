"""Events, task specs, contexts and outcomes to bytes and back.

What is kept (a journal, a run's context, a manifest) begins with one byte, the version of its form, and
goes on as msgpack. A reader that meets a version it doesn't know says so instead of guessing. New fields
at the end of a struct need no new version: an older text then decodes with their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from asyncflow.errors import StoreError, StoreVersionError
from asyncflow.events import Ending, Event, Failure, RunContext, TaskSpec
from asyncflow.protocols import SmallBlob

VERSION = 1
"""The version that this asyncflow writes, and the newest that it reads."""

_T = TypeVar("_T")
_MARK = bytes([VERSION])
_pack = msgspec.msgpack.Encoder().encode


def encode_versioned(value: object) -> bytes:
    """``value`` as msgpack behind the version byte."""
    return _MARK + _pack(value)


def decode_versioned(body: bytes | memoryview, decode: Callable[[Any], _T], what: str) -> _T:
    """The reverse; ``what`` names the kind of text in errors.

    Raises ``StoreVersionError`` for a newer version and ``StoreError`` for what isn't a text of this kind.
    """
    if not body:
        raise StoreError(f"The {what} is empty: the store is damaged. `asyncflow verify` lists what is.")
    if body[0] != VERSION:
        raise StoreVersionError(
            f"The {what} has version {body[0]}, but this asyncflow reads up to version {VERSION}: "
            "it was written by a newer asyncflow, or it is damaged. Upgrade asyncflow, then try again."
        )
    try:
        return decode(memoryview(body)[1:])
    except (msgspec.MsgspecError, ValueError) as error:  # the second for text that isn't UTF-8
        raise StoreError(
            f"The {what} can't be decoded ({error}): the store is damaged. `asyncflow verify` lists what is."
        ) from error


_decode_event: Callable[[Any], Event] = msgspec.msgpack.Decoder(Event).decode
_decode_events: Callable[[Any], list[Event]] = msgspec.msgpack.Decoder(list[Event]).decode
_decode_spec = msgspec.msgpack.Decoder(TaskSpec).decode
_decode_specs = msgspec.msgpack.Decoder(list[TaskSpec]).decode
_decode_context = msgspec.msgpack.Decoder(RunContext).decode
_decode_failure = msgspec.msgpack.Decoder(Failure).decode
_decode_outcome: Callable[[Any], tuple[Ending, list[SmallBlob]]] = msgspec.msgpack.Decoder(
    tuple[Ending, list[SmallBlob]]
).decode


def encode_event(event: Event) -> bytes:
    return _MARK + _pack(event)


def decode_event(body: bytes | memoryview) -> Event:
    return decode_versioned(body, _decode_event, "event")


def encode_events(events: Sequence[Event]) -> bytes:
    """A batch of the journal: smaller and faster than its events one by one."""
    return _MARK + _pack(events)


def decode_events(body: bytes | memoryview) -> list[Event]:
    return decode_versioned(body, _decode_events, "journal")


def encode_spec(spec: TaskSpec) -> bytes:
    return _MARK + _pack(spec)


def decode_spec(body: bytes | memoryview) -> TaskSpec:
    return decode_versioned(body, _decode_spec, "task spec")


def encode_specs(specs: Sequence[TaskSpec]) -> bytes:
    return _MARK + _pack(specs)


def decode_specs(body: bytes | memoryview) -> list[TaskSpec]:
    return decode_versioned(body, _decode_specs, "batch of task specs")


def encode_context(context: RunContext) -> bytes:
    return _MARK + _pack(context)


def decode_context(body: bytes | memoryview) -> RunContext:
    return decode_versioned(body, _decode_context, "run context")


def encode_failure(failure: Failure) -> bytes:
    return _MARK + _pack(failure)


def decode_failure(body: bytes | memoryview) -> Failure:
    return decode_versioned(body, _decode_failure, "failure")


def encode_outcome(ending: Ending, blobs: Sequence[SmallBlob] = ()) -> bytes:
    """How an attempt ended, with the small blobs that must be durable before that takes effect."""
    return _MARK + _pack((ending, blobs))


def decode_outcome(body: bytes | memoryview) -> tuple[Ending, list[SmallBlob]]:
    return decode_versioned(body, _decode_outcome, "outcome")
