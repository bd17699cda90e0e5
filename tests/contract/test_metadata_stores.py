"""What every metadata store does: the engine's side and the readers'. A new store starts by passing this."""

from __future__ import annotations

import asyncio
import threading

import pytest

from asyncflow.errors import MetaflowNotFound, MetaflowTaggingError, RunExists, StaleEpoch
from asyncflow.events import (
    Attempt,
    BlobRef,
    CancelRequested,
    Failure,
    FailureKind,
    Next,
    RetryDue,
    RunStarted,
    RunState,
    StepPolicy,
    TaskAccepted,
    TaskCancelled,
    TaskFailed,
    TaskId,
    TaskStarted,
    TaskSucceeded,
)
from asyncflow.protocols import AttemptRecord, LogChunk, RunRecord, SmallBlob, TaskRecord
from asyncflow.store.local import DATABASE
from asyncflow.store.metadata import smallblobs
from asyncflow.store.metadata.memory import MemoryMetadata
from asyncflow.store.metadata.sqlite import SqliteMetadataStore, SqliteReader
from asyncflow.store.serializers import to_blob

pytestmark = pytest.mark.anyio

MANIFEST = BlobRef(b"m" * 32, 100)
FAILURE = Failure(FailureKind.USER, "ValueError: no", "Traceback…", "ValueError")


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["memory", "sqlite"])
def stores(request, tmp_path):
    """The engine's side and a reader's."""
    if request.param == "memory":
        memory = MemoryMetadata()
        yield memory, memory
        return
    store, reader = SqliteMetadataStore(tmp_path / DATABASE), SqliteReader(tmp_path / DATABASE)
    yield store, reader
    store.close()
    reader.close()


@pytest.fixture
def store(stores):
    return stores[0]


@pytest.fixture
def reader(stores):
    return stores[1]


def record(run_id="1", flow="F", created=10.0, **more):
    return RunRecord(flow_name=flow, run_id=run_id, created=created, **more)


def started(run_id="1", at=11.0):
    return RunStarted(run_id, "F", at, "hash", MANIFEST, {"start": StepPolicy("local")}, {"local": 2})


def attempt(serial, number=0, step="work", path=()):
    return Attempt(TaskId(step, path), number, serial)


def succeeded(serial, number=0, step="work", at=20.0, **more):
    return TaskSucceeded(attempt(serial, number, step), MANIFEST, Next(("end",)), at, at + 1, "pid 7", **more)


async def journal(store, run_id="1"):
    return [event async for event in store.journal(run_id)]


def small(value):
    blob = to_blob(value, "v")
    return SmallBlob(blob.key, b"".join(blob.parts))


# -- runs ------------------------------------------------------------------------------------------


def test_an_empty_store_has_nothing(reader):
    assert reader.flows() == []
    assert reader.runs() == []
    assert reader.run("1") is None
    assert reader.steps("1") == []
    assert reader.tasks("1", "work") == []
    assert reader.task("1", "work", 1) is None
    assert reader.logs("1", 1) == []
    assert reader.small_blobs([b"k" * 32, b"l" * 32]) == {}
    with pytest.raises(MetaflowNotFound, match="no run 1 in"):
        reader.change_tags("1", add=["a"])


async def test_a_run_comes_back_as_it_was_created(store, reader):
    run = record(
        heartbeat=10.5,
        username="änn",
        tags=("b", "a", "ünï 🎉"),
        system_tags=("user:ann", "runtime:dev"),
        graph=b'{"steps": []}',
        context=b"\x01\x00\xff",
        origin_run_id="0",
        metadata={"python_version": "3.11", "script-name": "f.py"},
    )
    await store.create_run(run)
    back = reader.run("1")
    assert back == record(
        heartbeat=10.5,
        username="änn",
        tags=("a", "b", "ünï 🎉"),
        system_tags=("runtime:dev", "user:ann"),
        graph=run.graph,
        context=run.context,
        origin_run_id="0",
        metadata=run.metadata,
    )
    assert reader.runs() == [back]


async def test_a_second_run_of_one_id_is_refused_and_the_first_stays(store, reader):
    await store.create_run(record(username="ann"))
    with pytest.raises(RunExists, match="run 1"):
        await store.create_run(record(username="bob"), [small("bob's")])
    assert reader.run("1").username == "ann"
    assert reader.small_blobs([small("bob's").key]) == {}


async def test_runs_and_flows_are_listed_newest_first(store, reader):
    for number in (3, 1, 4, 2):
        await store.create_run(record(str(number), flow="F" if number % 2 else "G", created=float(number)))
    assert [run.run_id for run in reader.runs()] == ["4", "3", "2", "1"]
    assert [run.run_id for run in reader.runs("F")] == ["3", "1"]
    assert [run.run_id for run in reader.runs(limit=3)] == ["4", "3", "2"]
    assert reader.runs("F", limit=0) == []
    assert reader.runs("H") == []
    assert reader.flows() == ["G", "F"]


async def test_runs_are_found_by_all_of_the_tags(store, reader):
    await store.create_run(record("1", tags=("a", "b"), system_tags=("user:ann",)))
    await store.create_run(record("2", tags=("a",), system_tags=("user:bob",)))
    found = lambda *tags: [run.run_id for run in reader.runs("F", tags=tags)]  # noqa: E731
    assert found("a") == ["2", "1"]
    assert found("a", "b") == ["1"]
    assert found("a", "user:bob") == ["2"]
    assert found("a", "c") == []
    assert found("a%", "") == []


async def test_a_run_ends_once_with_its_first_failure(store, reader):
    await store.create_run(record())
    assert reader.run("1").state is RunState.RUNNING
    await store.heartbeat("1", 1, 15.0)
    assert reader.run("1").heartbeat == 15.0
    await store.finish_run("1", 1, RunState.FAILED, 30.0, FAILURE, "work/3")
    run = reader.run("1")
    assert (run.state, run.finished, run.heartbeat) == (RunState.FAILED, 30.0, 30.0)
    assert (run.first_failure, run.first_failed_task) == (FAILURE, "work/3")


async def test_a_claimed_run_refuses_its_former_engine(store, reader):
    await store.create_run(record(), [])
    await store.append("1", 1, [started()])
    assert await store.claim_run("1") == 2
    assert await store.claim_run("1") == 3
    late = small("late")
    for stale in (
        store.append("1", 1, [succeeded(1)], [late], [LogChunk(1, 0, 0, 5)]),
        store.append("1", 2, []),
        store.append("1", 4, []),
        store.heartbeat("1", 2, 99.0),
        store.finish_run("1", 2, RunState.SUCCEEDED, 99.0, None, None),
    ):
        with pytest.raises(StaleEpoch, match="taken over by another engine"):
            await stale
    assert await journal(store) == [started()]
    assert reader.tasks("1", "work") == []
    assert reader.logs("1", 1) == []
    assert reader.small_blobs([late.key]) == {}
    assert (reader.run("1").epoch, reader.run("1").state) == (3, RunState.RUNNING)
    await store.append("1", 3, [succeeded(1)])
    assert len(await journal(store)) == 2


async def test_a_run_that_is_not_there_is_named(store):
    await store.create_run(record())
    for nowhere in (
        store.append("9", 1, [started("9")]),
        store.heartbeat("9", 1, 1.0),
        store.claim_run("9"),
        store.finish_run("9", 1, RunState.FAILED, 1.0, None, None),
    ):
        with pytest.raises(MetaflowNotFound, match="no run 9"):
            await nowhere
    assert await journal(store, "9") == []


# -- journal ---------------------------------------------------------------------------------------


async def test_the_journal_keeps_order_and_leaves_out_starts(store):
    await store.create_run(record())
    await store.create_run(record("2"))
    batches = [
        [started()],
        [TaskAccepted(attempt(1), "job-1"), TaskStarted(attempt(1), 20.0), succeeded(1)],
        [],
        [TaskStarted(attempt(2), 21.0)],
        [TaskFailed(attempt(2), FAILURE, 22.0), RetryDue(attempt(2, 1)), CancelRequested("enough", 23.0)],
        *[[succeeded(serial), TaskCancelled(attempt(serial + 100), 24.0)] for serial in range(3, 60)],
    ]
    for batch in batches:
        await store.append("1", 1, batch)
        await store.append("2", 1, [succeeded(99)])
    expected = [event for batch in batches for event in batch if not isinstance(event, TaskStarted)]
    assert await journal(store) == expected
    assert len(await journal(store, "2")) == len(batches)


async def test_an_event_with_a_large_traceback_comes_back(store, reader):
    await store.create_run(record())
    failure = Failure(FailureKind.USER, "x", "line\n" * 200_000)
    await store.append("1", 1, [TaskFailed(attempt(1), failure, 5.0)])
    assert (await journal(store))[0].failure == failure
    assert reader.task("1", "work", 1).attempts[0].failure == failure


# -- tasks -----------------------------------------------------------------------------------------


async def test_the_parameters_are_a_task_of_every_started_run(store, reader):
    await store.create_run(record())
    assert reader.steps("1") == []
    await store.append("1", 1, [started(at=11.0)])
    assert reader.task("1", "_parameters", 0) == TaskRecord(
        run_id="1",
        step="_parameters",
        serial=0,
        path=(),
        created=11.0,
        attempts=(AttemptRecord(number=0, state="succeeded", started=11.0, ended=11.0, manifest=MANIFEST),),
    )
    assert reader.steps("1") == [("_parameters", 11.0)]


async def test_a_task_is_seen_running_and_then_as_it_ended(store, reader):
    await store.create_run(record())
    running = Attempt(TaskId("work", (3, 70_000)), 0, 5)
    await store.append("1", 1, [TaskStarted(running, 20.0, "pid 7")])
    task = reader.task("1", "work", 5)
    assert (task.path, task.created) == ((3, 70_000), 20.0)
    assert task.attempts == (AttemptRecord(number=0, state="running", started=20.0, worker="pid 7"),)
    await store.append("1", 1, [TaskSucceeded(running, MANIFEST, None, 20.0, 25.0, "pid 7", caught=True)])
    ended = AttemptRecord(
        number=0, state="succeeded", started=20.0, ended=25.0, worker="pid 7", manifest=MANIFEST, caught=True
    )
    assert reader.task("1", "work", 5).attempts == (ended,)
    await store.append("1", 1, [TaskStarted(running, 20.0, "pid 7")])
    assert reader.task("1", "work", 5).attempts == (ended,), "a start that comes late changes nothing"


async def test_attempts_are_kept_oldest_first(store, reader):
    await store.create_run(record())
    left = BlobRef(b"l" * 32, 7)
    await store.append("1", 1, [TaskFailed(attempt(1), FAILURE, 21.0, 20.0, "pid 1", left)])
    await store.append("1", 1, [TaskStarted(attempt(1, 1), 22.0), TaskFailed(attempt(1, 1), FAILURE, 23.0)])
    await store.append("1", 1, [TaskStarted(attempt(1, 2), 24.0), TaskCancelled(attempt(1, 2), 25.0, 24.0, "pid 3")])
    await store.append("1", 1, [succeeded(1, 3, at=26.0)])
    (task,) = reader.tasks("1", "work")
    assert task.created == 20.0
    assert [(a.number, a.state, a.started, a.ended) for a in task.attempts] == [
        (0, "failed", 20.0, 21.0),
        (1, "failed", None, 23.0),
        (2, "cancelled", 24.0, 25.0),
        (3, "succeeded", 26.0, 27.0),
    ]
    assert task.attempts[0].failure == FAILURE
    assert task.attempts[0].manifest == left
    assert task.attempts[1].manifest is None


async def test_tasks_are_listed_newest_first_and_limited_by_task(store, reader):
    await store.create_run(record())
    await store.create_run(record("2"))
    await store.append("1", 1, [TaskFailed(attempt(s), FAILURE, 20.0) for s in range(2, 12)])
    await store.append("1", 1, [succeeded(s, 1) for s in range(2, 12)])
    await store.append("1", 1, [succeeded(1, step="start", at=9.0), succeeded(12, step="end", at=40.0)])
    await store.append("2", 1, [succeeded(77)])
    assert [task.serial for task in reader.tasks("1", "work")] == list(range(11, 1, -1))
    limited = reader.tasks("1", "work", limit=3)
    assert [(task.serial, len(task.attempts)) for task in limited] == [(11, 2), (10, 2), (9, 2)]
    assert reader.tasks("1", "work", limit=0) == []
    assert reader.steps("1") == [("end", 40.0), ("work", 20.0), ("start", 9.0)]
    assert reader.task("1", "start", 12) is None


# -- logs and small blobs --------------------------------------------------------------------------


async def test_places_of_log_lines_are_found_by_task_and_attempt(store, reader):
    await store.create_run(record())
    chunks = [LogChunk(1, 0, 0, 10), LogChunk(2, 0, 10, 5), LogChunk(1, 0, 15, 5), LogChunk(1, 1, 20, 1 << 33)]
    await store.append("1", 1, [], [], chunks[:2])
    await store.append("1", 1, [], [], chunks[2:])
    assert reader.logs("1", 1) == [chunks[0], chunks[2], chunks[3]]
    assert reader.logs("1", 1, 0) == [chunks[0], chunks[2]]
    assert reader.logs("1", 2, 1) == []
    assert reader.logs("2", 1) == []


async def test_small_blobs_are_there_with_their_batch(store, reader):
    blobs = [small(value) for value in range(700)]
    await store.create_run(record(), blobs[:10])
    await store.append("1", 1, [], [*blobs, *blobs[:5]])
    await store.append("1", 1, [], blobs)
    keys = [blob.key for blob in blobs]
    assert reader.small_blobs(keys) == {blob.key: blob.content for blob in blobs}
    assert reader.small_blobs(keys[:1]) == {keys[0]: blobs[0].content}
    assert reader.small_blobs([b"k" * 32]) == {}
    assert reader.small_blobs([b"k" * 32, keys[3]]) == {keys[3]: blobs[3].content}
    assert reader.small_blobs([]) == {}


async def test_small_blobs_are_found_on_every_level_of_their_index(store, reader, monkeypatch):
    monkeypatch.setattr(smallblobs, "CAPACITIES", (20, 100))
    monkeypatch.setattr(smallblobs, "REMEMBERED", 50)
    await store.create_run(record())
    blobs = [small(value) for value in range(1000)]
    for start in range(0, 1000, 7):
        # Some of each batch was written before, not long ago and long ago.
        await store.append("1", 1, [], [*blobs[start : start + 7], *blobs[max(0, start - 9) : start], *blobs[:2]])
    assert reader.small_blobs([blob.key for blob in blobs]) == {blob.key: blob.content for blob in blobs}
    for blob in blobs[::37]:
        assert reader.small_blobs([blob.key]) == {blob.key: blob.content}


# -- tags ------------------------------------------------------------------------------------------


async def test_tags_are_changed_removals_first(store, reader):
    await store.create_run(record(tags=("a", "b"), system_tags=("user:ann",)))
    assert reader.change_tags("1", add=["c", "a"], remove=["a", "nowhere"]) == ("a", "b", "c")
    assert reader.change_tags("1", remove=["b"]) == ("a", "c")
    assert reader.change_tags("1") == ("a", "c")
    assert reader.run("1").tags == ("a", "c")
    assert reader.run("1").system_tags == ("user:ann",)


async def test_a_system_tag_stays_one(store, reader):
    await store.create_run(record(tags=("user:ann", "a"), system_tags=("user:ann",)))
    assert reader.run("1").tags == ("a",)
    assert reader.change_tags("1", add=["user:ann"]) == ("a",)
    with pytest.raises(MetaflowTaggingError, match="System tags can't be removed: user:ann"):
        reader.change_tags("1", add=["b"], remove=["user:ann"])
    assert reader.run("1").tags == ("a",)


@pytest.mark.parametrize("tag", ["", "x" * 501, 5, "\ud800"], ids=["empty", "long", "number", "surrogate"])
async def test_what_is_no_tag_is_refused(store, reader, tag):
    await store.create_run(record())
    assert reader.change_tags("1", add=["x" * 500]) == ("x" * 500,)
    with pytest.raises(MetaflowTaggingError, match="1 to 500 characters"):
        reader.change_tags("1", add=["good", tag])
    assert reader.run("1").tags == ("x" * 500,)


async def test_any_unicode_is_a_tag(store, reader):
    tags = ["a\x00b", "\n\t\"\\'", "\u2028", "\U0001f4a5", "%_*"]
    await store.create_run(record(tags=tags[:2]))
    assert reader.change_tags("1", add=tags[2:]) == tuple(sorted(tags))
    assert reader.run("1").tags == tuple(sorted(tags))
    for tag in tags:
        assert [run.run_id for run in reader.runs(tags=[tag])] == ["1"]


async def test_a_run_has_fifty_tags_at_most(store, reader):
    await store.create_run(record(system_tags=("user:ann",)))
    fifty = [f"t{i:02}" for i in range(50)]
    assert reader.change_tags("1", add=fifty) == tuple(fifty)
    with pytest.raises(MetaflowTaggingError, match="at most 50 tags; it would have 51"):
        reader.change_tags("1", add=["one more"])
    assert len(reader.change_tags("1", add=["one more"], remove=["t00"])) == 50


async def test_tags_changed_by_many_threads_are_all_kept(store, reader):
    await store.create_run(record(tags=("gone",)))
    errors = []

    def add(who):
        try:
            for i in range(10):
                reader.change_tags("1", add=[f"{who}-{i}"], remove=["gone"])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(reader.run("1").tags) == {f"{who}-{i}" for who in range(4) for i in range(10)}


# -- concurrency and cancellation ------------------------------------------------------------------


async def test_runs_of_one_store_are_written_at_once(store):
    for run_id in "123":
        await store.create_run(record(run_id))

    async def write(run_id):
        for serial in range(20):
            await store.append(run_id, 1, [succeeded(serial)], [small((run_id, serial))])

    await asyncio.gather(*map(write, "123"))
    for run_id in "123":
        assert [event.attempt.serial for event in await journal(store, run_id)] == list(range(20))


async def test_an_append_that_is_cancelled_at_any_point_is_whole_or_absent(store, reader):
    await store.create_run(record())
    for pauses in range(6):
        serial = pauses + 1
        blob = small(("blob", serial))
        before = len(await journal(store))
        batch = [succeeded(serial), RetryDue(attempt(serial, 1))]
        append = asyncio.ensure_future(store.append("1", 1, batch, [blob], [LogChunk(serial, 0, serial, 1)]))
        for _ in range(pauses):
            await asyncio.sleep(0)
        was_cancelled = append.cancel()
        if was_cancelled:
            with pytest.raises(asyncio.CancelledError):
                await append
        # The answer to a cancellation is not given before it is known which it is.
        is_there = len(await journal(store)) - before
        assert is_there in (0, 2)
        if not was_cancelled or pauses >= 2:
            assert is_there == 2
        assert (reader.task("1", "work", serial) is not None) is (is_there == 2)
        assert (reader.small_blobs([blob.key]) != {}) is (is_there == 2)
        assert len(reader.logs("1", serial)) == is_there // 2
    await store.append("1", 1, [succeeded(99)])
    assert (await journal(store))[-1] == succeeded(99)


async def test_an_append_in_a_timeout_that_is_over_is_followed_by_others_in_order(store):
    await store.create_run(record())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            for serial in range(1000):
                await store.append("1", 1, [succeeded(serial)])
                await asyncio.sleep(0)
    await store.append("1", 1, [succeeded(5000)])
    serials = [event.attempt.serial for event in await journal(store)]
    assert serials == [*range(len(serials) - 1), 5000]


async def test_readers_of_many_threads_see_whole_batches_while_they_are_written(store, reader):
    await store.create_run(record())
    stop = threading.Event()
    errors = []

    def read():
        try:
            while not stop.is_set():
                tasks = reader.tasks("1", "work")
                assert len(tasks) % 5 == 0
                run = reader.run("1")
                assert run is not None
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for start in range(0, 200, 5):
        await store.append("1", 1, [succeeded(serial) for serial in range(start, start + 5)])
    stop.set()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert errors == []
