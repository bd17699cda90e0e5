"""What every executor promises: ``protocols.Executor`` and ``protocols.Session``."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest

from asyncflow.events import (
    Attempt,
    FailureKind,
    Frame,
    Next,
    RunContext,
    TaskCancelled,
    TaskFailed,
    TaskId,
    TaskInput,
    TaskLog,
    TaskSpec,
    TaskStarted,
    TaskSucceeded,
)
from asyncflow.executors.inline import InlineExecutor
from asyncflow.executors.local import LocalExecutor
from asyncflow.loader import source_of
from asyncflow.protocols import RunRecord
from asyncflow.store.artifacts import Manifest
from asyncflow.store.local import LocalStore
from asyncflow.testing import FakeExecutor
from asyncflow.worker.task import initial_artifacts
from flows.orders import OrdersFlow

pytestmark = pytest.mark.anyio
ENDINGS = (TaskSucceeded, TaskFailed, TaskCancelled)


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Harness:
    """An executor under test, and what a test must know of it."""

    captures = True
    """Output becomes log lines."""
    concurrent = True
    """The test goes on while a task runs."""

    def __init__(self, executor):
        self.executor = executor

    def play(self, session):
        """Lets what is submitted go on, where that is the test's business."""

    def release(self, session, folder):
        """Lets waiting tasks go on."""
        (folder / "go").touch()


class FakeHarness(Harness):
    """The orders, played by the test."""

    def __init__(self, orders):
        super().__init__(FakeExecutor(manual=True, slots=2))
        self.orders = orders

    def play(self, session):
        for attempt, spec in list(session.pending.items()):
            if attempt.task.step not in session.graph.nodes:
                session.end(attempt, ValueError("no such step"))
                continue
            order, _, detail = self.orders[spec.frames[0].index].partition(" ")
            session.start(attempt)
            if order == "print":
                for number in range(int(detail)):
                    session.log(attempt, f"line {number}", "stderr" if number % 2 else "stdout")
            if order != "wait":
                session.end(attempt, ValueError(f"order {spec.frames[0].index}") if order == "fail" else None)

    def release(self, session, folder):
        for attempt in list(session.pending):
            session.end(attempt)


class InlineHarness(Harness):
    captures = False
    concurrent = False


@pytest.fixture(params=["fake", "inline", "local-step", "local-task"])
def make(request):
    """Makes a harness for a run with these orders."""

    def harness(orders):
        match request.param:
            case "fake":
                return FakeHarness(orders)
            case "inline":
                return InlineHarness(InlineExecutor())
            case name:
                return Harness(LocalExecutor(2, name.removeprefix("local-")))

    return harness


class Bench:
    """One run's side of a session: what was emitted, and a store that keeps it."""

    def __init__(self, store, run_id, orders):
        self.store = store
        self.orders = orders
        self.parameters, self.small, _ = initial_artifacts(OrdersFlow, {"orders": orders})
        self.context = RunContext(
            run_id=run_id,
            flow_name="OrdersFlow",
            source=source_of(OrdersFlow),
            store=str(store.root),
            parameters=self.parameters,
        )
        self.emitted = []
        self.blobs = {}
        self.threads = set()
        self.changed = asyncio.Event()
        self.behind = 0
        """How many more lines are answered with False."""

    async def create(self):
        record = RunRecord(flow_name="OrdersFlow", run_id=self.context.run_id, created=1.0)
        await self.store.metadata.create_run(record, self.small)

    def attach(self, executor):
        return executor.attach(self.context, self.emit, self.emit_log)

    def emit(self, event, blobs):
        self.threads.add(threading.get_ident())
        self.emitted.append(event)
        self.blobs.update({blob.key: blob.content for blob in blobs})
        self.changed.set()

    def emit_log(self, log):
        self.threads.add(threading.get_ident())
        self.emitted.append(log)
        self.changed.set()
        self.behind -= 1
        return self.behind < 0

    def spec(self, index, *, step="work", number=0):
        frame = Frame("start", "orders", index, len(self.orders))
        attempt = Attempt(TaskId(step, (index,)), number, index + 1)
        return TaskSpec(attempt, (TaskInput(TaskId("start"), self.parameters),), (frame,))

    @property
    def specs(self):
        return [self.spec(index) for index in range(len(self.orders))]

    @property
    def endings(self):
        return {event.attempt.serial - 1: event for event in self.emitted if isinstance(event, ENDINGS)}

    async def until(self, condition, *, seconds=30.0):
        """Waits until ``condition()`` holds; it is asked after everything that is emitted, and now and then."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                try:
                    await asyncio.wait_for(self.changed.wait(), 0.02)
                except TimeoutError:
                    continue  # the condition may be about something else than what is emitted

    async def ended(self, count):
        await self.until(lambda: len(self.endings) >= count)

    def check(self):
        """For each attempt one ending, at most one start, which comes before it, and all its lines before it."""
        seen = {}
        for event in self.emitted:
            kinds = seen.setdefault(event.attempt, Counter())
            assert not kinds["ended"], f"{event} after the ending"
            if isinstance(event, TaskStarted):
                kinds["started"] += 1
            elif isinstance(event, ENDINGS):
                kinds["ended"] += 1
            assert kinds["started"] <= 1
        assert self.threads <= {threading.get_ident()}


@pytest.fixture
def store(tmp_path):
    with LocalStore.open(tmp_path / ".asyncflow") as opened:
        yield opened


@pytest.fixture
async def bench_of(store):
    benches = []

    async def make_bench(orders, run_id="1"):
        bench = Bench(store, run_id, orders)
        await bench.create()
        benches.append(bench)
        return bench

    yield make_bench
    for bench in benches:
        bench.check()


async def test_every_spec_ends_once(make, bench_of):
    bench = await bench_of(["succeed"] * 30)
    harness = make(bench.orders)
    async with bench.attach(harness.executor) as session:
        session.submit(bench.specs)
        harness.play(session)
        await bench.ended(30)
    assert sorted(bench.endings) == list(range(30))
    for index, ending in bench.endings.items():
        assert isinstance(ending, TaskSucceeded)
        assert ending.attempt == bench.spec(index).attempt
        assert ending.next == Next(("join",))
        assert ending.started <= ending.ended
        assert Manifest.decode(bench.blobs[ending.manifest.key]) is not None


async def test_an_executor_says_how_much_it_takes(make, bench_of):
    bench = await bench_of(["succeed"])
    harness = make(bench.orders)
    assert harness.executor.name
    assert harness.executor.slots >= 1
    async with bench.attach(harness.executor) as session:
        assert session.window >= 1


async def test_a_failure_is_an_ending_and_the_others_go_on(make, bench_of):
    bench = await bench_of(["succeed", "fail", "succeed", "fail"])
    harness = make(bench.orders)
    async with bench.attach(harness.executor) as session:
        session.submit(bench.specs)
        harness.play(session)
        await bench.ended(4)
    assert [type(bench.endings[index]) for index in range(4)] == [TaskSucceeded, TaskFailed] * 2
    failure = bench.endings[3].failure
    assert (failure.kind, failure.message) == (FailureKind.USER, "ValueError: order 3")


async def test_a_session_takes_more_when_tasks_have_ended(make, bench_of):
    bench = await bench_of(["succeed"] * 4)
    harness = make(bench.orders)
    async with bench.attach(harness.executor) as session:
        for count, spec in enumerate(bench.specs, 1):
            session.submit([spec])
            harness.play(session)
            await bench.ended(count)
    assert len(bench.endings) == 4


async def test_another_attempt_of_a_task_is_a_spec_like_any_other(make, bench_of):
    bench = await bench_of(["fail"])
    harness = make(bench.orders)
    async with bench.attach(harness.executor) as session:
        for number in range(3):
            session.submit([bench.spec(0, number=number)])
            harness.play(session)
            await bench.until(lambda n=number: sum(isinstance(event, ENDINGS) for event in bench.emitted) == n + 1)
    assert [event.attempt.number for event in bench.emitted if isinstance(event, ENDINGS)] == [0, 1, 2]


async def test_a_spec_that_cannot_be_run_fails(make, bench_of):
    bench = await bench_of(["succeed"] * 2)
    harness = make(bench.orders)
    async with bench.attach(harness.executor) as session:
        session.submit([bench.spec(0, step="no_such_step"), bench.spec(1)])
        harness.play(session)
        await bench.ended(2)
    assert isinstance(bench.endings[0], TaskFailed)
    assert isinstance(bench.endings[1], TaskSucceeded)


async def test_lines_come_before_the_ending_each_with_its_stream(make, bench_of):
    bench = await bench_of(["print 20", "succeed", "print 3"])
    harness = make(bench.orders)
    async with bench.attach(harness.executor) as session:
        session.submit(bench.specs)
        harness.play(session)
        await bench.ended(3)
    if not harness.captures:
        assert not any(isinstance(event, TaskLog) for event in bench.emitted)
        return
    for index, count in ((0, 20), (1, 0), (2, 3)):
        logs = [each for each in bench.emitted if isinstance(each, TaskLog) and each.attempt.serial == index + 1]
        for stream, first in (("stdout", 0), ("stderr", 1)):
            lines = [log.line for log in logs if log.stream == stream]
            assert lines == [f"line {number}".encode() for number in range(first, count, 2)]


async def test_no_line_is_lost_when_the_log_store_is_behind(make, bench_of):
    bench = await bench_of(["print 50"])
    harness = make(bench.orders)
    if not harness.captures:
        pytest.skip("it captures nothing")
    bench.behind = 2
    async with bench.attach(harness.executor) as session:
        session.submit(bench.specs)
        harness.play(session)
        await bench.until(lambda: bench.behind < 2)
        while not bench.endings:
            count = len(bench.emitted)
            session.resume_logs()
            await bench.until(lambda c=count: len(bench.emitted) > c or bool(bench.endings))
    assert sum(isinstance(event, TaskLog) for event in bench.emitted) == 50


async def test_what_waits_can_be_cancelled(make, bench_of):
    bench = await bench_of(["succeed"] * 50)
    harness = make(bench.orders)
    async with bench.attach(harness.executor) as session:
        session.submit(bench.specs)
        session.cancel([spec.attempt for spec in bench.specs], grace=5.0)
        await bench.ended(50)
    assert all(isinstance(ending, TaskCancelled | TaskSucceeded) for ending in bench.endings.values())
    assert any(isinstance(ending, TaskCancelled) for ending in bench.endings.values())


async def test_what_runs_can_be_cancelled(make, bench_of, tmp_path):
    bench = await bench_of([f"wait {tmp_path}"] * 3)
    harness = make(bench.orders)
    if not harness.concurrent:
        pytest.skip("nothing else happens while a task runs")
    async with bench.attach(harness.executor) as session:
        session.submit(bench.specs)
        harness.play(session)
        await bench.until(lambda: sum(isinstance(event, TaskStarted) for event in bench.emitted) >= 2)
        session.cancel([spec.attempt for spec in bench.specs[:2]], grace=5.0)
        session.cancel([spec.attempt for spec in bench.specs[:2]], grace=5.0)
        await bench.ended(2)
        assert {index: type(ending) for index, ending in bench.endings.items()} == dict.fromkeys((0, 1), TaskCancelled)
        harness.release(session, tmp_path)
        await bench.ended(3)
    assert isinstance(bench.endings[2], TaskSucceeded)


async def test_cancelling_what_is_unknown_or_has_ended_does_nothing(make, bench_of):
    bench = await bench_of(["succeed"] * 2)
    harness = make(bench.orders)
    async with bench.attach(harness.executor) as session:
        session.cancel([bench.spec(0).attempt, Attempt(TaskId("nowhere"), 0, 99)], grace=0.0)
        session.cancel([], grace=0.0)
        await asyncio.sleep(0)
        session.submit(bench.specs)
        harness.play(session)
        await bench.ended(2)
        session.cancel([spec.attempt for spec in bench.specs], grace=0.0)
        await asyncio.sleep(0)
    assert all(isinstance(ending, TaskSucceeded) for ending in bench.endings.values())


async def test_nothing_is_emitted_after_a_run_has_left(make, bench_of, tmp_path):
    waiting = make([]).concurrent
    bench = await bench_of([f"wait {tmp_path}" if waiting else "succeed"] * 4)
    harness = make(bench.orders)
    async with bench.attach(harness.executor) as session:
        session.submit(bench.specs)
        harness.play(session)
        if waiting:
            await bench.until(lambda: any(isinstance(event, TaskStarted) for event in bench.emitted))
    count = len(bench.emitted)
    (tmp_path / "go").touch()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(bench.emitted) == count


async def test_several_runs_share_one_executor(make, bench_of):
    first = await bench_of(["succeed", "fail"] * 5, "1")
    second = await bench_of(["fail", "succeed"] * 5, "2")
    harness, other = make(first.orders), make(second.orders)
    async with first.attach(harness.executor) as one, second.attach(harness.executor) as two:
        one.submit(first.specs)
        two.submit(second.specs)
        harness.play(one)
        other.play(two)
        await first.ended(10)
        await second.ended(10)
    assert [isinstance(first.endings[index], TaskFailed) for index in range(10)] == [False, True] * 5
    assert [isinstance(second.endings[index], TaskFailed) for index in range(10)] == [True, False] * 5


async def test_one_run_leaving_does_not_disturb_another(make, bench_of):
    first = await bench_of(["succeed"] * 5, "1")
    second = await bench_of(["succeed"] * 5, "2")
    harness = make(first.orders)
    async with first.attach(harness.executor) as one:
        async with second.attach(harness.executor) as two:
            two.submit(second.specs)
        one.submit(first.specs)
        harness.play(one)
        await first.ended(5)
    assert all(isinstance(ending, TaskSucceeded) for ending in first.endings.values())


async def test_an_executor_can_be_used_again(make, bench_of):
    first = await bench_of(["succeed"], "1")
    second = await bench_of(["succeed"], "2")
    harness = make(first.orders)
    for bench in (first, second):
        async with bench.attach(harness.executor) as session:
            session.submit(bench.specs)
            harness.play(session)
            await bench.ended(1)
    assert isinstance(second.endings[0], TaskSucceeded)


async def test_what_nobody_knows_is_not_adopted(make, bench_of):
    bench = await bench_of(["succeed"])
    harness = make(bench.orders)
    async with bench.attach(harness.executor) as session:
        assert await session.adopt({bench.spec(0).attempt: None}) == frozenset()
        assert await session.adopt({}) == frozenset()
