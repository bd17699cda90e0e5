"""A whole flow in one process and in memory: the real scheduler and real tasks, and nothing between them."""

from __future__ import annotations

from collections import deque

from asyncflow.engine.scheduler import Scheduler
from asyncflow.events import (
    FinishRun,
    FlowSource,
    RunContext,
    RunStarted,
    RunState,
    SourceKind,
    StepPolicy,
    Submit,
    TaskFailed,
    TaskId,
)
from asyncflow.graph import FlowGraph
from asyncflow.lint import ensure_valid
from asyncflow.parameters import resolve_parameters
from asyncflow.store.artifacts import COMPANION, ArtifactLoader
from asyncflow.store.blobs.memory import MemoryBlobs
from asyncflow.worker.task import initial_artifacts, run_task


class Played:
    """What became of a run: its state, and the ending and artifacts of each task."""

    def __init__(self, blobs):
        self.blobs = blobs
        self.loader = ArtifactLoader(blobs)
        self.state = None
        self.endings = {}
        self.sent = {}
        """The small blobs that came with each task's ending."""
        self.specs = {}

    def refs(self, step, *path):
        return self.loader.manifest(self.endings[TaskId(step, path)].manifest).artifacts

    def data(self, step, *path):
        """The artifacts of a task by name."""
        refs = self.refs(step, *path)
        return {name: self.loader.load(ref, name) for name, ref in refs.items() if not name.endswith(COMPANION)}

    @property
    def failure(self):
        return next(ending.failure for ending in self.endings.values() if isinstance(ending, TaskFailed))

    def tasks(self, step):
        return sorted(task.path for task in self.endings if task.step == step)


def play(flow_class, *, max_num_splits=None, blobs=None, tags=(), **parameters) -> Played:
    """Runs a flow to its end, one task after the other; a failed task ends it."""
    graph = FlowGraph.of(flow_class)
    ensure_valid(graph)
    blobs = blobs or MemoryBlobs()
    manifest, small, large = initial_artifacts(flow_class, resolve_parameters(flow_class, parameters))
    blobs.content.update({blob.key: blob.content for blob in small})
    for blob in large:
        blobs.write(blob)
    context = RunContext(
        run_id="1234",
        flow_name=graph.name,
        source=FlowSource(SourceKind.MODULE, flow_class.__module__, flow_class.__qualname__),
        store="/nowhere",
        parameters=manifest,
        namespace="user:ada",
        username="ada",
        tags=tags,
        max_num_splits=max_num_splits,
    )
    scheduler = Scheduler(graph)
    started = RunStarted(
        run_id="1234",
        flow_name=graph.name,
        at=0.0,
        graph_hash=graph.hash,
        parameters=manifest,
        policies={step: StepPolicy(executor="here") for step in graph.nodes},
        limits={"here": 1_000_000},
    )
    played = Played(blobs)
    commands = deque(scheduler.handle(started))
    while commands:
        command = commands.popleft()
        if isinstance(command, FinishRun):
            played.state = command.state
        elif isinstance(command, Submit):
            for spec in command.specs:
                if played.state is None and not any(isinstance(each, TaskFailed) for each in played.endings.values()):
                    outcome = run_task(flow_class, graph, context, spec, blobs, worker="here")
                    blobs.content.update({blob.key: blob.content for blob in outcome.blobs})
                    played.endings[spec.attempt.task] = outcome.ending
                    played.sent[spec.attempt.task] = [blob.key for blob in outcome.blobs]
                    played.specs[spec.attempt.task] = spec
                    commands.extend(scheduler.handle(outcome.ending))
    if played.state is None:
        played.state = RunState.FAILED
    scheduler.check()
    return played


def succeed(flow_class, **options) -> Played:
    """Likewise; the run must succeed."""
    played = play(flow_class, **options)
    assert played.state is RunState.SUCCEEDED, played.failure.traceback or played.failure.message
    return played


def fail(flow_class, **options):
    """Likewise; a task must fail, and its failure is returned."""
    played = play(flow_class, **options)
    assert played.state is RunState.FAILED
    return played.failure
