"""Turns the benchmark's JSON into tables: on the console, and between the markers of README.md.

    python benchmarks/report.py [benchmarks/results/latest.json]

keeps the JSON as benchmarks/measured.json, so that every number in the README can be looked up, and rewrites the README.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
MEASURED = HERE / "measured.json"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NAMES = {
    "asyncflow": "asyncflow",
    "asyncflow-task": "asyncflow `--isolation task`",
    "pool": "`ProcessPoolExecutor`, bare",
    "metaflow": "Metaflow",
}
Result = dict[str, Any]


def _rows(result: Result) -> tuple[list[str], list[list[str]]]:
    sizes = sorted(
        {int(what) for c in result["contenders"].values() for what in c["median_seconds"] if what != "hello"}
    )
    heads = [
        "",
        "3 steps",
        *(f"N = {n:,}" for n in sizes),
        "ms a task",
        "memory, engine / tree",
        "durable",
        "isolation",
    ]
    rows = []
    for name, contender in result["contenders"].items():
        median = contender["median_seconds"]
        cells = [_seconds(median.get(what)) for what in ("hello", *(str(n) for n in sizes))]
        ms, width = _marginal(contender["ms_a_task"])
        held = contender["memory_mb"]
        peak = f"{held['engine']:.0f} / {held['tree']:.0f} MB at {held['n']:,}"
        per_task = "" if ms is None else f"{ms:.2f} ({width})" if ms < 10 else f"{ms:.0f} ({width})"
        rows.append([NAMES[name], *cells, per_task, peak, contender["durable"], contender["isolated"]])
    return heads, rows


def _marginal(ms: dict[str, float | None]) -> tuple[float | None, str]:
    """The cost of one more task between the two widest fan-outs that were measured."""
    known = [
        (int(high), int(low), cost)
        for (low, high), cost in ((b.split("-"), c) for b, c in ms.items())
        if cost is not None
    ]
    if not known:
        return None, ""
    high, low, cost = max(known)
    return cost, f"{low:,} to {high:,}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def console_table(result: Result) -> str:
    heads, rows = _rows(result)
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [heads, *rows]]
    return "\n".join([*lines, "", _loop(result), _machine(result)])


def markdown(result: Result) -> str:
    heads, rows = _rows(result)
    lines = [f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows]]
    return "\n".join([*lines, "", _ratios(result), "", _loop(result), "", _machine(result)])


def _ratios(result: Result) -> str:
    """The same numbers as ratios: they travel better between machines."""
    field = result["contenders"]
    ours, pool = field["asyncflow"], field["pool"]

    def times(of: dict[str, Any], what: str, against: dict[str, Any]) -> str:
        return f"{of['median_seconds'][what] / against['median_seconds'][what]:.1f}"

    said = [f"For three steps asyncflow takes {times(ours, 'hello', pool)} times as long as the bare pool"]
    if "metaflow" in field:
        theirs = field["metaflow"]
        said[0] += f", and Metaflow {times(theirs, 'hello', ours)} times as long as asyncflow"
        if "100" in theirs["median_seconds"]:
            said.append(f"for 100 items Metaflow takes {times(theirs, '100', ours)} times as long")
    own, bare = ours["ms_a_task"].get("1000-10000"), pool["ms_a_task"].get("1000-10000")
    if own and bare:
        said.append(
            f"one more task, durable, costs {own / bare:.1f} times what one more costs in the pool, which keeps nothing"
        )
    return "; ".join(said) + "."


def _loop(result: Result) -> str:
    lag = result["loop_lag"]
    return (
        f"While {lag['n']:,} items ran inside somebody's event loop, a probe of that loop woke at most {lag['worst_ms']:.0f} ms late"
        f" ({lag['p99_ms']:.0f} ms at the 99th percentile)."
    )


def _machine(result: Result) -> str:
    m = result["machine"]
    versions = f"Python {m['python']}, SQLite {m['sqlite']}, asyncflow {m['asyncflow']} ({m['commit']})"
    if m["metaflow"]:
        versions += f", Metaflow {m['metaflow']}"
    load = " and ".join(f"{each}" for each in m["load"])
    return (
        f"Medians of one sitting (load average {load} before and after it), whole processes with their start-up. {m['cores']} cores of a shared {m['processor']},"
        f" {m['memory_gb']} GB, {m['system']}, {m['filesystem']}; {m['workers']} workers each; {versions}."
    )


def write_readme(result: Result) -> None:
    before, rest = README.read_text().split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(f"{before}{BEGIN}\n\n{markdown(result)}\n\n{END}{after}")


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results/latest.json"
    text = source.read_text()
    MEASURED.write_text(text)
    write_readme(json.loads(text))
    print(console_table(json.loads(text)))
