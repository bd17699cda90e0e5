"""What a join gets: the tasks that lead to it, as flow objects that are read-only and load when they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, overload

from asyncflow.errors import AsyncflowError
from asyncflow.events import Frame
from asyncflow.flow import make_view
from asyncflow.graph import NodeKind
from asyncflow.worker.state import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence

    from asyncflow.events import BlobRef, TaskId, TaskInput, TaskSpec
    from asyncflow.flow import FlowSpec
    from asyncflow.graph import FlowGraph, Node
    from asyncflow.worker.state import Shelf

BATCH = 256
"""Inputs whose manifests are read in one go, and whose artifacts of one name are."""
KEPT = 1024
"""Up to so many inputs, each stays as it is once made; of more, those that nobody holds are made again."""


class Inputs:
    """``inputs.a`` (by the last step of the branch), ``inputs[0]``, ``inputs[-1]``, slices, iteration, ``len()``.

    Branches stand in the order of ``self.next``, items of a foreach in the order of the list.
    """

    def __init__(self, flow_class: type[FlowSpec], graph: FlowGraph, shelf: Shelf, spec: TaskSpec) -> None:
        self._flow_class = flow_class
        self._graph = graph
        self._shelf = shelf
        self._spec = spec
        self._views: MutableMapping[int, FlowSpec] = {}
        self._batches: dict[int, _Batch] = {}
        self._by_step: dict[str, int] | None = None
        self._closed: dict[str, Node | None] = {}
        """By the last step of a branch: the foreach that the join closes, if it is one."""
        if len(self) > KEPT:
            from weakref import WeakValueDictionary

            self._views = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._spec.inputs)

    def __iter__(self) -> Iterator[FlowSpec]:
        return (self._view(position) for position in range(len(self)))

    @overload
    def __getitem__(self, which: int) -> FlowSpec: ...
    @overload
    def __getitem__(self, which: slice) -> list[FlowSpec]: ...
    def __getitem__(self, which: int | slice) -> FlowSpec | list[FlowSpec]:
        if isinstance(which, slice):
            return [self._view(position) for position in range(len(self))[which]]
        try:
            return self._view(range(len(self))[which])
        except IndexError:
            raise IndexError(f"inputs[{which}] of a join with {len(self)} inputs") from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        position = self._steps().get(name)
        if position is not None:
            return self._view(position)
        if name == "flows":
            return list(self)
        known = ", ".join(f"inputs.{step}" for step in self._steps())
        raise AttributeError(
            f"{self._spec.attempt.task.step!r} has no input {name!r}; inputs are named by the last step "
            f"of the branch: {known}.",
            name=name,
            obj=self,
        )

    def __repr__(self) -> str:
        return f"<{len(self)} inputs of {self._spec.attempt.task.step}>"

    def __getstate__(self) -> NoReturn:
        raise AsyncflowError(
            "The inputs of a join can't be pickled: keep the artifacts that are needed, as in inputs[0].x"
        )

    def _steps(self) -> dict[str, int]:
        if self._by_step is None:
            self._by_step = {each.task.step: position for position, each in enumerate(self._spec.inputs)}
        return self._by_step

    def _view(self, position: int) -> FlowSpec:
        view = self._views.get(position)
        if view is None:
            task = self._spec.inputs[position].task
            frames = self._frames(task)
            batch = self._batch(position)
            backing = InputState(self._flow_class, self._shelf, batch, position % BATCH, step=task.step, frames=frames)
            view = self._views[position] = make_view(self._flow_class, backing)
        return view

    def _frames(self, task: TaskId) -> tuple[Frame, ...]:
        """The foreach nest around an input: that of the join and, of a foreach join, the level that it closes."""
        outer = self._spec.frames
        depth = len(outer)
        if task.step not in self._closed:
            nest = [name for name in self._graph[task.step].splits if self._graph[name].kind is NodeKind.FOREACH]
            self._closed[task.step] = self._graph[nest[depth]] if len(nest) > depth else None
        closed = self._closed[task.step]
        if closed is None or len(task.path) <= depth:
            return outer
        return (*outer, Frame(closed.name, closed.foreach_var or "", task.path[depth], len(self)))

    def _batch(self, position: int) -> _Batch:
        number = position // BATCH
        batch = self._batches.get(number)
        if batch is None:
            if len(self._batches) > 1:
                del self._batches[next(iter(self._batches))]
            batch = _Batch(self._shelf, self._spec.inputs[number * BATCH : (number + 1) * BATCH])
            self._batches[number] = batch
        return batch

    def manifests(self) -> Iterator[dict[str, BlobRef]]:
        """The names and references of each input, in order, without making flow objects."""
        for position in range(len(self)):
            yield self._batch(position).manifests[position % BATCH]


class _Batch:
    """Neighbours among the inputs: who asks one for an artifact will ask the others too."""

    def __init__(self, shelf: Shelf, inputs: Sequence[TaskInput]) -> None:
        self._shelf = shelf
        self._fetched: set[str] = set()
        with shelf.lock:
            found = shelf.loader.manifests([each.manifest for each in inputs])
        self.manifests = [manifest.artifacts for manifest in found]

    def fetch(self, name: str) -> None:
        if name not in self._fetched and len(self.manifests) > 1:
            self._fetched.add(name)
            self._shelf.loader.prefetch([refs[name] for refs in self.manifests if name in refs])


class InputState(Reader):
    """What the flow object of a finished task asks: ``inputs.a``."""

    read_only = True

    def __init__(
        self,
        flow_class: type[FlowSpec],
        shelf: Shelf,
        batch: _Batch,
        position: int,
        *,
        step: str,
        frames: tuple[Frame, ...],
    ) -> None:
        super().__init__(flow_class, shelf, batch.manifests[position], step=step, frames=frames)
        self._batch = batch

    def fetch(self, ref: BlobRef, name: str) -> Any:
        self._batch.fetch(name)
        return super().fetch(ref, name)
