"""One task: from its spec to its outcome."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from asyncflow.current import TaskValues, enter_task, leave_task
from asyncflow.errors import FlowDefinitionError, UnserializableArtifact
from asyncflow.events import BlobRef, TaskFailed, TaskSucceeded
from asyncflow.flow import class_constants, graph_info, make_flow, without_command_line
from asyncflow.parameters import flow_parameters
from asyncflow.protocols import SmallBlob
from asyncflow.store.artifacts import SMALL, ArtifactLoader, Manifest
from asyncflow.store.serializers import to_blob
from asyncflow.worker.failures import failure_of
from asyncflow.worker.foreach import keep
from asyncflow.worker.inputs import Inputs
from asyncflow.worker.join import JoinState
from asyncflow.worker.state import Shelf, TaskState
from asyncflow.worker.transition import settle

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from asyncflow.events import Failure, Next, RunContext, TaskSpec
    from asyncflow.flow import FlowSpec
    from asyncflow.graph import FlowGraph
    from asyncflow.protocols import Blob, BlobAccess


# A step may put something else in their places.
_now, _umask = time.time, os.umask


class Outcome(NamedTuple):
    """How an attempt ended, and the small blobs that must be durable before that takes effect."""

    ending: TaskSucceeded | TaskFailed
    blobs: list[SmallBlob]


def run_task(
    flow_class: type[FlowSpec],
    graph: FlowGraph,
    context: RunContext,
    spec: TaskSpec,
    blobs: BlobAccess,
    *,
    worker: str = "",
    umask: int | None = None,
) -> Outcome:
    """Runs one attempt in this process and thread. Whatever the step raises is in the outcome.

    ``umask`` holds again once the step has run: who can read the store's files isn't for a step to decide.
    Not for two tasks at once on one ``blobs``.
    """
    return TaskRun(flow_class, graph, context, spec, blobs, umask).outcome(worker)


class TaskRun:
    """One attempt on its way: what it has got to when it fails is still there."""

    def __init__(
        self,
        flow_class: type[FlowSpec],
        graph: FlowGraph,
        context: RunContext,
        spec: TaskSpec,
        blobs: BlobAccess,
        umask: int | None = None,
    ) -> None:
        self.flow_class = flow_class
        self.graph = graph
        self.context = context
        self.spec = spec
        self.node = graph[spec.attempt.task.step]
        self.umask = umask
        self.shelf = Shelf(blobs, _loader(blobs))
        self.manifest: BlobRef | None = None
        self.next: Next | None = None

    def outcome(self, worker: str = "") -> Outcome:
        started = _now()
        failure: Failure | None = None
        try:
            self.run()
        except BaseException as error:
            failure = failure_of(error)
        attempt, small = self.spec.attempt, list(self.shelf.small.values())
        if failure is None and self.manifest is not None:
            return Outcome(TaskSucceeded(attempt, self.manifest, self.next, started, _now(), worker), small)
        assert failure is not None
        return Outcome(TaskFailed(attempt, failure, _now(), started, worker, self.manifest), small)

    def run(self) -> None:
        """Sets ``manifest`` and ``next``. Raises what the step raises; what it had assigned is then in ``manifest``."""
        token = enter_task(_values(self.flow_class, self.graph, self.context, self.spec))
        try:
            with without_command_line():
                state = self._state()
                flow = make_flow(self.flow_class, state)
                state.begin(flow)
                try:
                    self._work(flow, state)
                except BaseException:
                    self._rescue(flow, state)
                    raise
        finally:
            leave_task(token)

    def _work(self, flow: FlowSpec, state: TaskState) -> None:
        try:
            self._call(flow)
        finally:
            if self.umask is not None:
                _umask(self.umask)
        self.next, frozen = settle(flow, self.node, state.transition, self.context.max_num_splits)
        state.persist(flow)
        if frozen is not None:
            keep(state, frozen)
        self.manifest = state.manifest()

    def _rescue(self, flow: FlowSpec, state: TaskState) -> None:
        """What a failed attempt had assigned can be read; that some of it can't be kept is not another failure."""
        with suppress(Exception):
            state.persist(flow)
        with suppress(Exception):
            self.manifest = state.manifest()

    def _state(self) -> TaskState:
        spec, node = self.spec, self.node
        if node.is_join:
            return JoinState(self.flow_class, self.shelf, self.context.parameters, spec)
        refs = self.shelf.loader.manifest(spec.inputs[0].manifest).artifacts
        return TaskState(self.flow_class, self.shelf, refs, step=node.name, frames=spec.frames)

    def _call(self, flow: FlowSpec) -> None:
        method = getattr(flow, self.node.name)
        inputs = (Inputs(self.flow_class, self.graph, self.shelf, self.spec),) if self.node.is_join else ()
        result: object = method(*inputs)
        if isinstance(result, CoroutineType):
            _await(cast("Coroutine[Any, Any, object]", result))


def _await(coroutine: Coroutine[Any, Any, object]) -> None:
    """Runs an async step to its end: in this thread, or, where a loop is running here, in one beside it."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(coroutine)
        return
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    with ThreadPoolExecutor(1, "asyncflow-step") as beside:
        beside.submit(copy_context().run, asyncio.run, coroutine).result()


_last_loader: tuple[BlobAccess, ArtifactLoader] | None = None


def _loader(blobs: BlobAccess) -> ArtifactLoader:
    """Tasks that follow each other on one store share what they have read."""
    global _last_loader  # noqa: PLW0603 - a cache of one
    if _last_loader is None or _last_loader[0] is not blobs:
        _last_loader = (blobs, ArtifactLoader(blobs))
    return _last_loader[1]


def _values(flow_class: type[FlowSpec], graph: FlowGraph, context: RunContext, spec: TaskSpec) -> TaskValues:
    return TaskValues(
        flow_name=context.flow_name,
        run_id=context.run_id,
        step_name=spec.attempt.task.step,
        task_id=str(spec.attempt.serial),
        path=spec.attempt.task.path,
        retry_count=spec.attempt.number,
        origin_run_id=context.origin_run_id,
        namespace=context.namespace,
        username=context.username,
        tags=context.tags,
        parameter_names=lambda: flow_parameters(flow_class),
        graph=lambda: graph_info(flow_class, graph),
        store=context.store,
    )


# -- before the first task -------------------------------------------------------------------------


def initial_artifacts(
    flow_class: type[FlowSpec], values: Mapping[str, Any]
) -> tuple[BlobRef, list[SmallBlob], list[Blob]]:
    """What a run begins with: the manifest of parameters (``values``, by attribute) and class constants.

    The small blobs belong in the metadata database, the others in the blob store. Raises
    ``FlowDefinitionError`` for a constant that can't be pickled.
    """
    refs: dict[str, BlobRef] = {}
    blobs: list[Blob] = []
    for name, value in {**class_constants(flow_class), **values}.items():
        try:
            blob = to_blob(value, name)
        except UnserializableArtifact as error:
            raise FlowDefinitionError(
                f"Class constants are artifacts, and one of {flow_class.__name__} can't be kept. {error.message} "
                f"Rename it to _{name}, and it is no artifact."
            ) from error
        refs[name] = BlobRef(blob.key, blob.size)
        blobs.append(blob)
    manifest = Manifest(refs).to_blob()
    blobs.append(manifest)
    small = [SmallBlob(blob.key, b"".join(blob.parts)) for blob in blobs if blob.size <= SMALL]
    large = [blob for blob in blobs if blob.size > SMALL]
    return BlobRef(manifest.key, manifest.size), small, large
