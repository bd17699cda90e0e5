"""A store of which a part is gone: it is said, and nothing new is begun over it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from asyncflow.errors import StoreError
from asyncflow.events import Attempt, TaskId, TaskStarted
from asyncflow.protocols import LogLine, RunRecord
from asyncflow.store.local import DATABASE, LocalStore
from asyncflow.store.serializers import to_blob
from asyncflow.store.verify import verify_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def root(tmp_path):
    return tmp_path / ".asyncflow"


async def make_run(root, *, chunks=1):
    """A run of one task with a large blob and ``chunks`` pieces of a log."""
    with LocalStore.open(root) as store:
        await store.metadata.create_run(RunRecord(flow_name="F", run_id="1", created=10.0))
        store.blobs.write(to_blob(b"x" * 100_000, "x"))
        writer = store.logs.writer("1")
        logs = [writer.append(1, 0, [LogLine("stdout", 1.0, b"line %d" % number)]) for number in range(chunks)]
        writer.close()
        started = TaskStarted(Attempt(TaskId("start"), 0, 1), 1.0)
        await store.metadata.append("1", 1, [started], logs=logs)


def problems(root):
    with LocalStore.open(root, create=False) as store:
        return [(os.path.relpath(damage.where, root), damage.problem) for damage in verify_store(store)]


def lose(root, how):
    for suffix in ("-wal", "-shm"):
        (root / (DATABASE + suffix)).unlink(missing_ok=True)
    if how == "missing":
        (root / DATABASE).unlink()
    else:
        os.truncate(root / DATABASE, 0)


@pytest.mark.parametrize("how", ["missing", "empty"])
@pytest.mark.parametrize("kept", ["logs", "blobs"])
async def test_a_lost_database_is_said_and_not_begun_anew(root, how, kept):
    await make_run(root)
    assert problems(root) == []
    lose(root, how)
    for path in (root / ("blobs" if kept == "logs" else "logs")).rglob("*.*" if kept == "blobs" else "*/*"):
        path.unlink()
    ((where, problem),) = problems(root)
    assert where == DATABASE
    assert "it is lost" in problem
    with pytest.raises(StoreError, match=rf"{DATABASE} is {how}.*Restore.*move the directory away"):
        LocalStore.open(root)
    assert (root / DATABASE).exists() == (how == "empty")


async def test_directories_alone_are_no_lost_store(root):
    (root / "blobs" / "ab").mkdir(parents=True)
    (root / "logs").mkdir()
    (root / DATABASE).touch()
    LocalStore.open(root).close()
    assert problems(root) == []


async def test_a_first_run_that_was_never_entered_leaves_a_sound_store(root):
    with LocalStore.open(root) as store:
        store.blobs.write(to_blob(b"x" * 100_000, "x"))
    assert problems(root) == []
    LocalStore.open(root).close()


FIRST_RUN = """
import sys
from asyncflow.store.local import LocalStore
from asyncflow.store.serializers import to_blob
sys.stdin.read(1)
LocalStore.open(sys.argv[1]).blobs.write(to_blob(b"x" * 100_000, "x"))
"""


def test_many_first_runs_at_once_do_not_take_each_other_for_a_loss(tmp_path):
    for attempt in range(4):
        command = [sys.executable, "-c", FIRST_RUN, os.fspath(tmp_path / str(attempt))]
        running = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
        for process in running:
            process.stdin.write(b"x")
            process.stdin.flush()
        for process in running:
            _, said = process.communicate()
            assert process.returncode == 0, said.decode()


async def test_a_log_that_is_gone_is_found(root):
    await make_run(root, chunks=3)
    (root / "logs" / "1.log").unlink()
    assert problems(root) == [("logs/1.log", "The log can't be read: No such file or directory.")]


async def test_a_log_that_was_cut_off_is_found_once(root):
    await make_run(root, chunks=3)
    log = root / "logs" / "1.log"
    third = log.stat().st_size // 3
    os.truncate(log, third + 2)
    ((where, problem),) = problems(root)
    assert where == "logs/1.log"
    assert f"The log has {third + 2} bytes, but lines of task 1, attempt 0, end at byte {2 * third}." in problem
    assert "(1 more like it.)" in problem


async def test_a_log_with_other_bytes_is_found(root):
    await make_run(root, chunks=2)
    log = root / "logs" / "1.log"
    content = bytearray(log.read_bytes())
    content[4] ^= 0xFF
    log.write_bytes(content)
    ((where, problem),) = problems(root)
    assert (where, "is damaged at byte 0" in problem) == ("logs/1.log", True)


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_file_where_the_directory_should_be(root, create, inside):
    root.write_text("")
    with pytest.raises(StoreError, match=rf"{root} is a file, not a directory\. Move it away, or choose"):
        LocalStore.open(root / inside, create=create)


@pytest.mark.parametrize("create", [True, False])
def test_a_symbolic_link_that_leads_nowhere(root, create):
    root.symlink_to(root.parent / "gone")
    with pytest.raises(StoreError, match=rf"{root} is a symbolic link that leads nowhere, not a directory"):
        LocalStore.open(root, create=create)


def test_a_symbolic_link_to_a_directory_is_one(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    root.symlink_to(tmp_path / "elsewhere")
    LocalStore.open(root).close()
    assert (tmp_path / "elsewhere" / DATABASE).exists()
