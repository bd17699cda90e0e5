"""``FakeExecutor``: an executor whose tasks end as the test says."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from asyncflow.events import (
    BlobRef,
    Ending,
    Failure,
    Next,
    Stream,
    TaskAccepted,
    TaskCancelled,
    TaskFailed,
    TaskLog,
    TaskSpec,
    TaskStarted,
    TaskSucceeded,
)
from asyncflow.graph import NodeKind
from asyncflow.loader import graph_of, load_flow
from asyncflow.protocols import SmallBlob
from asyncflow.store.artifacts import Manifest
from asyncflow.store.serializers import to_blob
from asyncflow.worker.failures import failure_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asyncflow.events import Attempt, RunContext
    from asyncflow.graph import FlowGraph, Node
    from asyncflow.protocols import Emit, EmitLog

Answer: TypeAlias = Next | Mapping[str, Any] | Failure | Exception | None
"""How a task ends. A ``Next``: it leads there. A mapping: these (small) artifacts alone are left, and it goes on as
the graph says. A ``Failure`` or an exception: it fails. None: it goes on as the graph says."""
Script: TypeAlias = Answer | list[Answer] | tuple[Answer, ...] | Callable[[TaskSpec], Answer]
"""One answer for every task of a step, one for each attempt of a task (the last one stays), or a function."""


class FakeExecutor:
    """Runs no code: for tests of a flow's graph, of an engine's host, and of the engine itself.

        fake = FakeExecutor({"work": [ValueError("flaky"), {"x": 1}]}, widths={"start": 100})
        run = await Engine(MyFlow, executor=fake).run()
        assert [spec.attempt.task.step for spec in fake.submitted][:2] == ["start", "work"]

    ``scripts`` says by step how its tasks end; a step without one goes on as the graph says, a switch to the first
    case that isn't the step itself. ``widths`` is the number of items by the step that fans out (1 unless given).
    ``logs`` is what tasks print, by step. With ``manual``, tasks end when the test calls ``FakeSession.end``.
    With ``deaf``, a task that is cancelled ends as it would have ended anyway.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script] | None = None,
        *,
        widths: Mapping[str, int] | None = None,
        logs: Mapping[str, Sequence[str]] | None = None,
        slots: int = 4,
        manual: bool = False,
        deaf: bool = False,
        name: str = "fake",
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.scripts = dict(scripts or {})
        self.widths = dict(widths or {})
        self.logs = dict(logs or {})
        self.manual = manual
        self.deaf = deaf
        self.now = now
        self.submitted: list[TaskSpec] = []
        """Everything that was ever submitted, in order."""
        self.cancelled: list[Attempt] = []
        """Everything of which cancellation was ever asked, in order."""
        self.sessions: list[FakeSession] = []
        """One for each run, the last one last."""
        self._slots = slots
        self._changed = asyncio.Event()

    @property
    def slots(self) -> int:
        return self._slots

    @asynccontextmanager
    async def attach(self, run: RunContext, emit: Emit, emit_log: EmitLog) -> AsyncGenerator[FakeSession]:
        session = FakeSession(self, graph_of(load_flow(run.source)), emit, emit_log)
        self.sessions.append(session)
        self.changed()
        try:
            yield session
        finally:
            session.close()

    async def until(self, condition: Callable[[], object], *, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - of a test
        """Waits until ``condition()`` holds, which is asked whenever the engine has asked something of the executor.

        Raises ``TimeoutError``.
        """
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def attached(self, count: int = 1) -> FakeSession:
        """The session of the run that attached as ``count``-th, as soon as it is there."""
        await self.until(lambda: len(self.sessions) >= count)
        return self.sessions[count - 1]

    def changed(self) -> None:
        """Wakes those who wait in ``until``."""
        self._changed.set()

    def ending(
        self, graph: FlowGraph, spec: TaskSpec, answer: Answer
    ) -> tuple[TaskSucceeded | TaskFailed, list[SmallBlob]]:
        """The ending that ``answer`` stands for, with the blobs that it needs."""
        now = self.now()
        if isinstance(answer, Exception):
            answer = failure_of(answer)
        if isinstance(answer, Failure):
            return TaskFailed(spec.attempt, answer, now, now, self.name), []
        artifacts: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {}
        manifest, blobs = _manifest(artifacts)
        node = graph[spec.attempt.task.step]
        leads_to = answer if isinstance(answer, Next) else self._onwards(node, artifacts)
        return TaskSucceeded(spec.attempt, manifest, leads_to, now, now, self.name), blobs

    def _onwards(self, node: Node, artifacts: Mapping[str, Any]) -> Next | None:
        if node.kind is NodeKind.END:
            return None
        if node.kind is NodeKind.FOREACH:
            var = node.foreach_var or "items"
            width = len(artifacts[var]) if var in artifacts else self.widths.get(node.name, 1)
            return Next(node.out, width, var)
        if node.kind is NodeKind.SWITCH:
            return Next(next((step,) for step in node.out if step != node.name))
        return Next(node.out)


class FakeSession:
    """One run's use of a ``FakeExecutor``. All its methods emit at once, on the loop's thread."""

    def __init__(self, executor: FakeExecutor, graph: FlowGraph, emit: Emit, emit_log: EmitLog) -> None:
        self.executor = executor
        self.graph = graph
        self.pending: dict[Attempt, TaskSpec] = {}
        """What is submitted and not ended, in order."""
        self._emit = emit
        self._emit_log = emit_log
        self._held: deque[tuple[TaskLog | Ending, Sequence[SmallBlob]]] = deque()
        self._blocked = False
        self._closed = False

    # -- the session -------------------------------------------------------------------------------

    @property
    def window(self) -> int:
        return self.executor.slots

    def submit(self, specs: Sequence[TaskSpec]) -> None:
        self.executor.submitted.extend(specs)
        self.pending.update({spec.attempt: spec for spec in specs})
        self.executor.changed()
        if not self.executor.manual:
            asyncio.get_running_loop().call_soon(self._play, tuple(spec.attempt for spec in specs))

    def cancel(self, attempts: Sequence[Attempt], *, grace: float) -> None:  # noqa: ARG002 - a fake has no patience to lose
        self.executor.cancelled.extend(attempts)
        self.executor.changed()
        if not self.executor.deaf:
            asyncio.get_running_loop().call_soon(self._stop, tuple(attempts))

    async def adopt(self, handles: Mapping[Attempt, str | None]) -> frozenset[Attempt]:
        return frozenset(self.pending.keys() & handles.keys())

    def resume_logs(self) -> None:
        self._blocked = False
        while self._held and not self._blocked:
            self._hand_out(*self._held.popleft())

    def close(self) -> None:
        """Nothing is emitted any more."""
        self._closed = True
        self.pending.clear()
        self._held.clear()

    # -- what a test does --------------------------------------------------------------------------

    async def waiting(self, count: int = 1, *, timeout: float = 10.0) -> list[TaskSpec]:  # noqa: ASYNC109 - of a test
        """What is pending, as soon as it is at least ``count`` tasks. Raises ``TimeoutError``."""
        await self.executor.until(lambda: len(self.pending) >= count, timeout=timeout)
        return list(self.pending.values())

    def accept(self, attempt: Attempt, handle: str) -> None:
        self._emit(TaskAccepted(attempt, handle), ())

    def start(self, attempt: Attempt) -> None:
        self._emit(TaskStarted(attempt, self.executor.now(), self.executor.name), ())

    def log(self, attempt: Attempt, line: str, stream: Stream = "stdout") -> None:
        self._put(TaskLog(attempt, stream, self.executor.now(), line.encode()))

    def end(self, attempt: Attempt, answer: Answer = None) -> None:
        """The task ends; ``answer`` as in ``FakeExecutor``. Raises ``KeyError`` for one that isn't pending."""
        spec = self.pending.pop(attempt)
        ending, blobs = self.executor.ending(self.graph, spec, answer)
        self._put(ending, blobs)

    def end_cancelled(self, attempt: Attempt) -> None:
        """The task ends as one that was stopped. Raises ``KeyError`` for one that isn't pending."""
        del self.pending[attempt]
        now = self.executor.now()
        self._put(TaskCancelled(attempt, now, now, self.executor.name))

    # -- inside ------------------------------------------------------------------------------------

    def _play(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            spec = self.pending.get(attempt)
            if spec is None or self._closed:
                continue
            step = attempt.task.step
            self.start(attempt)
            for line in self.executor.logs.get(step, ()):
                self.log(attempt, line)
            self.end(attempt, _scripted(self.executor.scripts.get(step), spec))

    def _stop(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            if attempt in self.pending:
                self.end_cancelled(attempt)

    def _put(self, item: TaskLog | Ending, blobs: Sequence[SmallBlob] = ()) -> None:
        if self._blocked:
            self._held.append((item, blobs))
        else:
            self._hand_out(item, blobs)

    def _hand_out(self, item: TaskLog | Ending, blobs: Sequence[SmallBlob]) -> None:
        if self._closed:
            return
        if isinstance(item, TaskLog):
            self._blocked = not self._emit_log(item)
        else:
            self._emit(item, blobs)


def _scripted(script: Script, spec: TaskSpec) -> Answer:
    if isinstance(script, list | tuple):
        answers = cast("list[Answer]", script)
        return answers[min(spec.attempt.number, len(answers) - 1)]
    if callable(script):
        try:
            return script(spec)
        except Exception as error:
            return error
    return script


def _manifest(artifacts: Mapping[str, Any]) -> tuple[BlobRef, list[SmallBlob]]:
    blobs = {name: to_blob(value, name) for name, value in artifacts.items()}
    manifest = Manifest({name: BlobRef(blob.key, blob.size) for name, blob in blobs.items()}).to_blob()
    content = [SmallBlob(blob.key, b"".join(blob.parts)) for blob in (*blobs.values(), manifest)]
    return BlobRef(manifest.key, manifest.size), content
