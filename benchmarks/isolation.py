"""What `--isolation task` costs beside a bare fork-and-wait of the same zygote.

python benchmarks/isolation.py [TASKS] [ROUNDS]     prints one line of JSON

The zygote has imported a flow and all that its tasks need. The bare measure is taken in it: fork, have the child exit at
once, wait, one after the other. Then the local executor runs tasks of the flow in a process each, on one slot and on
all, and for comparison in warm workers. The journal has no part in it (run.py measures all together). Each round
starts a new zygote; the medians are told, in milliseconds a task.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from asyncflow.events import Attempt, Frame, RunContext, TaskId, TaskInput, TaskSpec, TaskSucceeded
from asyncflow.executors.local import LocalExecutor, processors
from asyncflow.loader import graph_of, source_of
from asyncflow.protocols import RunRecord
from asyncflow.store.local import LocalStore
from asyncflow.worker.task import initial_artifacts, run_task
from flows.squares import SquaresFlow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncflow.events import BlobRef, ExecutorEvent, TaskLog
    from asyncflow.protocols import SmallBlob


async def prepare(store: LocalStore, tasks: int) -> tuple[RunContext, BlobRef]:
    """A run of the flow whose start step has ended; its context, and the manifest that each child starts from."""
    parameters, small, _ = initial_artifacts(SquaresFlow, {"n": tasks})
    context = RunContext("1", "SquaresFlow", source_of(SquaresFlow), str(store.root), parameters)
    await store.metadata.create_run(RunRecord(flow_name="SquaresFlow", run_id="1", created=time.time()), small)
    start = TaskSpec(Attempt(TaskId("start"), 0, 1), (TaskInput(TaskId("_parameters"), parameters),))
    outcome = run_task(SquaresFlow, graph_of(SquaresFlow), context, start, store.blobs)
    assert isinstance(outcome.ending, TaskSucceeded)
    await store.metadata.append("1", 1, [outcome.ending], outcome.blobs)
    return context, outcome.ending.manifest


async def cost(context: RunContext, manifest: BlobRef, tasks: int, slots: int, isolation: str) -> float:
    """Milliseconds a task, from the first submit to the last ending, with the zygote warm."""
    over = asyncio.Event()
    left = 1

    def emit(event: ExecutorEvent, _: Sequence[SmallBlob]) -> None:
        nonlocal left
        if isinstance(event, TaskSucceeded):
            left -= 1
            if not left:
                over.set()

    def specs(first: int, count: int) -> list[TaskSpec]:
        return [
            TaskSpec(
                Attempt(TaskId("square", (index,)), 0, first + index),
                (TaskInput(TaskId("start"), manifest),),
                (Frame("start", "numbers", index, tasks),),
            )
            for index in range(count)
        ]

    def emit_log(_: TaskLog) -> bool:
        return True

    executor = LocalExecutor(slots, isolation, program="bare_fork:MeasuredProgram")
    async with executor.attach(context, emit, emit_log) as session:
        session.submit(specs(2, 1))
        await over.wait()
        over.clear()
        left = tasks
        began = time.perf_counter()
        session.submit(specs(10, tasks))
        await over.wait()
        return (time.perf_counter() - began) / tasks * 1e3


async def main(tasks: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        measured = Path(place, "bare")
        os.environ["BARE_FORK"] = str(measured)
        times: dict[str, list[float]] = {"bare": [], "one_slot": [], "all_slots": [], "warm": []}
        with LocalStore.open(Path(place, "store")) as store:
            context, manifest = await prepare(store, tasks)
            for _ in range(rounds):
                for name, slots, isolation in (
                    ("one_slot", 1, "task"), ("all_slots", processors(), "task"), ("warm", processors(), "step"),
                ):  # fmt: skip
                    times[name].append(await cost(context, manifest, tasks, slots, isolation))
                    times["bare"].append(float(measured.read_text()))  # noqa: ASYNC240 - nothing else runs
        medians = {name: median(each) for name, each in times.items()}
        report = {
            "tasks": tasks,
            "rounds": rounds,
            **{f"{name}_ms": round(each, 3) for name, each in medians.items()},
            "one_slot_to_bare": round(medians["one_slot"] / medians["bare"], 2),
            "all_slots_to_bare": round(medians["all_slots"] / medians["bare"], 2),
        }
        print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main(*(int(argument) for argument in sys.argv[1:3]), *(500, 5)[len(sys.argv) - 1 :]))
