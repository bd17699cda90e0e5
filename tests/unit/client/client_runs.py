"""Runs written by hand, for tests of the client: what an engine would have written, without one."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

from asyncflow.events import (
    Attempt,
    BlobRef,
    Failure,
    FailureKind,
    RunStarted,
    RunState,
    TaskCancelled,
    TaskFailed,
    TaskId,
    TaskStarted,
    TaskSucceeded,
)
from asyncflow.graph import FlowGraph, Node, NodeKind
from asyncflow.protocols import LogLine, RunRecord, SmallBlob
from asyncflow.store.artifacts import SMALL, Manifest
from asyncflow.store.local import LocalStore
from asyncflow.store.serializers import to_blob

BEGAN = 1_795_443_591.5
"""When the runs of the tests begin, unless they say otherwise."""

GRAPH = FlowGraph(
    name="MovieFlow",
    nodes={
        "start": Node(name="start", kind=NodeKind.FOREACH, out=("work",), foreach_var="items"),
        "work": Node(name="work", kind=NodeKind.SWITCH, out=("work", "join"), condition="more"),
        "join": Node(name="join", kind=NodeKind.LINEAR, is_join=True, out=("end",)),
        "end": Node(name="end", kind=NodeKind.END),
    },
)
BOOM = Failure(
    kind=FailureKind.USER,
    message="ValueError: no such carrier",
    traceback='Traceback (most recent call last):\n  File "flow.py", line 3, in work\nValueError: no such carrier\n',
    exception="builtins.ValueError",
)


@dataclass
class Writer:
    """Writes one run into the store at ``root``, an event at a time."""

    root: object
    run_id: str
    flow: str = "MovieFlow"
    user: str = "ann"
    tags: tuple[str, ...] = ()
    created: float = BEGAN
    heartbeat: float = field(default_factory=time.time)
    metadata: dict[str, str] = field(default_factory=lambda: {"python_version": "3.11.7", "script-name": "movie.py"})
    origin: str | None = None
    waiting: tuple[list, list, list] | None = None

    def __post_init__(self):
        record = RunRecord(
            flow_name=self.flow,
            run_id=self.run_id,
            created=self.created,
            heartbeat=self.heartbeat,
            username=self.user,
            tags=self.tags,
            system_tags=(f"user:{self.user}", "runtime:dev", "python_version:3.11.7", "asyncflow_version:0.1"),
            graph=GRAPH.to_json(),
            metadata=self.metadata,
            origin_run_id=self.origin,
        )
        with LocalStore.open(self.root) as store:
            asyncio.run(store.metadata.create_run(record))
        ref, blobs = self._manifest({"alpha": 3})
        started = RunStarted(
            run_id=self.run_id,
            flow_name=self.flow,
            at=self.created,
            graph_hash="",
            parameters=ref,
            policies={},
            limits={},
        )
        self.append([started], blobs)

    @contextmanager
    def together(self):
        """What is written in the block becomes durable at its end, in one transaction."""
        self.waiting = ([], [], [])
        yield
        waiting, self.waiting = self.waiting, None
        self.append(*waiting)

    def append(self, events, blobs=(), logs=()):
        if self.waiting is not None:
            for gathered, new in zip(self.waiting, (events, blobs, logs), strict=True):
                gathered.extend(new)
            return
        with LocalStore.open(self.root) as store:
            asyncio.run(store.metadata.append(self.run_id, 1, events, blobs, logs))

    def started(self, step, serial, *, number=0, path=(), at=1.0):
        attempt = Attempt(TaskId(step, path), number, serial)
        self.append([TaskStarted(attempt=attempt, at=self.created + at, worker="pid 7")])

    def succeeded(self, step, serial, artifacts, *, number=0, path=(), at=2.0, caught=False, companions=None):
        ref, blobs = self._manifest(artifacts, companions or {})
        attempt = Attempt(TaskId(step, path), number, serial)
        start, end = self.created + at - 1.0, self.created + at
        ending = TaskSucceeded(
            attempt=attempt, manifest=ref, next=None, started=start, ended=end, worker="pid 7", caught=caught
        )
        self.append([ending], blobs)

    def failed(self, step, serial, artifacts=None, *, number=0, path=(), at=2.0, failure=BOOM):
        ref, blobs = (None, []) if artifacts is None else self._manifest(artifacts)
        attempt = Attempt(TaskId(step, path), number, serial)
        start, end = self.created + at - 1.0, self.created + at
        ending = TaskFailed(attempt=attempt, failure=failure, ended=end, started=start, worker="pid 7", manifest=ref)
        self.append([ending], blobs)

    def cancelled(self, step, serial, *, path=(), at=2.0):
        attempt = Attempt(TaskId(step, path), 0, serial)
        self.append([TaskCancelled(attempt=attempt, ended=self.created + at, started=self.created)])

    def printed(self, serial, lines, *, number=0):
        """``lines`` are ``(stream, time since the run began, bytes)``."""
        with LocalStore.open(self.root) as store:
            writer = store.logs.writer(self.run_id)
            found = [LogLine(stream, self.created + at, line) for stream, at, line in lines]
            chunk = writer.append(serial, number, found)
            writer.close()
        self.append([], (), [chunk])

    def finished(self, state=RunState.SUCCEEDED, *, at=10.0, failure=None, task=None):
        with LocalStore.open(self.root) as store:
            asyncio.run(store.metadata.finish_run(self.run_id, 1, state, self.created + at, failure, task))

    def _manifest(self, artifacts, companions=()):
        blobs, refs = [], {}
        for name, value in {**artifacts, **dict(companions)}.items():
            refs[name] = self._blob(to_blob(value, name), blobs)
        return self._blob(Manifest(refs).to_blob(), blobs), blobs

    def _blob(self, blob, small):
        if blob.size > SMALL:
            with LocalStore.open(self.root) as store:
                return store.blobs.write(blob)
        small.append(SmallBlob(blob.key, b"".join(blob.parts)))
        return BlobRef(blob.key, blob.size)


def write_movie_run(root, run_id, **options):
    """A run that succeeded: start, three tasks of work of which one was tried twice, join, end."""
    run = Writer(root, run_id, **options)
    with run.together():
        run.succeeded("start", 1, {"alpha": 3, "items": ["a", "b", "c"]}, at=1.0, companions={"items[]": [1]})
        run.succeeded("work", 2, {"alpha": 3, "x": 0, "_hidden": 7}, path=(0, 0), at=2.0)
        run.failed("work", 3, {"alpha": 3, "x": -1}, path=(1, 0), at=2.5)
        run.succeeded("work", 3, {"alpha": 3, "x": 10}, path=(1, 0), number=1, at=4.0)
        run.succeeded("work", 4, {"alpha": 3, "x": 20}, path=(2, 0), at=3.0)
        run.succeeded("join", 5, {"alpha": 3, "xs": [0, 10, 20]}, at=5.0)
        run.succeeded("end", 6, {"alpha": 3, "xs": [0, 10, 20], "_private": 1}, at=6.0)
    run.finished(at=6.5)
    return run
