"""The checks of a flow's graph, made before any task starts. All problems are told at once.

Each check has a code of its own, which never changes:

====  ==========================================================================================
AF01  a step has a reserved name
AF02  there isn't exactly one start and one end
AF03  ``@step(start=True)`` or ``@step(end=True)`` contradicts a step called ``start`` or ``end``
AF04  a step leads to the start
AF05  the end has a ``self.next``, or is a join
AF06  a step's name isn't made of ``a-z 0-9 _``, or begins with ``_``
AF07  a step has wrong arguments, or joins and splits at once
AF08  a step's last statement isn't ``self.next``
AF09  a ``self.next`` has no valid form
AF10  a ``self.next`` names an unknown step
AF11  steps form a cycle
AF12  a step can't be reached
AF13  splits and joins don't balance
AF14  a switch lacks its condition or its cases
AF15  a foreach leads straight into a join
AF16  ``num_parallel`` leads to a step without ``@parallel``
AF17  a ``@parallel`` step isn't followed by a join
AF18  a ``@parallel`` step is reached without ``num_parallel``
AF19  a switch leads straight into a join
====  ==========================================================================================

One mistake is told once: what only follows from another problem is left out.
"""

from __future__ import annotations

from asyncflow.errors import GraphError
from asyncflow.graph import FlowGraph
from asyncflow.lint.problems import Problem

__all__ = ["Problem", "check", "ensure_valid"]


def check(graph: FlowGraph) -> list[Problem]:
    """All problems of ``graph`` in the order of the source; none if the flow can run."""
    from asyncflow.lint import balance, passages, steps
    from asyncflow.lint.problems import Inspection

    inspection = Inspection(graph)
    checks = (*steps.CHECKS, *passages.CHECKS, *balance.CHECKS)
    problems = [problem for one_check in checks for problem in one_check(inspection)]
    # The flow's own file comes first, before those of its base classes.
    return sorted(problems, key=lambda problem: (problem.file != graph.file, problem.file, problem.line, problem.code))


def ensure_valid(graph: FlowGraph) -> None:
    """Raises ``GraphError``, which lists all problems, if there is any."""
    problems = check(graph)
    if problems:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        listed = "\n".join(map(str, problems))
        raise GraphError(f"Flow '{graph.name}' can't run: its graph has {count}.\n{listed}", problems)
