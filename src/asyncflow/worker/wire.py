"""What the engine, the zygote and the workers say to each other.

Three ways, none of which shares a descriptor with the output of the user's code:

- engine <-> zygote: a stream of ``Order`` one way and ``Notice`` the other; descriptors for a new worker ride
  along with the order to make it.
- engine -> worker: one ``Hand`` a packet, so that a packet that the worker hasn't taken can be taken back.
- worker -> engine: a stream of ``Report``.

Both ends are of one version and one machine, so nothing here is versioned.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeAlias, TypeVar

import msgspec

from asyncflow.events import Ending, Failure, FlowSource, RunContext, TaskInput, TaskSpec
from asyncflow.protocols import SmallBlob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INLINE = 32 * 1024
"""Bytes of a task spec up to which it travels as a packet; a longer one is a file whose descriptor travels."""
CHUNK = 10_000
"""Inputs of a task spec that are written to such a file at a time."""
PACKETS = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
"""The kind of socket that keeps the bounds of messages."""

_T = TypeVar("_T")


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all messages: told apart by its class name."""


# -- engine to zygote ----------------------------------------------------------------------------


class Begin(_Message, frozen=True):
    """The first order. ``start_method`` is ``fork``, ``spawn``, or empty: whatever the flow's import allows."""

    source: FlowSource
    program: str
    """``module:name`` of what runs tasks, see ``program.Program``."""
    start_method: str


class Brief(_Message, frozen=True):
    """Workers for run number ``run`` will be asked for; ``context`` is theirs."""

    run: int
    context: RunContext


class Forget(_Message, frozen=True):
    """No more workers for this run."""

    run: int


class Make(_Message, frozen=True):
    """A worker, please. With it come the four descriptors of ``serve.Channels``, in their order."""

    worker: int
    run: int
    tag: bytes
    most_tasks: int
    """Tasks after which the worker leaves."""
    most_growth: int
    """Bytes of memory over what it began with, past which it leaves."""
    foreseen: TaskSpec | None = None
    """A task that has siblings which read the same: read that before the fork."""


class Signal(_Message, frozen=True):
    """Send ``number`` to the worker's whole process group, if it is still there."""

    worker: int
    number: int


Order: TypeAlias = Begin | Brief | Forget | Make | Signal


# -- zygote to engine ----------------------------------------------------------------------------


class Ready(_Message, frozen=True):
    """The flow is imported. ``reason`` says why ``start_method`` isn't ``fork``."""

    start_method: str
    reason: str


class Broken(_Message, frozen=True):
    """The flow can't be imported: no worker of it will ever run."""

    failure: Failure


class Made(_Message, frozen=True):
    worker: int
    pid: int


class Unmade(_Message, frozen=True):
    """The operating system refused a new process."""

    worker: int
    message: str


class Exited(_Message, frozen=True):
    """The worker is gone, and what it left behind is being killed. ``status`` is its exit status, or minus a signal."""

    worker: int
    pid: int
    status: int


Notice: TypeAlias = Ready | Broken | Made | Unmade | Exited


# -- engine to worker, worker to engine ------------------------------------------------------------


class Hand(_Message, frozen=True):
    """Run this. ``seq`` is the engine's number for it."""

    seq: int
    spec: TaskSpec


class HandFile(_Message, frozen=True):
    """Run the spec in the file whose descriptor comes with this packet."""

    seq: int


class Leave(_Message, frozen=True):
    """Exit once this is read."""


Packet: TypeAlias = Hand | HandFile | Leave


class Began(_Message, frozen=True):
    """Written before the first line of the user's code runs."""

    seq: int
    at: float
    pid: int


class Ended(_Message, frozen=True):
    """``leaving`` says why the worker takes nothing more after this; empty: it stays."""

    seq: int
    ending: Ending
    blobs: list[SmallBlob] = []
    leaving: str = ""


Report: TypeAlias = Began | Ended | Broken


# -- frames on a stream ----------------------------------------------------------------------------

_encode = msgspec.msgpack.Encoder().encode
_LENGTH = 4


def frame(message: object) -> bytes:
    """``message`` behind its length (4 bytes, little-endian)."""
    body = _encode(message)
    return len(body).to_bytes(_LENGTH, "little") + body


class Unframer(Generic[_T]):
    """Puts messages together from a stream's bytes, however they were cut."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[_T]) -> None:
        self._decode = decoder.decode
        self._parts: list[bytes] = []
        self._have = 0
        self._need = _LENGTH

    def feed(self, received: bytes) -> list[_T]:
        """The messages that are whole now. What a long message has so far isn't joined before its end is here."""
        self._parts.append(received)
        self._have += len(received)
        if self._have < self._need:
            return []
        buffer = b"".join(self._parts) if len(self._parts) > 1 else received
        messages: list[_T] = []
        at, self._need = 0, _LENGTH
        while self._have - at >= _LENGTH:
            body = at + _LENGTH
            after = body + int.from_bytes(buffer[at:body], "little")
            if after > self._have:
                self._need = after - at
                break
            messages.append(self._decode(buffer[body:after]))
            at = after
        self._parts = [buffer[at:]]
        self._have -= at
        return messages


_orders = msgspec.msgpack.Decoder[Order](Order)
_notices = msgspec.msgpack.Decoder[Notice](Notice)
_reports = msgspec.msgpack.Decoder[Report](Report)


def orders() -> Unframer[Order]:
    return Unframer(_orders)


def notices() -> Unframer[Notice]:
    return Unframer(_notices)


def reports() -> Unframer[Report]:
    return Unframer(_reports)


def packet(message: Packet) -> bytes:
    return _encode(message)


unpack: Callable[[bytes], Packet] = msgspec.msgpack.Decoder[Packet](Packet).decode


# -- task specs too long for a packet --------------------------------------------------------------


def spec_chunks(spec: TaskSpec) -> Iterator[bytes]:
    """``spec`` as frames, a bounded number of inputs in each: a join over a million is never one piece of work."""
    yield frame(TaskSpec(spec.attempt, (), spec.frames))
    for at in range(0, len(spec.inputs), CHUNK):
        yield frame(spec.inputs[at : at + CHUNK])


def read_spec(file: BinaryIO) -> TaskSpec:
    """The spec whose chunks ``file`` holds, from its beginning."""
    file.seek(0)
    decode_inputs = msgspec.msgpack.Decoder(list[TaskInput]).decode
    frames = _frames(file)
    spec = msgspec.msgpack.Decoder(TaskSpec).decode(next(frames))
    inputs = tuple(each for chunk in frames for each in decode_inputs(chunk))
    return TaskSpec(spec.attempt, inputs, spec.frames)


def _frames(file: BinaryIO) -> Iterator[bytes]:
    while length := file.read(_LENGTH):
        yield file.read(int.from_bytes(length, "little"))


# -- descriptors -----------------------------------------------------------------------------------

_DESCRIPTORS = 64


def receive(sock: socket.socket, size: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """Up to ``size`` bytes and the descriptors that came with them, which aren't inherited by programs started later.

    No bytes: the other end is closed. Raises ``OSError``.
    """
    cloexec = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    received, ancillary, _, _ = sock.recvmsg(size, socket.CMSG_SPACE(_DESCRIPTORS * 4), flags | cloexec)
    if not ancillary:
        return received, []
    descriptors: list[int] = []
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(body) - len(body) % 4
            descriptors.extend(int.from_bytes(body[at : at + 4], sys.byteorder) for at in range(0, whole, 4))
    if not cloexec:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
    return received, descriptors
