"""Which fan-outs are open around each step, and which join closes them.

Every fan-out (split, foreach, num_parallel) opens a level; a join closes the innermost one. The stack of
open levels is carried along all ways at once, each step after those that lead to it. Where ways of a switch
meet, their stacks must agree; they may also stand in different fan-outs at the same depth, of which only
one can have run, so a level knows the alternatives. Each step is looked at once: the work is linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct, structs

from asyncflow.graph.nodes import FAN_OUTS, Node, NodeKind
from asyncflow.graph.ways import Ways, ways_of

Level: TypeAlias = dict[str, frozenset[int]]
"""One open level: the step that fanned out -> its branches that one may be in. Several steps are alternatives."""
Stack: TypeAlias = tuple[Level, ...]
"""Outermost first."""


class ImbalanceKind(StrEnum):
    OPEN_AT_END = "open-at-end"
    MEET = "meet"
    """Branches of one split meet in a step that is no join."""
    DEPTHS = "depths"
    """A step that is no join is reached from inside and from outside of a fan-out."""
    UNRELATED = "unrelated"
    """A join is reached from branches that belong to different splits."""
    NOTHING_OPEN = "nothing-open"
    """A join is reached where there is nothing to join."""
    INCOMPLETE = "incomplete"
    """A join closes a split, but not all of its branches lead there."""
    SPLIT_INTO_JOIN = "split-into-join"


class Imbalance(Struct, frozen=True, kw_only=True):
    """Splits and joins that don't balance at ``step``."""

    kind: ImbalanceKind
    step: str
    sources: tuple[str, ...]
    """The steps that lead there in the wrong way; for INCOMPLETE the branches that don't lead there."""
    splits: tuple[str, ...]
    """The fan-outs concerned. Of two imbalances of one split the later follows from the earlier."""


class Nesting(Struct, frozen=True):
    ways: Ways
    inside: dict[str, Stack | None]
    """For each step that is reached: the levels around it. None: it follows a transition that can't be read."""
    joins: dict[str, tuple[str, ...]]
    """For each fan-out the joins that close it: more than one where a switch inside chooses."""
    incoming: dict[str, tuple[str, ...]]
    imbalances: tuple[Imbalance, ...]


class Arrival(Struct, frozen=True):
    """One way into a step."""

    source: str
    stack: Stack
    """The levels open on the way."""

    @property
    def innermost(self) -> tuple[str, ...]:
        return tuple(self.stack[-1]) if self.stack else ()


def arrange(nodes: Mapping[str, Node], starts: tuple[str, ...], ends: tuple[str, ...]) -> dict[str, Node]:
    """The nodes in order, with all that follows from their places: ``incoming``, ``splits``, ``join``."""
    nesting = nesting_of(nodes, starts, ends)
    place = {step: number for number, step in enumerate(nesting.ways.order)}
    arranged: dict[str, Node] = {}
    for name in nesting.ways.order:
        joins = nesting.joins.get(name)
        arranged[name] = structs.replace(
            nodes[name],
            incoming=nesting.incoming[name],
            splits=tuple(min(level, key=place.__getitem__) for level in nesting.inside.get(name) or ()),
            join=joins[0] if joins else None,
        )
    return arranged


def nesting_of(nodes: Mapping[str, Node], starts: tuple[str, ...], ends: tuple[str, ...]) -> Nesting:
    ways = ways_of(nodes, starts, ends)
    walk = _Walk(nodes, ways, ends)
    for name in ways.order:
        if name in ways.reached:
            walk.enter(name)
    for name, branch in ways.lost:
        if name in ways.reached:
            walk.lose(name, branch)
    walk.find_incomplete()
    joins = {split: tuple(closed) for split, closed in walk.closed.items()}
    return Nesting(ways, walk.inside, joins, _incoming(nodes, walk), _root_causes(walk.found, ways.order))


class _Walk:
    """The stacks, carried from step to step."""

    def __init__(self, nodes: Mapping[str, Node], ways: Ways, ends: tuple[str, ...]) -> None:
        self._nodes = nodes
        self._ways = ways
        self._ends = ends
        self._ways_in: dict[str, list[tuple[str, int]]] = {name: [] for name in nodes}
        for name in ways.order:
            for branch, target in ways.out[name]:
                self._ways_in[target].append((name, branch))
        self._unknown: dict[str, set[int]] = {}
        """For each split the branches that can't be followed to their join."""
        self._doubtful: dict[str, tuple[str, ...]] = {}
        """For each step the fan-outs that a problem before it makes count as closed, perhaps wrongly."""
        self.inside: dict[str, Stack | None] = {}
        self.closed: dict[str, dict[str, frozenset[int]]] = {}
        """For each fan-out, for each join that closes it: the branches that lead there."""
        self.found: list[Imbalance] = []

    def enter(self, name: str) -> None:
        """Find the stack of a step from those of the steps that lead to it."""
        node = self._nodes[name]
        ways_in = [(source, branch) for source, branch in self._ways_in[name] if source in self._ways.reached]
        doubtful = (split for source, _ in ways_in for split in self._doubtful[source])
        self._doubtful[name] = tuple(dict.fromkeys(doubtful))
        stacks = [self.leaving(source, branch) for source, branch in ways_in]
        arrivals = [
            Arrival(source, stack) for (source, _), stack in zip(ways_in, stacks, strict=True) if stack is not None
        ]
        if len(arrivals) < len(stacks):
            self._forget(arrival.stack for arrival in arrivals)
            self.inside[name] = None
        elif not arrivals:
            self.inside[name] = ()
            if node.is_join:
                self._report(ImbalanceKind.NOTHING_OPEN, name, (), splits=())
        elif node.is_join:
            self.inside[name] = self._join(node, arrivals)
        elif name in self._ends:
            self.inside[name] = self._end(name, arrivals)
        else:
            self.inside[name] = self._meet(name, arrivals)
        if node.kind is NodeKind.INVALID or not (self._ways.out[name] or name in self._ends):
            self._forget([self.inside[name] or ()])

    def leaving(self, name: str, branch: int) -> Stack | None:
        """The levels that are open on a branch of a step."""
        node, stack = self._nodes[name], self.inside[name]
        if stack is None or node.kind is NodeKind.INVALID:
            return None
        return (*stack, {name: frozenset((branch,))}) if node.kind in FAN_OUTS else stack

    def lose(self, name: str, branch: int) -> None:
        """A branch leads nowhere that can be known."""
        self._forget([self.leaving(name, branch) or ()])

    def _forget(self, stacks: Iterable[Stack]) -> None:
        for stack in stacks:
            for level in stack:
                for split, branches in level.items():
                    self._unknown.setdefault(split, set()).update(branches)

    def _meet(self, name: str, arrivals: Sequence[Arrival]) -> Stack:
        merged, agreed = _merged([arrival.stack for arrival in arrivals])
        if agreed:
            return merged
        depth = len(merged)
        deeper = [arrival.stack[depth] for arrival in arrivals if len(arrival.stack) > depth]
        kind = ImbalanceKind.MEET if len(deeper) == len(arrivals) else ImbalanceKind.DEPTHS
        splits = _splits(deeper)
        self._doubtful[name] += splits
        self._report(kind, name, arrivals, splits=splits)
        return merged

    def _end(self, name: str, arrivals: Sequence[Arrival]) -> Stack:
        still_open = [arrival for arrival in arrivals if arrival.stack]
        if still_open:
            levels = [level for arrival in still_open for level in arrival.stack]
            self._report(ImbalanceKind.OPEN_AT_END, name, still_open, splits=_splits(levels))
        return ()

    def _join(self, node: Node, arrivals: Sequence[Arrival]) -> Stack:
        inner = [arrival for arrival in arrivals if arrival.stack]
        if len(inner) < len(arrivals):
            outside = [arrival for arrival in arrivals if not arrival.stack]
            splits = _splits(level for arrival in inner for level in arrival.stack)
            self._report(ImbalanceKind.NOTHING_OPEN, node.name, outside, splits=splits + self._doubtful[node.name])
            return ()
        straight = [arrival for arrival in arrivals if self._nodes[arrival.source].kind is NodeKind.SPLIT]
        if straight:
            splits = tuple(arrival.source for arrival in straight)
            self._report(ImbalanceKind.SPLIT_INTO_JOIN, node.name, straight, splits=splits)
        outer, agreed = _merged([arrival.stack[:-1] for arrival in arrivals])
        if not agreed:
            levels = [level for arrival in arrivals for level in arrival.stack[len(outer) :]]
            self._report(ImbalanceKind.UNRELATED, node.name, arrivals, splits=_splits(levels))
            return outer
        for arrival in arrivals:
            for split, branches in arrival.stack[-1].items():
                closed = self.closed.setdefault(split, {})
                closed[node.name] = closed.get(node.name, frozenset()) | branches
        return outer

    def find_incomplete(self) -> None:
        for split, closed in self.closed.items():
            node = self._nodes[split]
            if node.kind is not NodeKind.SPLIT:
                continue
            known = frozenset(range(len(node.out))) - self._unknown.get(split, set())
            for join, branches in closed.items():
                missing = tuple(node.out[branch] for branch in sorted(known - branches))
                if missing:
                    kind = ImbalanceKind.INCOMPLETE
                    self.found.append(Imbalance(kind=kind, step=join, sources=missing, splits=(split,)))

    def _report(self, kind: ImbalanceKind, step: str, arrivals: Sequence[Arrival], *, splits: tuple[str, ...]) -> None:
        sources = tuple(dict.fromkeys(arrival.source for arrival in arrivals))
        self.found.append(Imbalance(kind=kind, step=step, sources=sources, splits=splits))

    def branch_of(self, source: str, target: str) -> tuple[int, ...]:
        """For the order of a join's branches."""
        for name, branch in self._ways_in[target]:
            if name == source and name in self.inside:
                stack = self.leaving(name, branch)
                if stack:
                    return tuple(min(branches) for branches in stack[-1].values())
        return ()


def _merged(stacks: Sequence[Stack]) -> tuple[Stack, bool]:
    """The stack that stands for all of them, and True; or what they have in common on the outside, and False."""
    merged: list[Level] = []
    for levels in zip(*stacks, strict=False):
        union: Level = {}
        for level in levels:
            for split, branches in level.items():
                if union.setdefault(split, branches) != branches:
                    return tuple(merged), False
        merged.append(union)
    return tuple(merged), len({len(stack) for stack in stacks}) == 1


def _splits(levels: Iterable[Level]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(split for level in levels for split in level))


def _incoming(nodes: Mapping[str, Node], walk: _Walk) -> dict[str, tuple[str, ...]]:
    incoming: dict[str, list[str]] = {name: [] for name in nodes}
    for node in nodes.values():
        for target in node.out:
            if target in incoming:
                incoming[target].append(node.name)
    for name, sources in incoming.items():
        if nodes[name].is_join:
            sources.sort(key=lambda source: walk.branch_of(source, name))
    return {name: tuple(sources) for name, sources in incoming.items()}


def _root_causes(found: Iterable[Imbalance], order: Sequence[str]) -> tuple[Imbalance, ...]:
    """Without those that only follow from one before: one split that isn't closed well upsets all that comes after."""
    place = {step: number for number, step in enumerate(order)}
    causes: list[Imbalance] = []
    upset: set[str] = set()
    for imbalance in sorted(found, key=lambda imbalance: place[imbalance.step]):
        if upset.isdisjoint(imbalance.splits):
            causes.append(imbalance)
        upset.update(imbalance.splits)
    return tuple(causes)
