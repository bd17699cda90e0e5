"""Checks of how fan-outs, switches and joins fit together."""

from __future__ import annotations

from collections.abc import Iterator

from asyncflow.graph import FaultKind, Node, NodeKind
from asyncflow.graph.nesting import Imbalance, ImbalanceKind
from asyncflow.graph.nodes import FAN_OUTS
from asyncflow.lint.problems import Inspection, Problem, listed

_REMEDIES = {
    ImbalanceKind.OPEN_AT_END: "Add a join before it: a step `def join(self, inputs):` to which every branch leads.",
    ImbalanceKind.MEET: "Make it a join: `def {step}(self, inputs):`. Or give each branch steps of its own.",
    ImbalanceKind.DEPTHS: "Join before this step, so that it is reached in one way.",
    ImbalanceKind.UNRELATED: "Give each split a join of its own, the innermost first.",
    ImbalanceKind.NOTHING_OPEN: "Write `def {step}(self):` if it isn't a join. Ways that a switch chose between meet in "
    "an ordinary step; a join needs a split or a foreach before it.",
    ImbalanceKind.INCOMPLETE: "Let every branch of a split end in the same join.",
    ImbalanceKind.SPLIT_INTO_JOIN: "Put a step between the split and the join, or leave this branch out.",
}


def check_balance(inspection: Inspection) -> Iterator[Problem]:
    """AF13."""
    unclosed = {node.incoming[0] for node in inspection.graph if node.incoming and _lacks_join(inspection, node)}
    for imbalance in inspection.nesting.imbalances:
        if imbalance.splits and unclosed.issuperset(imbalance.splits):
            continue  # AF17 has said it.
        message = _message(inspection, imbalance)
        if message:
            remedy = _REMEDIES[imbalance.kind].format(step=imbalance.step)
            yield inspection.at_step("AF13", inspection.graph[imbalance.step], message, remedy)


def _message(inspection: Inspection, imbalance: Imbalance) -> str:
    """Empty where another check says it."""
    splits = " and ".join(_named(inspection.graph[split]) for split in imbalance.splits)
    sources = listed(imbalance.sources) if imbalance.sources else ""
    match imbalance.kind:
        case ImbalanceKind.OPEN_AT_END:
            return f"It is the end, but on the way from {sources} there is no join for {splits}."
        case ImbalanceKind.MEET:
            return f"It isn't a join, but branches of {splits} meet here, coming from {sources}."
        case ImbalanceKind.DEPTHS:
            return f"It is reached both from inside and from outside of {splits}, coming from {sources}."
        case ImbalanceKind.UNRELATED:
            return f"It joins branches that don't belong together: {sources} lead here, from within {splits}."
        case ImbalanceKind.NOTHING_OPEN:
            return _nothing_open(inspection, imbalance)
        case ImbalanceKind.INCOMPLETE:
            return f"It joins {splits}, but not all of its branches lead here: {sources} is missing."
        case ImbalanceKind.SPLIT_INTO_JOIN:
            return f"It is a join, and a branch of {splits} leads straight into it."


def _nothing_open(inspection: Inspection, imbalance: Imbalance) -> str:
    faults = {fault.kind for fault in inspection.graph[imbalance.step].faults}
    if imbalance.step in inspection.ends or FaultKind.EXTRA_ARGUMENTS in faults:
        return ""  # AF05: the end is a join. AF07: the arguments say nothing.
    sources = [name for name in imbalance.sources if inspection.graph[name].kind is not NodeKind.SWITCH]
    if sources:
        return f"It takes `inputs`, so it is a join, but on the way from {listed(sources)} there is nothing to join."
    if not imbalance.sources:
        return "It takes `inputs`, so it is a join, but it is the start."
    return ""  # AF19: a switch leads straight into it.


def _named(node: Node) -> str:
    match node.kind:
        case NodeKind.FOREACH:
            return f"the foreach in '{node.name}'"
        case NodeKind.PARALLEL:
            return f"the num_parallel in '{node.name}'"
        case _:
            return f"the split in '{node.name}'"


def check_straight_into_join(inspection: Inspection) -> Iterator[Problem]:
    """AF15 and AF19."""
    for node in inspection.graph:
        for target in _joins_after(inspection, node):
            match node.kind:
                case NodeKind.FOREACH | NodeKind.PARALLEL:
                    message = f"Its fan-out leads straight into the join '{target}'."
                    remedy = "Fan out onto a step that does something with one item, and let that lead to the join."
                    yield inspection.at_next("AF15", node, message, remedy)
                case NodeKind.SWITCH if target != node.name:
                    message = f"Its switch leads straight into the join '{target}'."
                    remedy = f"Put a step between: one that does nothing but self.next(self.{target}) will do."
                    yield inspection.at_next("AF19", node, message, remedy)
                case _:
                    pass


def check_parallel(inspection: Inspection) -> Iterator[Problem]:
    """AF16, AF17, AF18."""
    graph = inspection.graph
    for node in graph:
        if node.kind is NodeKind.PARALLEL:
            for target in node.out:
                if target in graph and not graph[target].is_parallel and not graph[target].is_join:
                    message = f"Its num_parallel leads to '{target}', which isn't under @parallel."
                    yield inspection.at_next("AF16", node, message, f"Write @parallel above the @step of '{target}'.")
        if not node.is_parallel:
            continue
        if _lacks_join(inspection, node):
            remedy = "Lead from it to a join, a step with `(self, inputs)`: self.next(self.join)."
            yield inspection.at_next("AF17", node, "It is under @parallel, but no join follows it.", remedy)
        plain = [name for name in node.incoming if not _may_be_parallel(graph[name])]
        if plain or node.name in inspection.starts:
            ways = f"it is reached from {listed(plain)}" if plain else "it is the start, reached"
            remedy = f"Reach it by self.next(self.{node.name}, num_parallel=n) only, or take @parallel away."
            yield inspection.at_step("AF18", node, f"It is under @parallel, but {ways} without num_parallel.", remedy)


def _lacks_join(inspection: Inspection, node: Node) -> bool:
    """Whether a ``@parallel`` step certainly leads elsewhere than to a join."""
    if not node.is_parallel or node.kind is NodeKind.INVALID:
        return False
    if node.name in inspection.ends:
        return True
    known = [target for target in node.out if target in inspection.graph]
    return node.kind in FAN_OUTS or len(_joins_after(inspection, node)) < len(known)


def _may_be_parallel(node: Node) -> bool:
    """Whether a step's way on is by ``num_parallel``, or so garbled that it may have been meant."""
    return node.kind is NodeKind.PARALLEL or any(
        fault.kind in {FaultKind.MIXED_FORMS, FaultKind.UNKNOWN_KEYWORD, FaultKind.SEVERAL_TARGETS}
        for fault in node.faults
    )


def _joins_after(inspection: Inspection, node: Node) -> list[str]:
    return [target for target in node.out if target in inspection.graph and inspection.graph[target].is_join]


CHECKS = (check_balance, check_straight_into_join, check_parallel)
