"""Runs a command as a whole process and tells how long it took, or how much memory it held."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TIMEOUT = 900.0
PAUSE = 0.02
"""Seconds between two looks at the memory: short against a run, long against a look (some 2 ms)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Megabytes (2**20). ``engine``: the first process's highest resident size. ``tree``: the highest sum of the
    proportional sizes (shared pages counted once) of it and all its descendants, as far as the looks saw."""

    engine: float
    tree: float


def wall_seconds(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> float:
    """From before the fork to after the exit. Output goes nowhere; a failure raises with what stood on stderr."""
    began = time.perf_counter()
    done = subprocess.run(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        timeout=TIMEOUT, check=False,
    )  # fmt: skip
    elapsed = time.perf_counter() - began
    _ensure_ok(command, done.returncode, done.stderr)
    return elapsed


def peak_memory(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Memory:
    """Looking costs time, so this run's seconds are not to be used."""
    engine = tree = 0.0
    with subprocess.Popen(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        while child.poll() is None:
            sizes = [_proportional(pid) for pid in _tree(child.pid)]
            engine = max(engine, _highest_resident(child.pid))
            tree = max(tree, sum(sizes))
            time.sleep(PAUSE)
    _ensure_ok(command, child.returncode, b"")
    return Memory(engine=round(engine, 1), tree=round(tree, 1))


def _ensure_ok(command: Sequence[str], code: int, stderr: bytes) -> None:
    if code:
        raise SystemExit(f"{' '.join(command)} exited with {code}:\n{stderr.decode(errors='replace')[-4000:]}")


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                yield from _tree(int(child))


def _field(path: str, name: str) -> float:
    """One ``Name: 123 kB`` line of a file in /proc, in megabytes; 0 once the process is gone."""
    with contextlib.suppress(OSError), open(path) as lines:
        for line in lines:
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return 0.0


def _proportional(pid: int) -> float:
    return _field(f"/proc/{pid}/smaps_rollup", "Pss:")


def _highest_resident(pid: int) -> float:
    return _field(f"/proc/{pid}/status", "VmHWM:")


def clean_environment(**extra: str) -> dict[str, str]:
    """Nothing of the caller's settings but where things are found, and how this machine's mathematics library is set."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | extra
