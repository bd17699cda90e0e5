"""What a worker runs tasks with: the flow, or something else that tests put in its place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from asyncflow.events import SourceKind
from asyncflow.worker import kernel

if TYPE_CHECKING:
    from asyncflow.events import Failure, FlowSource, RunContext, TaskSpec
    from asyncflow.worker.task import Outcome


class Tasks(Protocol):
    """What runs the tasks of one run."""

    def run(self, spec: TaskSpec, worker: str) -> Outcome:
        """``worker`` is the worker's name in events."""
        ...

    def foresee(self, spec: TaskSpec) -> None:
        """Called before workers are forked for ``spec`` and its siblings: have ready what they all read. Opens nothing
        that stays open: they can't share it."""
        ...


class Program(Protocol):
    """Made once, in the zygote, from a ``FlowSource``; raises what importing the flow raises."""

    def bind(self, context: RunContext) -> Tasks:
        """Likewise called before workers are forked."""
        ...


FLOW = "asyncflow.worker.program:FlowProgram"


def load_program(name: str, source: FlowSource) -> Program:
    """The program called ``module:name`` for the flow at ``source``."""
    sys.argv = [source.location if source.kind is SourceKind.FILE else ""]
    module, _, attribute = name.partition(":")
    if name != FLOW:
        sys.path.extend(folder for folder in source.search_path if folder not in sys.path)
    make: Callable[[FlowSource], Program] = getattr(import_module(module), attribute)
    return make(source)


def import_failure(error: BaseException) -> Failure:
    """What ``load_program`` raised: trying again can't help."""
    from msgspec.structs import replace

    from asyncflow.worker.failures import failure_of

    failure = failure_of(error)
    message = f"The flow can't be imported by its workers: {failure.message}"
    return replace(failure, message=message, retriable=False)


class FlowProgram:
    """A flow's class and graph; everything that a task needs is imported here, once, before workers are forked."""

    def __init__(self, source: FlowSource) -> None:
        from asyncflow.loader import graph_of, load_flow
        from asyncflow.store.local import LocalStore
        from asyncflow.worker import foreach, task

        del foreach, task
        self.open_store = LocalStore.open
        self.flow = load_flow(source)
        self.graph = graph_of(self.flow)

    def bind(self, context: RunContext) -> Tasks:
        """Raises ``FlowDefinitionError`` where this process has imported another version of the flow than the engine."""
        if context.graph_hash not in {"", self.graph.hash}:
            from asyncflow.errors import FlowDefinitionError

            raise FlowDefinitionError(
                f"{self.graph.file} was changed while its run was starting: the workers read other steps than the engine. "
                "Run it again."
            )
        return FlowTasks(self, context)


class FlowTasks:
    def __init__(self, program: FlowProgram, context: RunContext) -> None:
        self._program = program
        self._context = context
        # Its files are opened when they are used, and again in another process.
        self._store = program.open_store(context.store, create=False)
        self._foreseen = b""
        """The key of the manifest for which that was done last."""
        self._umask = kernel.umask()

    def run(self, spec: TaskSpec, worker: str) -> Outcome:
        from asyncflow.worker.task import run_task

        program = self._program
        blobs, umask = self._store.blobs, self._umask
        return run_task(program.flow, program.graph, self._context, spec, blobs, worker=worker, umask=umask)

    def foresee(self, spec: TaskSpec) -> None:
        """What it would do for each child of a fan-out: open the database, read the manifest and the list of items."""
        manifest = spec.inputs[0].manifest
        if manifest.key == self._foreseen:
            return
        from asyncflow.worker.foreach import packed_name, whole_name
        from asyncflow.worker.task import _loader  # pyright: ignore[reportPrivateUsage]

        loader = _loader(self._store.blobs)
        artifacts = loader.manifest(manifest).artifacts
        names = [name(frame.step, frame.var) for frame in spec.frames for name in (packed_name, whole_name)]
        loader.prefetch(artifacts[name] for name in names if name in artifacts)
        self._store.reader.close()
        self._foreseen = manifest.key
