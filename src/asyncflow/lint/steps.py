"""Checks of what stands in one step's own text: its name, its arguments, the form of its ``self.next``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from asyncflow.graph import Fault, FaultKind, Node, NodeKind
from asyncflow.graph.nodes import FAN_OUTS
from asyncflow.lint.problems import Inspection, Problem

RESERVED = frozenset({"name", "next", "input", "index", "cmd"})
"""What a flow object or its command line already calls by that name."""

_NAME = re.compile("[a-z0-9][a-z0-9_]*")

_SWITCH = "self.next({'k': self.a, 'm': self.b}, condition='name')."
_FORMS = (
    "Write one of: self.next(self.a), self.next(self.a, self.b), self.next(self.a, foreach='items'), "
    f"self.next(self.a, num_parallel=n), {_SWITCH}"
)

_FAULTS: dict[FaultKind, tuple[str, str, str]] = {
    FaultKind.NO_SELF: ("AF07", "It takes no argument.", "Write `def STEP(self):`."),
    FaultKind.NOT_SELF: (
        "AF07",
        "Its first argument is called 'TEXT'.",
        "Call it `self`: transitions are found as `self.next(...)`.",
    ),
    FaultKind.EXTRA_ARGUMENTS: (
        "AF07",
        "It takes too many arguments: TEXT.",
        "Write `def STEP(self):`, or `def STEP(self, inputs):` for a join.",
    ),
    FaultKind.KEYWORD_ARGUMENT: (
        "AF07",
        "Its argument TEXT can only be given by name, and nobody gives it.",
        "Take it away, or give it a default. Values reach a step as artifacts and parameters: `self.x`.",
    ),
    FaultKind.MISPLACED_NEXT: (
        "AF08",
        "Its last statement isn't self.next.",
        "Let it be the last statement, by itself, not within an `if`, `with` or `try`. To choose, use a switch: "
        + _SWITCH,
    ),
    FaultKind.NO_TARGET: ("AF09", "Its self.next names no step.", _FORMS),
    FaultKind.UNREADABLE_TARGET: (
        "AF09",
        "Its self.next is given `TEXT`, which isn't of the form self.STEP.",
        "The graph is read from the source, so name each step there: self.next(self.a, self.b).",
    ),
    FaultKind.REPEATED_TARGET: (
        "AF09",
        "Its self.next names `TEXT` more than once.",
        "Name each step once; to run one step several times, use foreach.",
    ),
    FaultKind.UNKNOWN_KEYWORD: ("AF09", "Its self.next has an argument that it doesn't know: `TEXT`.", _FORMS),
    FaultKind.MIXED_FORMS: ("AF09", "Its self.next mixes foreach, num_parallel and condition.", _FORMS),
    FaultKind.SEVERAL_TARGETS: (
        "AF09",
        "Its self.next fans out over more than one step.",
        "Fan out onto one step, and split there: self.next(self.a, foreach='items').",
    ),
    FaultKind.FOREACH_NAME: (
        "AF09",
        "Its foreach is TEXT, which isn't the name of an artifact.",
        "Give the name of the artifact to iterate over, as a string: foreach='items'.",
    ),
    FaultKind.CASES_NOT_ALONE: (
        "AF09",
        "Its self.next has arguments beside the dict of cases.",
        "Put all cases into one dict: " + _SWITCH,
    ),
    FaultKind.CASE_KEY: (
        "AF09",
        "Its switch has the key `TEXT`, which can't be read from the source.",
        "Let keys be strings, numbers, True or False, or self.cfg.key of a config.",
    ),
    FaultKind.REPEATED_KEY: (
        "AF14",
        "Its switch has the key `TEXT` a second time, and Python forgets the first.",
        "Give each case a key of its own; True equals 1, and False equals 0.",
    ),
    FaultKind.CASE_TARGET: (
        "AF09",
        "Its switch has `TEXT` in place of a step.",
        "Write each case as 'key': self.STEP.",
    ),
    FaultKind.NO_CONDITION: (
        "AF14",
        "Its switch has no condition.",
        "Name the artifact that decides: " + _SWITCH,
    ),
    FaultKind.CONDITION_NAME: (
        "AF14",
        "The condition of its switch is `TEXT`, not a name in quotes.",
        "Give the name of the artifact that decides, as a string: condition='name'.",
    ),
    FaultKind.NO_CASES: (
        "AF14",
        "Its switch has no cases.",
        "Give at least two: " + _SWITCH,
    ),
    FaultKind.ONE_CASE: (
        "AF14",
        "Its switch has only one case.",
        "Give at least two cases, or write self.next(self.STEP) if there is no choice.",
    ),
}
"""Code, message and remedy of each fault."""

_OF_ARGUMENTS = {FaultKind.NO_SELF, FaultKind.NOT_SELF, FaultKind.EXTRA_ARGUMENTS, FaultKind.KEYWORD_ARGUMENT}


def check_names(inspection: Inspection) -> Iterator[Problem]:
    """AF01 and AF06."""
    for node in inspection.graph:
        if node.name in RESERVED:
            remedy = f"Give it another name; reserved are {', '.join(sorted(RESERVED))}."
            yield inspection.at_step("AF01", node, "Its name is reserved.", remedy)
        elif not _NAME.fullmatch(node.name):
            message = "Its name has other characters than a-z, 0-9 and _, or begins with _."
            yield inspection.at_step("AF06", node, message, f"Call it {_better_name(node.name)}.")


def _better_name(name: str) -> str:
    better = name.lower().strip("_")
    return f"'{better}'" if _NAME.fullmatch(better) and better not in RESERVED else "in another way, such as 'load_2'"


def check_faults(inspection: Inspection) -> Iterator[Problem]:
    """AF07, AF08, AF09, AF14: what can't be accepted in a step's text."""
    for node in inspection.graph:
        for fault in node.faults:
            if fault.kind in _OF_ARGUMENTS or node.name not in inspection.ends:
                yield _of_fault(node, fault)
        if node.is_join and node.kind in {*FAN_OUTS, NodeKind.SWITCH} and node.name not in inspection.ends:
            yield inspection.at_step(
                "AF07",
                node,
                "It takes `inputs`, so it is a join, but it also splits, fans out or chooses.",
                "Make two steps of it: a join, and after it one that goes several ways.",
            )


def _of_fault(node: Node, fault: Fault) -> Problem:
    code, message, remedy = _FAULTS[fault.kind]
    return Problem(
        code,
        node.name,
        node.file,
        fault.line,
        message.replace("TEXT", fault.text),
        remedy.replace("STEP", node.name) if code == "AF07" else remedy,
    )


def check_ends_of_steps(inspection: Inspection) -> Iterator[Problem]:
    """AF08: no ``self.next`` at all."""
    if not inspection.ends and len(inspection.silent) == 1:
        return  # The one that should be the end: AF02.
    for node in inspection.silent:
        remedy = "End it with the step that follows: self.next(self.STEP)."
        if node.incoming and len(inspection.ends) == 1:
            remedy = f"End it with the step that follows, say self.next(self.{inspection.ends[0]})."
        yield inspection.at_step("AF08", node, "It has no self.next.", remedy)


CHECKS = (check_names, check_faults, check_ends_of_steps)
