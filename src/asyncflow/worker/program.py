"""What a worker runs tasks with: the flow, or something else that tests put in its place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from asyncflow.events import SourceKind

if TYPE_CHECKING:
    from asyncflow.events import Failure, FlowSource, RunContext, TaskSpec
    from asyncflow.worker.task import Outcome

    RunTask: TypeAlias = Callable[[TaskSpec], Outcome]


class Program(Protocol):
    """Made once, in the template process, from a ``FlowSource``; raises what importing the flow raises."""

    def bind(self, context: RunContext, worker: str) -> RunTask:
        """Called in each worker: the function that runs its tasks. ``worker`` is the worker's name in events."""
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
        from asyncflow.worker.task import run_task

        self._run_task: Any = run_task
        self._open_store = LocalStore.open
        self._flow = load_flow(source)
        self._graph = graph_of(self._flow)

    def bind(self, context: RunContext, worker: str) -> RunTask:
        # Opened after the fork: a database connection must not be shared by processes.
        blobs = self._open_store(context.store, create=False).blobs
        run_task, flow, graph = self._run_task, self._flow, self._graph

        def run(spec: TaskSpec) -> Outcome:
            return run_task(flow, graph, context, spec, blobs, worker=worker)  # type: ignore[no-any-return]

        return run
