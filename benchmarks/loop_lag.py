"""How long the event loop is held up while a wide fan-out runs inside it.

python benchmarks/loop_lag.py [N]     prints one line of JSON

A probe wakes every two milliseconds and notes by how much it was late. A late wake-up is either the engine's doing (its
thread had the processor all the while) or the machine's (it had not, since the workers had it), so the processor time
of the worst gap stands beside it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from asyncflow import Engine
from flows.squares import SquaresFlow

PERIOD = 0.002


async def probe(gaps: list[tuple[float, float]]) -> None:
    while True:
        wall, processor = time.perf_counter(), time.thread_time()
        await asyncio.sleep(PERIOD)
        gaps.append((time.perf_counter() - wall - PERIOD, time.thread_time() - processor))


async def main(n: int) -> None:
    gaps: list[tuple[float, float]] = []
    engine = Engine(SquaresFlow)
    watcher = asyncio.create_task(probe(gaps), name="loop-lag-probe")
    began = time.perf_counter()
    run = await engine.run(n=n)
    seconds = time.perf_counter() - began
    watcher.cancel()
    assert run.successful
    late, processor = max(gaps)
    report = {
        "n": n,
        "seconds": round(seconds, 3),
        "wake_ups": len(gaps),
        "worst_ms": round(late * 1e3, 1),
        "processor_ms_of_worst": round(processor * 1e3, 1),
        "most_processor_ms": round(max(used for _, used in gaps) * 1e3, 1),
        "p99_ms": round(sorted(gaps)[int(len(gaps) * 0.99)][0] * 1e3, 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
