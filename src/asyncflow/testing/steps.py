"""``run_step``: one step of a flow, without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from asyncflow.errors import UsageError
from asyncflow.events import Attempt, FlowSource, Frame, RunContext, SourceKind, TaskId, TaskInput, TaskSpec
from asyncflow.flow import FlowSpec, fixed_names, is_step
from asyncflow.graph import NodeKind
from asyncflow.loader import graph_of
from asyncflow.parameters import resolve_parameters
from asyncflow.settings import default_namespace, username
from asyncflow.store.artifacts import COMPANION, ArtifactLoader, Manifest
from asyncflow.store.blobs.memory import MemoryBlobs
from asyncflow.store.serializers import to_blob
from asyncflow.worker.foreach import whole_name
from asyncflow.worker.task import TaskRun, initial_artifacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asyncflow.events import BlobKey, BlobRef, Next
    from asyncflow.graph import FlowGraph, Node

RUN_ID = "1"
"""What ``current.run_id`` is inside ``run_step``."""


class StepResult:
    """A step that has ended well: its artifacts are attributes, those it inherited too; ``next`` is where it leads."""

    def __init__(self, step: str, leads_to: Next | None, refs: Mapping[str, BlobRef], blobs: MemoryBlobs) -> None:
        self.step = step
        self.next = leads_to
        """An ``events.Next``: ``next.steps``, and ``next.width`` of a fan-out. None of the last step."""
        self.refs = dict(refs)
        """Names and where their values are, the internal ones too."""
        self._blobs = blobs
        self._loader = ArtifactLoader(blobs)

    @property
    def artifacts(self) -> dict[str, Any]:
        """All artifacts by name, each loaded anew: what a later step would see."""
        return {name: self._loader.load(ref, name) for name, ref in self.refs.items() if not name.endswith(COMPANION)}

    @property
    def stored(self) -> dict[BlobKey, bytes]:
        """The blobs that ``refs`` lead to."""
        return self._blobs.content

    def __getattr__(self, name: str) -> Any:
        refs = self.__dict__.get("refs", {})
        if name not in refs:
            raise AttributeError(f"The step left no artifact {name!r}.", name=name, obj=self)
        return self._loader.load(refs[name], name)

    def __repr__(self) -> str:
        names = ", ".join(name for name in self.refs if not name.endswith(COMPANION))
        return f"<StepResult of {self.step}: {names}>"


Artifacts: TypeAlias = Mapping[str, Any] | StepResult
"""What a step starts from: names and values, or what another step left."""
_NOT_GIVEN: Any = object()


def run_step(
    step: Callable[..., Any],
    *,
    artifacts: Artifacts | None = None,
    inputs: Sequence[Artifacts] | Mapping[str, Artifacts] = (),
    input: Any = _NOT_GIVEN,  # noqa: A002 - as in the step
    index: int | None = None,
    width: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    flow: type[FlowSpec] | None = None,
    retry_count: int = 0,
) -> StepResult:
    """Runs one step in this process as a task would, artifacts pickled and all, and returns what it left.

        result = run_step(MyFlow.visit, artifacts={"country": "Norway"}, input="Oslo")
        assert result.next.steps == ("join",)
        assert result.temperature < 40

    ``artifacts`` is what the step inherits. In a foreach, ``input`` is its item, ``index`` of ``width`` (0 of 1
    unless given); with the result of the step that fans out as ``artifacts``, ``index`` is enough. A join takes
    ``inputs``: one for each item, or one for each branch, in order or by the name of its last step.
    ``parameters`` are those of ``Engine.run``. ``flow`` is needed where several flows have inherited the step.

    Raises what the step raises, and what asyncflow raises where ``self.next`` or an artifact is wrong.
    """
    flow_class = flow or _flow_of(step)
    graph = graph_of(flow_class)
    name = step.__name__
    if name not in graph.nodes:
        raise UsageError(f"{flow_class.__name__} has no step {name!r}.")
    node = graph[name]
    before: Artifacts = {} if artifacts is None else artifacts
    bench = _Bench(
        flow_class, graph, parameters, [before, *(inputs.values() if isinstance(inputs, Mapping) else inputs)]
    )
    frames = _frames(graph, node, before, index, width, given=input is not _NOT_GIVEN)
    if node.is_join:
        tasks = bench.inputs_of(node, inputs, frames)
    elif inputs:
        raise UsageError(f"{name!r} is no join: it takes `artifacts`, not `inputs`.")
    else:
        item = {} if input is _NOT_GIVEN else {_companion(frames[-1]): [*[None] * frames[-1].index, input]}
        tasks = (bench.input_from(before, item, TaskId("before", tuple(frame.index for frame in frames))),)
    spec = TaskSpec(Attempt(TaskId(name, tuple(frame.index for frame in frames)), retry_count, 1), tasks, frames)
    return bench.run(spec)


def _flow_of(step: Callable[..., Any]) -> type[FlowSpec]:
    """The flow that defines ``step``; of a mixin's step, the one flow that has it."""
    if not is_step(step):
        raise UsageError(f"run_step takes a step of a flow, as in run_step(MyFlow.start), not {step!r}.")
    name = step.__name__
    flows = list(_subclasses(FlowSpec))
    found = [flow for flow in flows if vars(flow).get(name) is step]
    found = found or [flow for flow in flows if getattr(flow, name, None) is step]
    if len(found) != 1:
        raise UsageError(f"It isn't clear which flow's step {name!r} is meant: say run_step(..., flow=MyFlow).")
    return found[0]


def _subclasses(flow_class: type[FlowSpec]) -> Iterator[type[FlowSpec]]:
    for flow in flow_class.__subclasses__():
        yield flow
        yield from _subclasses(flow)


def _frames(
    graph: FlowGraph, node: Node, before: Artifacts, index: int | None, width: int | None, *, given: bool
) -> tuple[Frame, ...]:
    """The foreach nest; of the levels outside the innermost nothing is known."""
    nest = [graph[name] for name in node.splits if graph[name].kind is NodeKind.FOREACH]
    if index is None and width is None and not given:
        return ()
    if not nest:
        raise UsageError(f"{node.name!r} is in no foreach, so it has no input and no index.")
    if isinstance(before, StepResult) and before.step == nest[-1].name and before.next is not None:
        width = before.next.width
    outer = tuple(Frame(each.name, each.foreach_var or "", 0, 1) for each in nest[:-1])
    place = index or 0
    return (*outer, Frame(nest[-1].name, nest[-1].foreach_var or "", place, max(width or 1, place + 1)))


def _companion(frame: Frame) -> str:
    return whole_name(frame.step, frame.var)


class _Bench:
    """What stands around a step under test: a store in memory, parameters, a run that there isn't."""

    def __init__(
        self,
        flow_class: type[FlowSpec],
        graph: FlowGraph,
        parameters: Mapping[str, Any] | None,
        before: Sequence[Artifacts],
    ) -> None:
        self.flow_class = flow_class
        self.graph = graph
        self.blobs = MemoryBlobs()
        self.loader = ArtifactLoader(self.blobs)
        earlier = next((each for each in before if isinstance(each, StepResult)), None)
        if parameters is None and earlier is not None:
            # The run goes on: parameters stay what they were.
            self.fixed = {name: ref for name, ref in earlier.refs.items() if name in fixed_names(flow_class)}
            self.blobs.content.update(earlier.stored)
        else:
            self.fixed = self._initial(resolve_parameters(flow_class, parameters or {}))
        self.parameters = self.blobs.write(Manifest(self.fixed).to_blob())

    def _initial(self, values: Mapping[str, Any]) -> dict[str, BlobRef]:
        manifest, small, large = initial_artifacts(self.flow_class, values)
        self.blobs.content.update({blob.key: blob.content for blob in small})
        for blob in large:
            self.blobs.write(blob)
        return self.loader.manifest(manifest).artifacts

    def run(self, spec: TaskSpec) -> StepResult:
        run = TaskRun(self.flow_class, self.graph, self._context(), spec, self.blobs)
        run.run()
        self.blobs.content.update({blob.key: blob.content for blob in run.shelf.small.values()})
        assert run.manifest is not None
        return StepResult(run.node.name, run.next, self.loader.manifest(run.manifest).artifacts, self.blobs)

    def _context(self) -> RunContext:
        return RunContext(
            run_id=RUN_ID,
            flow_name=self.graph.name,
            source=FlowSource(SourceKind.MODULE, self.flow_class.__module__, self.flow_class.__qualname__),
            store="",
            parameters=self.parameters,
            namespace=default_namespace(),
            username=username(),
        )

    def input_from(self, artifacts: Artifacts, more: Mapping[str, Any], task: TaskId) -> TaskInput:
        """A finished task that left parameters and constants, ``artifacts`` and ``more``."""
        if isinstance(artifacts, StepResult):
            self.blobs.content.update(artifacts.stored)
            refs = {**artifacts.refs, **self.fixed}
        else:
            refs = {**self.fixed, **self._stored(artifacts)}
        refs.update(self._stored(more))
        return TaskInput(task, self.blobs.write(Manifest(refs).to_blob()))

    def _stored(self, artifacts: Mapping[str, Any]) -> dict[str, BlobRef]:
        return {name: self.blobs.write(to_blob(value, name)) for name, value in artifacts.items()}

    def inputs_of(
        self, node: Node, inputs: Sequence[Artifacts] | Mapping[str, Artifacts], frames: tuple[Frame, ...]
    ) -> tuple[TaskInput, ...]:
        """The tasks that lead to a join."""
        closes_foreach = any(each.join == node.name and each.kind is NodeKind.FOREACH for each in self.graph)
        named = _named(node, inputs, closes_foreach=closes_foreach)
        outside = tuple(frame.index for frame in frames)
        return tuple(
            self.input_from(each, {}, TaskId(step, (*outside, place) if closes_foreach else outside))
            for place, (step, each) in enumerate(named)
        )


def _named(
    node: Node, inputs: Sequence[Artifacts] | Mapping[str, Artifacts], *, closes_foreach: bool
) -> list[tuple[str, Artifacts]]:
    """Each input with the step that it is of."""
    if isinstance(inputs, Mapping):
        unknown = [step for step in inputs if step not in node.incoming]
        if unknown or closes_foreach:
            what = f"{unknown[0]!r} doesn't lead to" if unknown else "name no steps for the join of a foreach,"
            raise UsageError(f"{what} {node.name!r}; to it lead {', '.join(node.incoming)}.")
        return [(step, inputs[step]) for step in node.incoming if step in inputs]
    if not inputs:
        raise UsageError(f"{node.name!r} is a join: give it `inputs`.")
    steps = [node.incoming[0]] * len(inputs) if closes_foreach else list(node.incoming)
    if len(steps) != len(inputs):
        raise UsageError(f"{node.name!r} joins {', '.join(steps)}: give one input for each, or name them in a dict.")
    return [
        (each.step if isinstance(each, StepResult) and each.step in node.incoming else step, each)
        for step, each in zip(steps, inputs, strict=True)
    ]
