"""A join: what it inherits, and ``merge_artifacts``, which takes over by reference what the branches agree about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from asyncflow.errors import AsyncflowError, MissingInMergeArtifactsException, UnhandledInMergeArtifactsException
from asyncflow.flow import FlowSpec, backing_of, where_is
from asyncflow.store.artifacts import COMPANION
from asyncflow.worker.foreach import packed_name, whole_name
from asyncflow.worker.inputs import Inputs, InputState
from asyncflow.worker.state import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asyncflow.events import BlobRef, Frame, TaskSpec
    from asyncflow.worker.state import Shelf


class JoinState(TaskState):
    """What a join's flow object asks of its task. It inherits parameters and class constants, and what it merges."""

    def __init__(self, flow_class: type[FlowSpec], shelf: Shelf, parameters: BlobRef, spec: TaskSpec) -> None:
        refs = shelf.loader.manifest(parameters).artifacts
        super().__init__(flow_class, shelf, refs, step=spec.attempt.task.step, frames=spec.frames)
        self.initial: dict[str, Any] = {}
        """What ``__init__`` assigned."""
        constant = [frame for frame in spec.frames if frame.var in self.fixed]
        if constant:
            self._take_companions(constant, shelf.loader.manifest(spec.inputs[0].manifest).artifacts)

    def begin(self, flow: FlowSpec) -> None:
        super().begin(flow)
        self.initial = dict(flow.__dict__)

    def merge(self, flow: FlowSpec, inputs: Iterable[FlowSpec], exclude: list[str], include: list[str]) -> None:
        where = f"merge_artifacts in {where_is(flow)}"
        if exclude and include:
            raise AsyncflowError(f"{where}: give `exclude` or `include`, not both.")
        own = self._own_names(flow)
        found, conflicts, companions = _agreed(_manifests(inputs, where), own | set(exclude), set(include))
        if conflicts:
            raise UnhandledInMergeArtifactsException(
                f"{where}: the branches have different values of {_list(conflicts)}. Assign them to self before "
                "merge_artifacts, or name them in `exclude`.",
                conflicts,
            )
        missing = [name for name in include if name not in found and name not in own]
        if missing:
            raise MissingInMergeArtifactsException(
                f"{where}: `include` has {_list(missing)}, which no branch has.", missing
            )
        for name in found:
            flow.__dict__.pop(name, None)
        self.refs.update(found)
        self._take_companions((frame for frame in self.frames if frame.var in found), companions)

    def _own_names(self, flow: FlowSpec) -> set[str]:
        """What the join has already: assigned by itself, merged before, or fixed for the whole run.

        What only ``__init__`` assigned gives way, as it does to what a step inherits.
        """
        values, initial = flow.__dict__, self.initial
        assigned = {name for name in values if name not in initial or values[name] is not initial[name]}
        return assigned | self.refs.keys() | self.fixed

    def _take_companions(self, frames: Iterable[Frame], refs: dict[str, BlobRef]) -> None:
        """Of the lists of ``frames``, so that ``self.input`` is known after the join too."""
        for frame in frames:
            for name in (packed_name(frame.step, frame.var), whole_name(frame.step, frame.var)):
                if name in refs:
                    self.refs[name] = refs[name]


def _manifests(inputs: Iterable[FlowSpec], where: str) -> Iterator[dict[str, BlobRef]]:
    if isinstance(inputs, Inputs):
        yield from inputs.manifests()
        return
    candidates = (inputs,) if isinstance(inputs, FlowSpec) else inputs
    for each in cast("Iterable[object]", candidates):
        backing = backing_of(each) if isinstance(each, FlowSpec) else None
        if not isinstance(backing, InputState):
            raise AsyncflowError(f"{where}: it takes the inputs of the join, or some of them, not {each!r}.")
        yield backing.refs


def _agreed(
    manifests: Iterable[dict[str, BlobRef]], unwanted: set[str], wanted: set[str]
) -> tuple[dict[str, BlobRef], list[str], dict[str, BlobRef]]:
    """What is there to take, the names about which the inputs disagree, and the frozen lists of the first that has them.

    ``wanted`` is all names where it is empty.
    """
    found: dict[str, BlobRef] = {}
    conflicts: dict[str, None] = {}
    companions: dict[str, BlobRef] = {}
    for refs in manifests:
        for name, ref in refs.items():
            if name.endswith(COMPANION):
                companions.setdefault(name, ref)
            elif name in unwanted or (wanted and name not in wanted):
                continue
            elif found.setdefault(name, ref).key != ref.key:
                conflicts[name] = None
    return found, list(conflicts), companions


def _list(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
