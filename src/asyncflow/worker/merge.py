"""``merge_artifacts``: what the branches agree about, by reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow.errors import (
    AsyncflowError,
    MissingInMergeArtifactsException,
    UnhandledInMergeArtifactsException,
)
from asyncflow.flow import where_is
from asyncflow.store.artifacts import COMPANION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncflow.events import BlobRef
    from asyncflow.flow import FlowSpec
    from asyncflow.worker.inputs import JoinState


def merge(
    state: JoinState,
    flow: FlowSpec,
    manifests: Iterable[dict[str, BlobRef]],
    exclude: list[str],
    include: list[str],
) -> None:
    """Takes all or nothing. Raises ``UnhandledInMergeArtifactsException``, then ``MissingInMergeArtifactsException``."""
    if exclude and include:
        raise AsyncflowError(f"merge_artifacts in {where_is(flow)}: give `exclude` or `include`, not both.")
    unwanted = _set_names(state, flow) | set(exclude)
    wanted = set(include)
    found: dict[str, BlobRef] = {}
    companions: dict[str, BlobRef] = {}
    conflicts: dict[str, None] = {}
    for refs in manifests:
        for name, ref in refs.items():
            if name.endswith(COMPANION):
                companions.setdefault(name, ref)
            elif name not in unwanted and (not wanted or name in wanted):
                if found.setdefault(name, ref).key != ref.key:
                    conflicts[name] = None
    if conflicts:
        raise UnhandledInMergeArtifactsException(_conflict(flow, list(conflicts)), list(conflicts))
    missing = [name for name in include if name not in found]
    if missing:
        raise MissingInMergeArtifactsException(_missing(flow, missing), missing)
    for name in found:
        flow.__dict__.pop(name, None)
    state.refs.update(found)
    state.take_companions([frame for frame in state.frames if frame.var in found], companions)


def _set_names(state: JoinState, flow: FlowSpec) -> set[str]:
    """Names that the join has already: assigned by itself, merged before, or fixed for the whole run.

    What only ``__init__`` assigned gives way, as it does to what a step inherits.
    """
    values, initial = flow.__dict__, state.initial
    assigned = {name for name in values if name not in initial or values[name] is not initial[name]}
    return assigned | state.refs.keys() | state.fixed


def _conflict(flow: FlowSpec, names: list[str]) -> str:
    return (
        f"merge_artifacts in {where_is(flow)}: the branches have different values of {_list(names)}. "
        "Assign them to self before merge_artifacts, or name them in `exclude`."
    )


def _missing(flow: FlowSpec, names: list[str]) -> str:
    return (
        f"merge_artifacts in {where_is(flow)}: `include` names {_list(names)}, which no branch has or self has already."
    )


def _list(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
