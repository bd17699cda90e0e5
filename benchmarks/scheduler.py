"""What the scheduler alone costs: a fake executor in the same process ends each task as soon as it is submitted.

    python benchmarks/scheduler.py [--json FILE] [--slots N] [CASE ...]

A case is a number of foreach items (``100000``) or a nest (``1000x1000``). Each runs in a fresh process.
Printed for each: µs a task (wall, the fake executor included), the longest single ``handle`` call (the
join of all items), and how much the process grew to its peak, of which nothing but manifests, one for each
finished item, is kept.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from asyncflow.engine.scheduler import Scheduler
from asyncflow.events import (
    BlobRef,
    FinishRun,
    Next,
    RunStarted,
    RunState,
    StepPolicy,
    Submit,
    TaskSpec,
    TaskSucceeded,
)
from asyncflow.graph import FlowGraph, Node, NodeKind

CASES = ("10000", "100000", "1000000", "100x100", "1000x1000")


def nest_of(widths: list[int]) -> tuple[FlowGraph, dict[str, Next]]:
    """start → a foreach for each width, one in the other → work → the joins, inside out → end; and what each step says."""
    chain = ["start", *(f"fan{depth}" for depth in range(1, len(widths))), "work"]
    joins = [f"join{depth}" for depth in reversed(range(len(widths)))]
    says = {step: Next((chain[depth + 1],), widths[depth], "items") for depth, step in enumerate(chain[:-1])}
    tail = ["work", *joins, "end"]
    says |= {step: Next((tail[place + 1],)) for place, step in enumerate(tail[:-1])}
    kinds = dict.fromkeys(chain[:-1], NodeKind.FOREACH) | {"end": NodeKind.END}
    nodes = {
        step: Node(
            name=step,
            kind=kinds.get(step, NodeKind.LINEAR),
            is_join=step in joins,
            out=says[step].steps if step in says else (),
        )
        for step in [*chain, *joins, "end"]
    }
    return FlowGraph(name="Bench", nodes=nodes), says


def drive(widths: list[int], slots: int) -> dict[str, float]:
    graph, says = nest_of(widths)
    scheduler = Scheduler(graph)
    policies = {step: StepPolicy("fake") for step in graph.nodes}
    started = RunStarted("1", graph.name, 0.0, "", BlobRef(bytes(32), 1), policies, {"fake": slots})
    before = peak_mb()
    queue: deque[TaskSpec] = deque()
    event: RunStarted | TaskSucceeded = started
    tasks, longest = 0, 0.0
    begun = time.perf_counter()
    while True:
        entered = time.perf_counter()
        commands = scheduler.handle(event)
        longest = max(longest, time.perf_counter() - entered)
        for command in commands:
            if isinstance(command, Submit):
                queue.extend(command.specs)
            elif isinstance(command, FinishRun):
                assert command.state is RunState.SUCCEEDED
                seconds = time.perf_counter() - begun
                return {
                    "tasks": tasks,
                    "us_per_task": seconds / tasks * 1e6,
                    "longest_handle_ms": longest * 1e3,
                    "grown_mb": peak_mb() - before,
                }
        spec = queue.popleft()
        tasks += 1
        # A key and a size of its own for each, as they come decoded from a worker's answer.
        manifest = BlobRef(tasks.to_bytes(32, "big"), 300 + tasks % 100)
        event = TaskSucceeded(spec.attempt, manifest, says.get(spec.attempt.task.step), 0.0, 0.0)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, metavar="CASE", help=" ".join(CASES))
    parser.add_argument("--slots", type=int, default=64, help="how many tasks may be in flight")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        widths = [int(width) for width in options.cases[0].split("x")]
        print(json.dumps(drive(widths, options.slots)))
        return
    print(f"{'case':>12} {'tasks':>9} {'µs/task':>8} {'longest handle ms':>18} {'grown MB':>9}")
    figures: dict[str, dict[str, float]] = {}
    for case in options.cases:
        command = [sys.executable, __file__, "--alone", "--slots", str(options.slots), case]
        figures[case] = row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        print(
            f"{case:>12} {row['tasks']:>9} {row['us_per_task']:>8.2f} {row['longest_handle_ms']:>18.2f}"
            f" {row['grown_mb']:>9.1f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps({"slots": options.slots, "python": sys.version, "cases": figures}, indent=2))


if __name__ == "__main__":
    main()
