"""The ways between the steps of a flow: an order of the steps, the cycles, what can be reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush

from msgspec import Struct

from asyncflow.graph.nodes import Node, NodeKind


class Ways(Struct, frozen=True, kw_only=True):
    """The ways of a flow without those that lead nowhere or back: what is left has no cycle.

    A branch is the place of a target in ``Node.out``.
    """

    order: tuple[str, ...]
    """All steps, each after those that lead to it, and otherwise in the order given."""
    out: dict[str, tuple[tuple[int, str], ...]]
    """For each step the (branch, target) pairs that are left."""
    lost: tuple[tuple[str, int], ...]
    """(step, branch) of the ways that were left out: to an unknown step, into the start, back in a cycle."""
    cycles: tuple[tuple[str, ...], ...]
    """Each as the steps one passes, the first again at the end; a switch onto itself is none."""
    reached: frozenset[str]
    """The steps that can be reached from a start."""


def ways_of(nodes: Mapping[str, Node], starts: tuple[str, ...], ends: tuple[str, ...]) -> Ways:
    closed = starts[0] if len(starts) == 1 else None
    search = _Search({node.name: _targets(node, ends) for node in nodes.values()}, closed)
    for root in (*starts, *nodes):
        search.visit(root)
    return Ways(
        order=_ordered(search.out),
        out={step: tuple(ways) for step, ways in search.out.items()},
        lost=tuple(search.lost),
        cycles=tuple(search.cycles),
        reached=reachable(search.out, starts),
    )


def reachable(out: Mapping[str, Iterable[tuple[int, str]]], roots: Iterable[str]) -> frozenset[str]:
    """The roots and all that follows them."""
    waiting = list(roots)
    found = set(waiting)
    while waiting:
        for _, target in out[waiting.pop()]:
            if target not in found:
                found.add(target)
                waiting.append(target)
    return frozenset(found)


def _targets(node: Node, ends: tuple[str, ...]) -> list[tuple[int, str]]:
    """Where a step leads; not from an end, and not the way of a recursion back to itself."""
    if node.name in ends:
        return []
    return [(branch, to) for branch, to in enumerate(node.out) if node.kind is not NodeKind.SWITCH or to != node.name]


class _Search:
    """A walk in depth over all ways, without recursion: a generated flow may be a chain of thousands of steps."""

    def __init__(self, targets: Mapping[str, list[tuple[int, str]]], closed: str | None) -> None:
        self._targets = targets
        self._closed = closed
        self._seen: set[str] = set()
        self.out: dict[str, list[tuple[int, str]]] = {step: [] for step in targets}
        self.lost: list[tuple[str, int]] = []
        self.cycles: list[tuple[str, ...]] = []

    def visit(self, root: str) -> None:
        if root in self._seen:
            return
        self._seen.add(root)
        path: dict[str, Iterator[tuple[int, str]]] = {root: iter(self._targets[root])}
        while path:
            step, rest = next(reversed(path.items()))
            for branch, target in rest:
                if self._take(path, step, branch, target):
                    path[target] = iter(self._targets[target])
                    break
            else:
                path.popitem()

    def _take(self, path: Iterable[str], step: str, branch: int, target: str) -> bool:
        """Whether ``target`` is to be visited now."""
        if target not in self.out or target == self._closed:
            self.lost.append((step, branch))
            return False
        if target in path:
            self.lost.append((step, branch))
            passed = list(path)
            self.cycles.append((*passed[passed.index(target) :], target))
            return False
        self.out[step].append((branch, target))
        if target in self._seen:
            return False
        self._seen.add(target)
        return True


def _ordered(out: Mapping[str, list[tuple[int, str]]]) -> tuple[str, ...]:
    place = {step: number for number, step in enumerate(out)}
    waits_for = dict.fromkeys(out, 0)
    for ways in out.values():
        for _, target in ways:
            waits_for[target] += 1
    ready = [(place[step], step) for step, count in waits_for.items() if count == 0]
    heapify(ready)
    ordered: list[str] = []
    while ready:
        _, step = heappop(ready)
        ordered.append(step)
        for _, target in out[step]:
            waits_for[target] -= 1
            if waits_for[target] == 0:
                heappush(ready, (place[target], target))
    return tuple(ordered)
