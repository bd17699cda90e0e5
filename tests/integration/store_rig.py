"""What tests of the store put into it, and other programs that use it."""

from __future__ import annotations

import os
import subprocess
import sys

from asyncflow.events import Attempt, BlobRef, TaskId, TaskSucceeded
from asyncflow.protocols import RunRecord, SmallBlob
from asyncflow.store.local import LocalStore


def record(run_id="1"):
    return RunRecord(flow_name="F", run_id=run_id, created=10.0)


def succeeded(serial, manifest=None):
    ref = manifest or BlobRef(b"m" * 32, 5)
    return TaskSucceeded(Attempt(TaskId("work", (serial,)), 0, serial), ref, None, 1.0, 2.0)


async def journal(store, run_id="1"):
    return [event async for event in store.metadata.journal(run_id)]


async def made(root):
    """A store with one run, of one task."""
    with LocalStore.open(root) as store:
        await store.metadata.create_run(record())
        await store.metadata.append("1", 1, [succeeded(1)])


def small(blob):
    return SmallBlob(blob.key, b"".join(blob.parts))


def ref_of(blob):
    return BlobRef(blob.key, blob.size)


def python(code, *arguments, **more):
    command = [sys.executable, "-c", code, *map(os.fspath, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)


def finished(process):
    """What ``process`` printed, once it has ended well."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out
