"""Steps read from the source files of a flow. Nothing of the flow is run.

Each file is parsed once, whole, and its functions are found by their first line: with ``linecache`` this
works in notebooks too, and costs less than ``inspect`` does to be imported.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from msgspec import Struct

from asyncflow.errors import GraphError
from asyncflow.graph.nodes import Fault, FaultKind, Node
from asyncflow.graph.transitions import read_transition

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


class FlowSource(Struct, frozen=True):
    """What the source says of a flow."""

    nodes: list[Node]
    """Those of a base class before those of its subclasses, and otherwise in the order of the source."""
    doc: str
    file: str
    line: int


class SourceFile:
    """One parsed file: its functions by first line and name, the lines of its classes by qualified name."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.functions: dict[tuple[int, str], Definition] = {}
        self.classes: dict[str, int] = {}
        self._index(ast.parse("".join(lines)).body, "")

    def _index(self, body: Iterable[ast.AST], prefix: str) -> None:
        for statement in body:
            match statement:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    first = min((decorator.lineno for decorator in statement.decorator_list), default=statement.lineno)
                    self.functions[first, statement.name] = statement
                    self._index(statement.body, f"{prefix}{statement.name}.<locals>.")
                case ast.ClassDef():
                    self.classes[prefix + statement.name] = statement.lineno
                    self._index(statement.body, f"{prefix}{statement.name}.")
                case _:
                    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                        self._index(getattr(statement, part, ()), prefix)


_parsed: dict[str, SourceFile] = {}


def source_file(name: str, module: dict[str, Any]) -> SourceFile | None:
    """The file ``name``, parsed as it is now; None where it can't be had. ``module`` is the namespace of its code.

    Raises ``SyntaxError``.
    """
    linecache.checkcache(name)
    lines = linecache.getlines(name, module)
    if not lines:
        return None
    known = _parsed.get(name)
    if known is None or known.lines is not lines:
        known = _parsed[name] = SourceFile(lines)
    return known


def read_flow(flow_class: type) -> FlowSource:
    """Raises ``GraphError`` where the source of a step can't be had."""
    attributes: dict[str, object] = {}
    for base in reversed(flow_class.__mro__):
        attributes.update(vars(base))
    steps = {name: value for name, value in attributes.items() if getattr(value, "is_step", False) is True}
    file, line = _place_of(flow_class)
    nodes = [_read_step(name, value, flow_class) for name, value in steps.items()]
    return FlowSource(nodes, clean_doc(flow_class.__doc__), file, line)


def _place_of(flow_class: type) -> tuple[str, int]:
    module: dict[str, Any] = getattr(sys.modules.get(flow_class.__module__), "__dict__", {})
    written = [_unwrapped(value) for value in vars(flow_class).values() if getattr(value, "is_step", False) is True]
    codes = (getattr(function, "__code__", None) for function in written)
    file = next((code.co_filename for code in codes if code is not None), None) or module.get("__file__") or ""
    try:
        source = source_file(file, module)
    except SyntaxError:
        source = None
    return file, source.classes.get(flow_class.__qualname__, 0) if source else 0


def _unwrapped(function: object) -> Any:
    """The function as it was written, beneath decorators that tell what they wrap."""
    seen = {id(function)}
    while (inner := getattr(function, "__wrapped__", None)) is not None and id(inner) not in seen:
        seen.add(id(inner))
        function = inner
    return function


def _read_step(name: str, attribute: object, flow_class: type) -> Node:
    function = _unwrapped(attribute)
    file, definition = _definition(name, function, flow_class)
    arguments = [argument.arg for argument in (*definition.args.posonlyargs, *definition.args.args)]
    transition = read_transition(definition, instance=arguments[0] if arguments else "self")
    return Node(
        name=name,
        kind=transition.kind,
        is_join=len(arguments) > 1,
        out=transition.out,
        foreach_var=transition.foreach_var,
        condition=transition.condition,
        cases=transition.cases,
        file=file,
        line=definition.lineno,
        next_line=transition.line,
        doc=clean_doc(function.__doc__),
        decorators=_decorators(definition, attribute),
        is_start=getattr(attribute, "step_start", False) is True,
        is_end=getattr(attribute, "step_end", False) is True,
        faults=(*_argument_faults(definition, arguments, has_next=transition.line is not None), *transition.faults),
    )


def _definition(name: str, function: Any, flow_class: type) -> tuple[str, Definition]:
    where = f"Step '{name}' of flow '{flow_class.__name__}'"
    code = getattr(function, "__code__", None)
    if code is None or code.co_name == "<lambda>":
        raise GraphError(
            f"{where} is {function!r}, which can't be read from the source. Write the step as a method: "
            f"`def {name}(self):` under `@step`."
        )
    file, line = code.co_filename, code.co_firstlineno
    try:
        source = source_file(file, function.__globals__)
    except SyntaxError as error:
        raise GraphError(
            f"{where}: {file} has changed since it was loaded, and can't be read now: {error}. Correct it, and start again."
        ) from error
    if source is None:
        raise GraphError(
            f"{where} was defined in {file}, whose source isn't there. The graph is read from the source: "
            f"keep the flow in a file or in a notebook cell."
        )
    definition = source.functions.get((line, code.co_name))
    if definition is None:
        raise GraphError(
            f"{where}: there is no `def {code.co_name}` in line {line} of {file}. If the file has changed since it was "
            f"loaded, start again; if a decorator made the step, have it use functools.wraps."
        )
    return file, definition


def _decorators(definition: Definition, attribute: object) -> tuple[str, ...]:
    """Names as written, then those of decorators that were added in another way."""
    names = [_last_name(decorator) for decorator in definition.decorator_list]
    names += [str(getattr(decorator, "name", "")) for decorator in getattr(attribute, "decorators", ())]
    return tuple(dict.fromkeys(name for name in names if name and name != "step"))


def _last_name(expression: ast.expr) -> str:
    match expression:
        case ast.Call(func=function):
            return _last_name(function)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def _argument_faults(definition: Definition, names: list[str], *, has_next: bool) -> Iterator[Fault]:
    line = definition.lineno
    if not names:
        yield Fault(FaultKind.NO_SELF, line)
    elif names[0] != "self" and has_next:
        # A step that never names its instance may call it as it likes.
        yield Fault(FaultKind.NOT_SELF, line, names[0])
    if len(names) > 2:
        yield Fault(FaultKind.EXTRA_ARGUMENTS, line, ", ".join(names[2:]))
    by_name = zip(definition.args.kwonlyargs, definition.args.kw_defaults, strict=True)
    needed = [argument.arg for argument, default in by_name if default is None]
    if needed:
        yield Fault(FaultKind.KEYWORD_ARGUMENT, line, ", ".join(needed))


def clean_doc(doc: str | None) -> str:
    """A docstring without the indentation of its source."""
    lines = (doc or "").expandtabs().splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
    cleaned = [line.strip() for line in lines[:1]] + [line[margin:].rstrip() for line in lines[1:]]
    # A lone surrogate may stand in a literal, but not in UTF-8.
    return "\n".join(cleaned).strip().encode(errors="replace").decode()
