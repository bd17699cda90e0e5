"""What a fan-out costs, as whole processes, beside a bare process pool and Metaflow. `make bench`, or

    python benchmarks/run.py [--rounds 5] [--sizes 10 100 1000 10000] [--output FILE]

Every contender does the same work: start, a foreach over N numbers that squares each, a join that sums, end; and a flow
of three steps. Rounds alternate between the contenders (A B A B), so that a busy moment of the machine meets all of them;
what is printed are medians. Seconds run from the start of the process to its exit. Memory is looked at in a run of its own.
Metaflow is measured where benchmarks/setup_peers.sh has installed it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from machine import describe
from measure import Memory, clean_environment, peak_memory, wall_seconds
from report import console_table

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
METAFLOW = HERE.parent / ".venv-metaflow/bin/python"
HELLO = "hello"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way of doing the work. ``sizes``: the fan-outs that it is asked for, beside hello."""

    name: str
    sizes: tuple[int, ...]
    rounds: int
    durable: str
    isolated: str

    def command(self, what: str, scratch: Path) -> list[str]:
        if self.name == "pool":
            return [sys.executable, str(HERE / "peers/pool.py"), what]
        flow = "hello.py" if what == HELLO else "squares.py"
        parameters = [] if what == HELLO else ["--n", what]
        if self.name == "metaflow":
            return [str(METAFLOW), str(scratch / f"metaflow_{flow}"), "--quiet", "--no-pylint", "run",
                    "--max-num-splits", "100000", "--max-workers", str(workers()), *parameters]  # fmt: skip
        isolation = ["--isolation", "task"] if self.name == "asyncflow-task" else []
        program = str(Path(sys.executable).parent / "asyncflow")
        return [program, "run", str(HERE / "flows" / flow), "--no-pylint", *isolation, *parameters]

    def environment(self, scratch: Path) -> dict[str, str]:
        if self.name == "metaflow":
            return clean_environment(
                USER="bench", METAFLOW_USER="bench", METAFLOW_HOME=str(scratch),
                METAFLOW_DATASTORE_SYSROOT_LOCAL=str(scratch),
            )  # fmt: skip
        return clean_environment(ASYNCFLOW_STORE=str(scratch / "store"), USER="bench")


def workers() -> int:
    return len(os.sched_getaffinity(0))


def contenders(sizes: tuple[int, ...], rounds: int) -> list[Contender]:
    def up_to(most: int) -> tuple[int, ...]:
        return tuple(n for n in sizes if n <= most)

    found = [
        Contender(
            name="asyncflow", sizes=sizes, rounds=rounds,
            durable="yes: SQLite, synced", isolated="warm workers for each step",
        ),
        Contender(name="pool", sizes=sizes, rounds=rounds, durable="nothing is kept", isolated="one pool for all"),
        Contender(
            name="asyncflow-task", sizes=up_to(1_000), rounds=rounds,
            durable="yes: SQLite, synced", isolated="a process a task",
        ),
    ]  # fmt: skip
    if METAFLOW.exists():
        found.append(
            Contender(
                name="metaflow", sizes=up_to(100), rounds=min(rounds, 2),
                durable="files, not synced", isolated="an interpreter a task",
            )
        )  # fmt: skip
    return found


def measure(field: list[Contender], scratch: Path) -> dict[str, dict[str, list[float]]]:
    seconds: dict[str, dict[str, list[float]]] = {contender.name: {} for contender in field}
    for turn in range(max(contender.rounds for contender in field)):
        order = field if turn % 2 == 0 else field[::-1]
        whats = sorted({HELLO, *(str(n) for contender in field for n in contender.sizes)}, key=_by_size)
        for what in whats:
            for contender in order:
                if turn >= contender.rounds or (what != HELLO and int(what) not in contender.sizes):
                    continue
                took = wall_seconds(contender.command(what, scratch), contender.environment(scratch), scratch)
                seconds[contender.name].setdefault(what, []).append(round(took, 4))
                print(f"round {turn + 1}  {contender.name:<15} {what:>6}  {took:8.3f} s", file=sys.stderr)
    return seconds


def _by_size(what: str) -> int:
    return 0 if what == HELLO else int(what)


def memory(field: list[Contender], scratch: Path) -> dict[str, dict[str, float | int]]:
    """At each contender's widest fan-out."""
    peaks: dict[str, dict[str, float | int]] = {}
    for contender in field:
        n = max(contender.sizes)
        peak: Memory = peak_memory(contender.command(str(n), scratch), contender.environment(scratch), scratch)
        peaks[contender.name] = {"n": n, **asdict(peak)}
        print(f"memory   {contender.name:<15} {n:>6}  {peak.engine:.0f} / {peak.tree:.0f} MB", file=sys.stderr)
    return peaks


def loop_lag(n: int, scratch: Path) -> dict[str, float]:
    """Three runs; the one whose worst wake-up was the median."""
    runs = []
    for _ in range(3):
        command = [sys.executable, str(HERE / "loop_lag.py"), str(n)]
        env = clean_environment(ASYNCFLOW_STORE=str(scratch / "store"), USER="bench")
        out = subprocess.run(command, env=env, cwd=scratch, stdout=subprocess.PIPE, check=True, text=True).stdout
        runs.append(json.loads(out.splitlines()[-1]))
    return sorted(runs, key=lambda run: run["worst_ms"])[1]


def per_task(median: dict[str, float], low: int, high: int) -> float | None:
    """Milliseconds that one more task costs, between two widths."""
    if str(low) not in median or str(high) not in median:
        return None
    return round((median[str(high)] - median[str(low)]) / (high - low) * 1e3, 4)


def summary(
    field: list[Contender], seconds: dict[str, dict[str, list[float]]], peaks: dict[str, dict[str, float | int]]
) -> dict[str, dict[str, object]]:
    """What is written of each contender."""
    found: dict[str, dict[str, object]] = {}
    for contender in field:
        median = {what: round(statistics.median(took), 4) for what, took in seconds[contender.name].items()}
        low, high = min(contender.sizes), max(contender.sizes)
        spans = {(10, 1_000), (1_000, 10_000), (low, high)}
        found[contender.name] = {
            "median_seconds": median,
            "seconds": seconds[contender.name],
            "ms_a_task": {f"{a}-{b}": per_task(median, a, b) for a, b in sorted(spans) if a < b},
            "memory_mb": peaks[contender.name],
            "durable": contender.durable,
            "isolated": contender.isolated,
        }
    return found


def metaflow_version() -> str | None:
    if not METAFLOW.exists():
        return None
    asked = [str(METAFLOW), "-c", "import importlib.metadata as m; print(m.version('metaflow'))"]
    return subprocess.check_output(asked, text=True).strip()


def write_metaflow_flows(scratch: Path) -> None:
    """The very same flows: only the name in the import line is another."""
    for flow in (HERE / "flows").glob("*.py"):
        source = flow.read_text().replace("from asyncflow import", "from metaflow import")
        (scratch / f"metaflow_{flow.name}").write_text(source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--output", type=Path, default=RESULTS / "latest.json")
    options = parser.parse_args()
    field = contenders(tuple(sorted(options.sizes)), options.rounds)
    RESULTS.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=RESULTS))
    load = [round(os.getloadavg()[0], 1)]
    try:
        write_metaflow_flows(scratch)
        seconds = measure(field, scratch)
        peaks = memory(field, scratch)
        lag = loop_lag(max(options.sizes), scratch)
        load.append(round(os.getloadavg()[0], 1))
        machine = describe(scratch) | {"workers": workers(), "metaflow": metaflow_version(), "load": load}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result = {"machine": machine, "loop_lag": lag, "contenders": summary(field, seconds, peaks)}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(console_table(result))
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
