"""Flows made of source text, for the tests of graph and lint."""

import itertools
import re
import sys
import textwrap
import types
from pathlib import Path

from asyncflow.graph import FlowGraph
from asyncflow.lint import check

PRELUDE = "from asyncflow.flow import FlowSpec, step\nfrom flow_sources import parallel, retry\n"
_numbers = itertools.count()


def parallel(method):
    """Stands in for the decorator: the graph reads its name in the source."""
    return method


def retry(**options):
    del options
    return lambda method: method


def define(source: str, folder: Path) -> type:
    """The class ``F`` of a flow file with ``source``; the lines are those of ``source``."""
    file = folder / f"flow_{next(_numbers)}.py"
    file.write_text(textwrap.dedent(source), encoding="utf-8")
    module = sys.modules[file.stem] = types.ModuleType(file.stem)
    module.__file__ = str(file)
    namespace = vars(module)
    exec(compile(PRELUDE, "prelude", "exec"), namespace)
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), namespace)
    return namespace["F"]


def graph_of(source: str, folder: Path) -> FlowGraph:
    return FlowGraph.of(define(source, folder))


def problems_of(source: str, folder: Path) -> list[tuple[str, int, str]]:
    """(code, line, step) of all problems."""
    return [(problem.code, problem.line, problem.step) for problem in check(graph_of(source, folder))]


def marked(source: str) -> list[tuple[str, int, str]]:
    """What the comments in ``source`` expect: ``# AF08`` at a line of a step, ``# flow AF02`` at one of the class."""
    expected = []
    step = ""
    for number, line in enumerate(textwrap.dedent(source).splitlines(), start=1):
        code, _, comment = line.partition("#")
        if found := re.search(r"def (\w+)", code):
            step = found[1]
        subject = "" if "flow" in comment else step
        expected += [(mark, number, subject) for mark in re.findall(r"AF\d\d", comment)]
    return expected


def steps(text: str) -> str:
    """The source of a flow from one line a step, for what only the shape of the graph matters to.

    ``@retry() join! AF13: self.end  # AF10`` is a step under ``@step`` and ``@retry()``, a join because of
    the ``!``, with AF13 expected at its ``def`` and AF10 at its ``self.next(self.end)``; a line without a colon
    is what is expected at the class.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    flow = next((f"  # {line}" for line in lines if ":" not in line), "")
    source = [f"class F(FlowSpec):{flow}"]
    for line in lines:
        head, colon, rest = line.partition(":")
        if colon:
            source += _step(head.split(), *rest.partition("#")[::2])
    return "\n".join(source) + "\n"


def _step(head: list[str], arguments: str, comment: str) -> list[str]:
    decorators = [word for word in head if word.startswith("@")]
    if not any(decorator.startswith("@step") for decorator in decorators):
        decorators.append("@step")
    name, *expected = (word for word in head if not word.startswith("@"))
    inputs = ", inputs" if name.endswith("!") else ""
    body = f"self.next({arguments.strip()})" if arguments.strip() else "pass"
    return [
        *(f"    {decorator}" for decorator in decorators),
        f"    def {name.rstrip('!')}(self{inputs}):  # {' '.join(expected)}",
        f"        {body}  # {comment}",
    ]
