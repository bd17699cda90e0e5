"""A disk that fills up, or turns read-only, under a run: it stops with the reason, and what it reported stays."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from cli_rig import Asyncflow

from asyncflow.client import Run
from asyncflow.store.local import LocalStore

SHAPES = Path(__file__).parents[1] / "flows/shapes.py"


@pytest.fixture
def disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk of one's own can only be mounted by root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", os.fspath(disk)], check=True, capture_output=True)


def test_a_disk_that_fills_up_ends_the_run_with_the_reason(tmp_path, disk):
    asyncflow = Asyncflow(tmp_path)
    done = asyncflow("run", f"{SHAPES}:SquaresFlow", "--n", 50_000, "--json", "--store", disk / "store", code=1)
    assert "disk" in done.stderr
    assert "full" in done.stderr
    assert "ASYNCFLOW_STORE" in done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    squares = [event for event in events if event["type"] == "TaskSucceeded" and event["step"] == "work"]
    assert squares
    remount(disk, "size=16m")
    with LocalStore.open(disk / "store", create=False) as store:
        run = Run.of_store(store, squares[0]["run"].split("/")[1])
        for event in squares:
            assert run["work"][event["id"]].data.square == event["path"][0] ** 2
    asyncflow("verify", "--store", disk / "store")
    asyncflow("run", f"{SHAPES}:SquaresFlow", "--store", disk / "store")


def test_a_read_only_store_is_said_before_anything_runs_and_can_be_read(tmp_path, disk):
    asyncflow = Asyncflow(tmp_path)
    store = disk / "store"
    asyncflow("run", f"{SHAPES}:LinearFlow", "--store", store)
    remount(disk, "ro")
    refused = asyncflow("run", f"{SHAPES}:LinearFlow", "--store", store, code=1)
    assert "can't be written" in refused.stderr
    assert "Task started" not in refused.stdout
    listed = asyncflow("list", "--store", store)
    assert "LinearFlow" in listed.stdout
