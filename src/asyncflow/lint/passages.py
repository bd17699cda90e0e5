"""Checks of the ways between steps: the start, the end, where each way leads, what it can reach."""

from __future__ import annotations

import re
from collections.abc import Iterator

from asyncflow.graph import FaultKind, Node, NodeKind
from asyncflow.graph.ways import reachable
from asyncflow.lint.problems import Inspection, Problem, listed


def check_one_start_and_end(inspection: Inspection) -> Iterator[Problem]:
    """AF02 and AF03."""
    if not inspection.graph.nodes:
        name = inspection.graph.name
        yield inspection.of_flow(
            "AF02", f"Flow '{name}' has no steps.", "Write a method `def start(self):` under @step."
        )
        return
    annotated_starts = [node for node in inspection.graph if node.is_start]
    annotated_ends = [node for node in inspection.graph if node.is_end]
    yield from _check_claims(inspection, "start", annotated_starts, inspection.starts)
    yield from _check_claims(inspection, "end", annotated_ends, inspection.ends)


def _check_claims(
    inspection: Inspection, role: str, annotated: list[Node], claims: tuple[str, ...]
) -> Iterator[Problem]:
    if not claims:
        place = "first" if role == "start" else f"last{_probably(inspection.silent)}"
        yield inspection.of_flow(
            "AF02",
            f"Flow '{inspection.graph.name}' has no {role} step.",
            f"Call the {place} step '{role}', or mark it @step({role}=True).",
        )
    if len(annotated) > 1:
        names = listed([node.name for node in annotated])
        message = f"There is more than one @step({role}=True): {names}."
        yield inspection.at_step("AF02", annotated[1], message, f"Leave {role}=True at one of them.")
    if annotated and claims[-1] == role and not any(node.name == role for node in annotated):
        message = f"It is marked @step({role}=True), but there is also a step called '{role}'."
        remedy = f"Take {role}=True away here, or give the step '{role}' another name."
        yield inspection.at_step("AF03", annotated[0], message, remedy)


def _probably(silent: list[Node]) -> str:
    return f" (perhaps '{silent[0].name}')" if len(silent) == 1 else ""


def check_start_and_end(inspection: Inspection) -> Iterator[Problem]:
    """AF04 and AF05."""
    if len(inspection.starts) == 1:
        start = inspection.starts[0]
        for node in inspection.graph:
            if start in node.out and node.name not in inspection.ends:
                what = (
                    "It leads to itself, and it is the start"
                    if node.name == start
                    else f"It leads to the start, '{start}'"
                )
                remedy = "Nothing may lead to the start: add a step after it, and lead there."
                yield inspection.at_next("AF04", node, f"{what}.", remedy)
    if len(inspection.ends) == 1:
        end = inspection.graph[inspection.ends[0]]
        if end.next_line is not None:
            remedy = "Take its self.next away, or let another step be the end."
            yield inspection.at_next("AF05", end, "It is the end, but it has a self.next.", remedy)
        if end.is_join:
            remedy = f"Write `def {end.name}(self):`, and add a join before it: a step with `(self, inputs)`."
            yield inspection.at_step("AF05", end, "It is the end, but it takes `inputs` as a join does.", remedy)


def check_targets(inspection: Inspection) -> Iterator[Problem]:
    """AF10."""
    missing = {role for role, claims in (("start", inspection.starts), ("end", inspection.ends)) if not claims}
    for node in inspection.graph:
        for target in node.out:
            # A missing start or end is AF02 already.
            if target in inspection.graph or target in missing or node.name in inspection.ends:
                continue
            close = inspection.close_to(target)
            hint = f"Did you mean self.{close}? " if close else ""
            remedy = f"{hint}A step is a method under @step: write `def {target}(self):` there, or correct the name."
            yield inspection.at_next("AF10", node, f"Its self.next names '{target}', which is no step.", remedy)


def check_cycles(inspection: Inspection) -> Iterator[Problem]:
    """AF11."""
    for cycle in inspection.nesting.ways.cycles:
        message = f"It closes a cycle: {' → '.join(cycle)}."
        remedy = (
            "Lead on to a step that comes later. To repeat a step until something holds, let it choose itself: "
            "self.next({'again': self.a, 'done': self.b}, condition='name')."
        )
        yield inspection.at_next("AF11", inspection.graph[cycle[-2]], message, remedy)
    for node in inspection.graph:
        if node.is_recursive and set(node.out) == {node.name} and node.name not in inspection.starts:
            remedy = "Let one of its cases lead on."
            yield inspection.at_next(
                "AF11", node, "Every case of its switch is the step itself, so it never ends.", remedy
            )


def check_reached(inspection: Inspection) -> Iterator[Problem]:
    """AF12; not for what a way that is a problem itself was probably meant to reach."""
    if len(inspection.starts) != 1:
        return
    out = inspection.nesting.ways.out
    found = set(inspection.nesting.ways.reached)
    if len(inspection.ends) > 1:
        found.update(inspection.ends)  # AF02 or AF03: which of them is the end isn't known.
    waiting = sorted(found)
    while waiting:
        meant = reachable(out, _meant(inspection, inspection.graph[waiting.pop()])) - found
        found |= meant
        waiting += sorted(meant)
    lone = [node for node in inspection.graph if node.name not in found]
    followers = {target for node in lone for _, target in out[node.name]}
    for node in lone:
        if node.name not in followers:
            after = [
                name for name in inspection.graph.nodes if name in reachable(out, [node.name]) - found - {node.name}
            ]
            with_it = f", nor to {listed(after)} after it" if after else ""
            remedy = f"Name it where it should follow: self.next(self.{node.name}). Or remove it."
            yield inspection.at_step("AF12", node, f"No way from '{inspection.starts[0]}' leads here{with_it}.", remedy)


def _meant(inspection: Inspection, node: Node) -> list[str]:
    """Where the ways of a step that lead nowhere known were probably meant to lead."""
    if node.name in inspection.ends:
        return []
    unreadable = {FaultKind.UNREADABLE_TARGET, FaultKind.CASE_TARGET}
    texts = [fault.text for fault in node.faults if fault.kind in unreadable]
    if texts:
        words = {word for text in texts for word in re.findall(r"\w+", text)}
        return [name for name in inspection.graph.nodes if name in words] or list(inspection.graph.nodes)
    unknown = any(inspection.right_name(target) not in inspection.graph for target in node.out)
    lost = any(step == node.name for step, _ in inspection.nesting.ways.lost)
    if not inspection.nesting.ways.out[node.name] or (lost and (unknown or node.kind is not NodeKind.SWITCH)):
        return _following(inspection, node)
    return []


def _following(inspection: Inspection, node: Node) -> list[str]:
    """The step that comes next in the file, and the end, which every way must come to."""
    later = [other for other in inspection.graph if other.file == node.file and other.line > node.line]
    following = min(later, key=lambda other: other.line, default=None)
    return [*inspection.ends, *([following.name] if following else [])]


CHECKS = (check_one_start_and_end, check_start_and_end, check_targets, check_cycles, check_reached)
