"""Graphs shown to people: as text, and in the language of graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from asyncflow.graph.nodes import Node, NodeKind

if TYPE_CHECKING:
    from asyncflow.graph.flowgraph import FlowGraph

# -- text ------------------------------------------------------------------------------------------


def to_text(graph: FlowGraph) -> str:
    """Each step in order: its name, its documentation, where it leads. Ends with a line end."""
    paragraphs = ["\n".join(_heading(graph)), *("\n".join(_paragraph(graph, node)) for node in graph)]
    return "\n\n".join(paragraphs) + "\n"


def _heading(graph: FlowGraph) -> Iterator[str]:
    place = f"  ({graph.file})" if graph.file else ""
    yield f"Flow {graph.name}{place}"
    yield from _indented(graph.doc)


def _paragraph(graph: FlowGraph, node: Node) -> Iterator[str]:
    marks = [f"@{name}" for name in node.decorators]
    closes = [other.name for other in graph if other.join == node.name]
    if closes:
        marks.append(f"joins {', '.join(closes)}")
    elif node.is_join:
        marks.append("join")
    yield f"{node.name}  ({', '.join(marks)})" if marks else node.name
    yield from _indented(node.doc)
    yield from (f"    {way}" for way in _ways_on(graph, node))


def _indented(doc: str) -> Iterator[str]:
    yield from (f"    {line}".rstrip() for line in doc.splitlines())


def _ways_on(graph: FlowGraph, node: Node) -> Iterator[str]:
    targets = ", ".join(node.out)
    match node.kind:
        case NodeKind.SWITCH:
            yield f"→ one of, by {node.condition}:"
            keys = [repr(key) if not _is_expression(key) else str(key) for key, _ in node.cases]
            width = max(map(len, keys), default=0)
            for key, (_, step) in zip(keys, node.cases, strict=True):
                again = "  (again)" if step == node.name else ""
                yield f"    {key:<{width}}  → {step}{again}"
        case NodeKind.FOREACH:
            yield f"⇉ {targets}  for each of {node.foreach_var or 'its items'}"
        case NodeKind.PARALLEL:
            yield f"⇉ {targets}  on several nodes at once"
        case NodeKind.SPLIT:
            yield f"→ {targets}  side by side"
        case NodeKind.END if node.name == graph.end:
            yield "■"
        case _:
            yield f"→ {targets or '?'}"


def _is_expression(key: object) -> bool:
    """Whether the key of a case stands as its source: ``self.cfg.key``."""
    return isinstance(key, str) and key.startswith("self.") and key.count(".") == 2


# -- graphviz ----------------------------------------------------------------------------------------

_FONT = "Helvetica,Arial,sans-serif"
_HEAD = f"""\
    graph [fontname="{_FONT}", fontsize=11, fontcolor="#5b6776", labeljust=r, nodesep=0.35, ranksep=0.45, pad=0.3]
    node [fontname="{_FONT}", fontsize=12, fontcolor="#1f2933", shape=box, style="rounded,filled", margin="0.2,0.1"]
    edge [fontname="{_FONT}", fontsize=10, fontcolor="#5b6776", color="#7b8794", arrowsize=0.7, penwidth=1.2]
"""

_COLORS = {  # fill and line
    "terminal": ("#1f2933", "#1f2933"),
    "join": ("#e3f2e6", "#3f9142"),
    NodeKind.SPLIT: ("#e0e8f9", "#4055a8"),
    NodeKind.FOREACH: ("#e0e8f9", "#4055a8"),
    NodeKind.PARALLEL: ("#e0e8f9", "#4055a8"),
    NodeKind.SWITCH: ("#fff3c4", "#cb6e17"),
    NodeKind.INVALID: ("#ffe3e3", "#cf1124"),
}
_PLAIN = ("#f5f7fa", "#9aa5b1")


def to_dot(graph: FlowGraph) -> str:
    """Steps as boxes, what runs once for each item of a foreach in a frame of its own. Ends with a line end."""
    lines = [f"digraph {_quoted(graph.name)} {{", _HEAD.rstrip("\n")]
    lines += _boxes(graph, list(graph), depth=0, indent="    ")
    lines += [f"    {edge}" for node in graph for edge in _edges(node)]
    return "\n".join([*lines, "}"]) + "\n"


def _boxes(graph: FlowGraph, nodes: Sequence[Node], *, depth: int, indent: str) -> Iterator[str]:
    """The boxes of ``nodes``, which share the ``depth`` outermost levels, nested as their fan-outs are."""
    inner: dict[str, list[Node]] = {}
    for node in nodes:
        if len(node.splits) > depth:
            inner.setdefault(node.splits[depth], []).append(node)
        else:
            yield f"{indent}{_box(graph, node)}"
    for split, members in inner.items():
        label = _frame(graph[split])
        if label is None:
            yield from _boxes(graph, members, depth=depth + 1, indent=indent)
            continue
        yield f"{indent}subgraph {_quoted(f'cluster_{split}')} {{"
        yield f'{indent}    graph [label={_quoted(f" {label} ")}, style="rounded,dashed", color="#9aa5b1", margin=14]'
        yield from _boxes(graph, members, depth=depth + 1, indent=indent + "    ")
        yield f"{indent}}}"


def _frame(split: Node) -> str | None:
    match split.kind:
        case NodeKind.FOREACH:
            return f"for each of {split.foreach_var or 'the items'}"
        case NodeKind.PARALLEL:
            return "on several nodes"
        case _:
            return None


def _box(graph: FlowGraph, node: Node) -> str:
    label = "\n".join([node.name, *(f"@{name}" for name in node.decorators)])
    attributes = {"label": label}
    if node.doc:
        attributes["tooltip"] = node.doc
    is_terminal = node.name in {graph.start, graph.end}
    look = "terminal" if is_terminal else "join" if node.is_join else node.kind
    attributes["fillcolor"], attributes["color"] = _COLORS.get(look, _PLAIN)
    if is_terminal:
        attributes["fontcolor"] = "#ffffff"
    return f"{_quoted(node.name)} [{', '.join(f'{name}={_quoted(value)}' for name, value in attributes.items())}]"


def _edges(node: Node) -> Iterator[str]:
    for target in node.out:
        style = ""
        if node.kind is NodeKind.SWITCH:
            keys = [str(key) for key, step in node.cases if step == target]
            label = f"{node.condition} = {' | '.join(keys)}" if target == node.out[0] else " | ".join(keys)
            style = f" [label={_quoted(f' {label} ')}, style=dashed]"
        elif node.kind in {NodeKind.FOREACH, NodeKind.PARALLEL}:
            style = ' [color="#7b8794:invis:#7b8794", arrowhead=normal]'
        yield f"{_quoted(node.name)} -> {_quoted(target)}{style}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
