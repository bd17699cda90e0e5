"""What the ``self.next`` of a step says."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from msgspec import Struct

from asyncflow.graph.nodes import Fault, FaultKind, NodeKind

CaseKey: TypeAlias = str | int | float | bool

LONGEST_EXACT_INT = 2**63 - 1
"""Larger integers don't survive JSON."""


class Transition(Struct, frozen=True, kw_only=True):
    """The fields of a ``Node`` that come from its ``self.next``."""

    kind: NodeKind
    out: tuple[str, ...] = ()
    foreach_var: str | None = None
    condition: str | None = None
    cases: tuple[tuple[CaseKey, str], ...] = ()
    line: int | None = None
    faults: tuple[Fault, ...] = ()


def read_transition(definition: ast.FunctionDef | ast.AsyncFunctionDef, *, instance: str) -> Transition:
    """The last statement of the body counts. ``instance`` is the name of the first argument."""
    names = {instance, "self"}
    last = definition.body[-1]
    if isinstance(last, ast.Expr) and (call := _next_call(last.value, names)) is not None:
        return _Reader(call, names).read()
    misplaced = [call for node in _own(definition.body) if (call := _next_call(node, names)) is not None]
    if not misplaced:
        return Transition(kind=NodeKind.END)
    found = [_Reader(call, names).read() for call in misplaced]
    return Transition(
        kind=NodeKind.INVALID,
        out=tuple(dict.fromkeys(step for transition in found for step in transition.out)),
        line=misplaced[-1].lineno,
        faults=(Fault(FaultKind.MISPLACED_NEXT, misplaced[-1].lineno),),
    )


def _next_call(node: ast.AST, names: set[str]) -> ast.Call | None:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="next")) if name in names:
            return node
        case _:
            return None


def _own(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Everything in a body but what stands in functions and classes of its own."""
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for node in body:
        if not isinstance(node, inner):
            yield node
            yield from _own(ast.iter_child_nodes(node))


class _Reader:
    """Reads one call of ``self.next``, gathering faults."""

    def __init__(self, call: ast.Call, names: set[str]) -> None:
        self._call = call
        self._names = names
        self._faults: list[Fault] = []
        self._keywords = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
        self._is_switch = "condition" in self._keywords or any(isinstance(arg, ast.Dict) for arg in call.args)

    def read(self) -> Transition:
        self._check_keywords()
        transition = self._read_switch() if self._is_switch else self._read_targets()
        lost = {FaultKind.NO_TARGET, FaultKind.UNREADABLE_TARGET, FaultKind.CASE_TARGET, FaultKind.MIXED_FORMS}
        unknown = transition.kind in {NodeKind.FOREACH, NodeKind.PARALLEL} and len(transition.out) != 1
        if unknown or any(fault.kind in lost for fault in self._faults):
            return Transition(
                kind=NodeKind.INVALID, out=transition.out, line=self._call.lineno, faults=tuple(self._faults)
            )
        return transition

    def _fault(self, kind: FaultKind, node: ast.AST | None = None) -> None:
        text = "" if node is None else _text(node)
        self._faults.append(Fault(kind, getattr(node, "lineno", self._call.lineno), text))

    def _check_keywords(self) -> None:
        for keyword in self._call.keywords:
            if keyword.arg not in {"foreach", "num_parallel", "condition"}:
                self._fault(FaultKind.UNKNOWN_KEYWORD, keyword)
        forms = [name for name in ("foreach", "num_parallel") if name in self._keywords]
        if len(forms) + self._is_switch > 1:
            self._fault(FaultKind.MIXED_FORMS)

    def _step(self, node: ast.expr) -> str | None:
        """The step that ``self.step`` names."""
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=step) if name in self._names:
                return step
            case _:
                return None

    # -- linear, split, foreach, num_parallel

    def _read_targets(self) -> Transition:
        out: list[str] = []
        for argument in self._call.args:
            step = self._step(argument)
            if step is None:
                self._fault(FaultKind.UNREADABLE_TARGET, argument)
            elif step in out:
                self._fault(FaultKind.REPEATED_TARGET, argument)
            else:
                out.append(step)
        if not self._call.args:
            self._fault(FaultKind.NO_TARGET)
        kind = self._kind()
        if kind in {NodeKind.FOREACH, NodeKind.PARALLEL} and len(self._call.args) > 1:
            self._fault(FaultKind.SEVERAL_TARGETS)
        return Transition(
            kind=kind,
            out=tuple(out),
            foreach_var=self._foreach_var(),
            line=self._call.lineno,
            faults=tuple(self._faults),
        )

    def _kind(self) -> NodeKind:
        if "foreach" in self._keywords:
            return NodeKind.FOREACH
        if "num_parallel" in self._keywords:
            return NodeKind.PARALLEL
        return NodeKind.LINEAR if len(self._call.args) < 2 else NodeKind.SPLIT

    def _foreach_var(self) -> str | None:
        match self._keywords.get("foreach"):
            case ast.Constant(value=str(name)) if name:
                return _encodable(name)
            case ast.Constant() as constant:
                self._fault(FaultKind.FOREACH_NAME, constant)
                return None
            case _:
                return None

    # -- switch

    def _read_switch(self) -> Transition:
        condition = self._condition()
        match self._call.args:
            case [ast.Dict() as table]:
                cases = self._cases(table)
            case []:
                cases = {}
            case arguments if any(isinstance(argument, ast.Dict) for argument in arguments):
                self._fault(FaultKind.CASES_NOT_ALONE)
                cases = {}
            case _:
                cases = {}
        if not self._faults_in_cases():
            if not cases:
                self._fault(FaultKind.NO_CASES)
            elif len(cases) == 1:
                self._fault(FaultKind.ONE_CASE)
        named = self._named_anywhere() if not cases else [step for _, step in cases.values()]
        return Transition(
            kind=NodeKind.SWITCH if cases else NodeKind.INVALID,
            out=tuple(dict.fromkeys(named)),
            condition=condition,
            cases=tuple(cases.values()),
            line=self._call.lineno,
            faults=tuple(self._faults),
        )

    def _condition(self) -> str | None:
        match self._keywords.get("condition"):
            case ast.Constant(value=str(name)) if name:
                return _encodable(name)
            case None:
                self._fault(FaultKind.NO_CONDITION)
            case other:
                self._fault(FaultKind.CONDITION_NAME, other)
        return None

    def _cases(self, table: ast.Dict) -> dict[object, tuple[CaseKey, str]]:
        """By what tells keys apart, which isn't how they are written: ``True`` equals ``1``."""
        cases: dict[object, tuple[CaseKey, str]] = {}
        for key, value in zip(table.keys, table.values, strict=True):
            step = None if key is None else self._step(value)
            read = None if key is None else _case_key(key, self._names)
            if key is not None and read is None:
                self._fault(FaultKind.CASE_KEY, key)
            if step is None:
                self._fault(FaultKind.CASE_TARGET, value)
            else:
                identity, shown = read or (object(), "")
                if cases.get(identity, (shown, step))[1] != step:
                    self._fault(FaultKind.REPEATED_KEY, key)
                    identity = object()
                cases[identity] = (shown, step)
        return cases

    def _faults_in_cases(self) -> bool:
        kinds = {FaultKind.CASE_KEY, FaultKind.CASE_TARGET, FaultKind.CASES_NOT_ALONE, FaultKind.MIXED_FORMS}
        return any(fault.kind in kinds for fault in self._faults)

    def _named_anywhere(self) -> Iterator[str]:
        """Steps that are named in a call that makes no sense, so that nobody is told they can't be reached."""
        for argument in self._call.args:
            for node in ast.walk(argument):
                step = self._step(node) if isinstance(node, ast.expr) else None
                if step is not None:
                    yield step


def _case_key(node: ast.expr, names: set[str]) -> tuple[object, CaseKey] | None:
    """What tells the key apart, and how it is shown: a literal as itself where JSON can say it, else as its source."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=value):
            return value, _shown(value, node)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value, _shown(-value, node)
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id=name))) if name in names:
            text = _text(node)
            return ("expression", text), text
        case _:
            return None


def _shown(value: object, node: ast.expr) -> CaseKey:
    match value:
        case bool():
            return value
        case str() if value == _encodable(value):
            return value
        case int() if abs(value) <= LONGEST_EXACT_INT:
            return value
        case float() if abs(value) != float("inf"):
            return value
        case _:
            return _encodable(_text(node))


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return _encodable(text if len(text) <= 60 else text[:57] + "...")


def _encodable(text: str) -> str:
    # A lone surrogate may stand in a literal, but not in UTF-8.
    return text.encode(errors="replace").decode()
