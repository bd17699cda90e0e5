"""Several processes on one store: at once, killed in the middle, forked from one another."""

from __future__ import annotations

import json
import os
import signal
import threading

import pytest
from store_rig import finished, journal, made, python, record, ref_of, small, succeeded

from asyncflow.store.artifacts import ArtifactLoader
from asyncflow.store.local import LocalStore
from asyncflow.store.serializers import to_blob

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def root(tmp_path):
    return tmp_path / ".asyncflow"


WRITER = """
import asyncio, sys
from asyncflow.events import Attempt, BlobRef, TaskId, TaskSucceeded
from asyncflow.protocols import RunRecord, SmallBlob
from asyncflow.store.local import LocalStore
from asyncflow.store.serializers import to_blob

async def main(root, run_id, count):
    with LocalStore.open(root) as store:
        await store.metadata.create_run(RunRecord(flow_name="F", run_id=run_id, created=float(run_id)))
        for serial in range(count):
            blob, large = to_blob((run_id, serial), "v"), to_blob([run_id, serial, "x" * 20_000], "v")
            ref = store.blobs.write(large)
            event = TaskSucceeded(Attempt(TaskId("work"), 0, serial), ref, None, 1.0, 2.0)
            await store.metadata.append(run_id, 1, [event], [SmallBlob(blob.key, blob.parts[0])])
            print(serial, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_a_writer_that_is_killed_leaves_all_that_it_reported(root):
    writer = python(WRITER, root, "1", str(10**9))
    reported = -1
    for line in writer.stdout:
        reported = int(line)
        if reported >= 200:
            break
    writer.send_signal(signal.SIGKILL)
    reported = max([reported, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    writer.wait()
    writer.stdout.close()
    with LocalStore.open(root) as store:
        events = await journal(store)
        assert [event.attempt.serial for event in events] == list(range(len(events)))
        assert len(events) > reported
        loader = ArtifactLoader(store.blobs)
        for event in events:
            serial = event.attempt.serial
            assert loader.load(event.manifest, "v") == ["1", serial, "x" * 20_000]
            assert loader.load(ref_of(to_blob(("1", serial), "v")), "v") == ("1", serial)
        assert len(store.reader.tasks("1", "work")) == len(events)
        assert store.reader.integrity() == []
        assert await store.metadata.claim_run("1") == 2
        await store.metadata.append("1", 2, [succeeded(10**6)])


async def test_processes_that_start_at_once_on_no_store_share_it(root):
    count, runs = 40, [str(run_id) for run_id in range(1, 5)]
    writers = [python(WRITER, root, run_id, str(count)) for run_id in runs]
    for writer in writers:
        assert finished(writer).split() == [str(serial) for serial in range(count)]
    with LocalStore.open(root) as store:
        for run_id in runs:
            assert [event.attempt.serial for event in await journal(store, run_id)] == list(range(count))
        keys = [to_blob((run_id, serial), "v").key for run_id in runs for serial in range(count)]
        assert len(store.reader.small_blobs(keys)) == len(keys)
        assert store.reader.integrity() == []


TAGGER = """
import sys
from asyncflow.store.local import LocalStore
with LocalStore.open(sys.argv[1], create=False) as store:
    for i in range(10):
        store.reader.change_tags("1", add=[f"{sys.argv[2]}-{i}"])
"""


async def test_tags_changed_by_many_processes_are_all_kept(root):
    await made(root)
    for tagger in [python(TAGGER, root, str(who)) for who in range(4)]:
        finished(tagger)
    with LocalStore.open(root) as store:
        assert set(store.reader.run("1").tags) == {f"{who}-{i}" for who in range(4) for i in range(10)}


def in_child(function):
    """What ``function`` returns in a forked process."""
    answer, question = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(question, json.dumps(function()).encode())
        finally:
            os._exit(0)
    os.close(question)
    os.waitpid(child, 0)
    with open(answer, "rb") as file:
        return json.loads(file.read())


async def test_a_store_that_was_open_before_a_fork_works_on_both_sides(root):
    blob = to_blob(5, "v")

    def use():
        content = next(iter(store.blobs.read([ref_of(blob)])))[1]
        tags = store.reader.change_tags("1", add=["from the child"])
        found = [bytes(content) == small(blob).content, store.reader.run("1").run_id, tags]
        store.close()
        return found

    with LocalStore.open(root) as store:
        await store.metadata.create_run(record(), [small(blob)])
        assert store.reader.run("1").tags == ()
        assert in_child(use) == [True, "1", ["from the child"]]
        await store.metadata.append("1", 1, [succeeded(1)])
        assert store.reader.run("1").tags == ("from the child",)
        assert len(await journal(store)) == 1


async def test_closing_is_final_for_nothing_and_leaves_no_threads(root):
    store = LocalStore.open(root)
    await store.metadata.create_run(record())
    await store.aclose()
    await store.aclose()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("asyncflow-store")]
    assert len(store.reader.runs()) == 1
    await store.metadata.append("1", 1, [succeeded(1)])
    store.close()
