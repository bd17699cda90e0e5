"""What asyncflow offers to tests: ``run_step``, ``FakeExecutor``, ``ManualClock``."""

from __future__ import annotations

import asyncio

import pytest

from asyncflow import Engine, FlowSpec, Parameter, current, step
from asyncflow.errors import InvalidForeach, ParameterError, RunCancelled, RunFailed, UsageError
from asyncflow.events import Attempt, Failure, FailureKind, Next, TaskId, TaskLog
from asyncflow.testing import FakeExecutor, ManualClock, run_step
from flows.shapes import BranchFlow, CountdownFlow, LinearFlow, NestedFlow, SquaresFlow, SwitchFlow

# -- run_step --------------------------------------------------------------------------------------


def test_a_step_leaves_its_artifacts_and_says_where_it_leads():
    result = run_step(LinearFlow.start)
    assert result.x == 20
    assert result.step == "start"
    assert result.next == Next(("middle",))
    assert result.artifacts == {"alpha": 2, "greeting": "hello", "x": 20}
    assert not hasattr(result, "y")
    assert repr(result) == "<StepResult of start: greeting, alpha, x>"


def test_a_step_starts_from_artifacts_and_parameters():
    assert run_step(LinearFlow.middle, artifacts={"x": 5}).y == 10
    assert run_step(LinearFlow.middle, artifacts={"x": 5}, parameters={"alpha": 3}).y == 15
    with pytest.raises(AttributeError, match="Flow LinearFlow has no attribute 'x'"):
        run_step(LinearFlow.middle)
    with pytest.raises(ParameterError):
        run_step(LinearFlow.middle, parameters={"beta": 1})


def test_a_step_starts_from_what_another_left():
    start = run_step(LinearFlow.start, parameters={"alpha": 7})
    middle = run_step(LinearFlow.middle, artifacts=start)
    assert (middle.y, middle.alpha) == (140, 7)
    assert run_step(LinearFlow.middle, artifacts=start, parameters={"alpha": 1}).y == 20


def test_a_step_in_a_foreach_has_an_input():
    assert run_step(SquaresFlow.work, input=7).square == 49
    assert run_step(NestedFlow.leaf, artifacts={"letter": "q"}, input=3, index=4, width=9).stack == [
        (0, 1, None),
        (4, 9, 3),
    ]
    start = run_step(SquaresFlow.start, parameters={"n": 3})
    assert start.next == Next(("work",), 3, "numbers")
    assert [run_step(SquaresFlow.work, artifacts=start, index=index).square for index in range(3)] == [0, 1, 4]
    with pytest.raises(UsageError, match="'middle' is in no foreach"):
        run_step(LinearFlow.middle, input=1)


def test_a_join_takes_inputs():
    assert run_step(SquaresFlow.join, inputs=[{"square": 3}, {"square": 4}]).total == 7
    sides = run_step(BranchFlow.join, inputs={"right": {"side": "r", "more": 1}, "left": {"side": "l"}})
    assert (sides.sides, sides.more) == (["l", "r"], 1)
    assert run_step(BranchFlow.join, inputs=[{"side": "l"}, {"side": "r"}]).by_name == ("l", "r")
    start = run_step(SquaresFlow.start, parameters={"n": 3})
    work = [run_step(SquaresFlow.work, artifacts=start, index=index) for index in range(3)]
    join = run_step(SquaresFlow.join, inputs=work)
    assert (join.squares, join.n) == ([0, 1, 4], 3)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: run_step(BranchFlow.join), "'join' is a join: give it `inputs`"),
        (lambda: run_step(BranchFlow.join, inputs=[{}]), "joins left, right: give one input for each"),
        (lambda: run_step(BranchFlow.join, inputs={"up": {}}), "'up' doesn't lead to 'join'; to it lead left, right"),
        (lambda: run_step(SquaresFlow.join, inputs={"work": {}}), "name no steps for the join of a foreach"),
        (lambda: run_step(LinearFlow.start, inputs=[{}]), "is no join"),
        (lambda: run_step(len), "takes a step of a flow"),
        (lambda: run_step(LinearFlow), "takes a step of a flow"),
        (lambda: run_step(SquaresFlow.work, flow=LinearFlow), "LinearFlow has no step 'work'"),
    ],
)
def test_what_cannot_be_run_is_said(call, says):
    with pytest.raises(UsageError, match=says):
        call()


def test_what_a_step_raises_is_raised():
    class RaisingFlow(FlowSpec):
        how = Parameter("how", default="raise")

        @step
        def start(self):
            if self.how == "raise":
                raise LookupError("as it is")
            self.items = []
            self.next(self.work, foreach="items")

        @step
        def work(self):
            self.next(self.join)

        @step
        def join(self, inputs):
            self.next(self.end)

        @step
        def end(self):
            pass

    with pytest.raises(LookupError, match="as it is"):
        run_step(RaisingFlow.start)
    with pytest.raises(InvalidForeach, match="empty"):
        run_step(RaisingFlow.start, parameters={"how": "empty"})


def test_the_flow_of_an_inherited_step_is_the_one_that_defines_it_unless_said():
    class Mixin:
        @step
        def start(self):
            self.who = self.name
            self.next(self.end)

    class OneFlow(Mixin, FlowSpec):
        @step
        def end(self):
            self.who = current.flow_name

    class ChildFlow(OneFlow):
        pass

    assert run_step(OneFlow.end).who == "OneFlow"
    assert run_step(ChildFlow.end, flow=ChildFlow).who == "ChildFlow"
    with pytest.raises(UsageError, match=r"say run_step\(..., flow=MyFlow\)"):
        run_step(Mixin.start)
    assert run_step(Mixin.start, flow=OneFlow).who == "OneFlow"


def test_current_is_there_in_a_step_under_test():
    class CurrentFlow(FlowSpec):
        @step
        def start(self):
            self.seen = (current.pathspec, current.retry_count, current.is_running_flow)
            self.next(self.end)

        @step
        def end(self):
            pass

    assert run_step(CurrentFlow.start, retry_count=2).seen == ("CurrentFlow/1/start/1", 2, True)


# -- FakeExecutor ----------------------------------------------------------------------------------


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def store(tmp_path):
    return tmp_path / ".asyncflow"


def steps(fake):
    return [spec.attempt.task.step for spec in fake.submitted]


@pytest.mark.anyio
async def test_a_fake_goes_through_the_graph(store):
    fake = FakeExecutor(widths={"start": 3, "middle": 2})
    run = await Engine(NestedFlow, executor=fake, store=store).run()
    assert run.successful
    counts = {name: steps(fake).count(name) for name in dict.fromkeys(steps(fake))}
    assert counts == {"start": 1, "middle": 3, "leaf": 6, "inner_join": 3, "outer_join": 1, "end": 1}


@pytest.mark.anyio
async def test_a_fake_answers_by_script(store):
    scripts = {
        "start": Next(("careful",)),
        "careful": {"took": "script"},
    }
    fake = FakeExecutor(scripts, logs={"careful": ["one", "two"]})
    async with Engine(SwitchFlow, executor=fake, store=store).start() as handle:
        lines = [event.line async for event in handle.events() if isinstance(event, TaskLog)]
        run = await handle.result()
    assert steps(fake) == ["start", "careful", "end"]
    assert lines == [b"one", b"two"]
    assert run["careful"].task.data.took == "script"
    assert run["careful"].task.stdout == "one\ntwo\n"


@pytest.mark.anyio
async def test_a_fakes_recursion_ends(store):
    fake = FakeExecutor({"tick": lambda spec: Next(("tick" if spec.attempt.task.path[-1] < 2 else "end",))})
    await Engine(CountdownFlow, executor=fake, store=store).run()
    assert steps(fake) == ["start", "tick", "tick", "tick", "end"]
    plain = FakeExecutor()
    await Engine(CountdownFlow, executor=plain, store=store).run()
    assert steps(plain) == ["start", "tick", "end"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (ValueError("flaky"), FailureKind.USER, "ValueError: flaky"),
        (Failure(FailureKind.CRASH, "killed by SIGSEGV"), FailureKind.CRASH, "SIGSEGV"),
        (lambda spec: 1 / 0, FailureKind.USER, "ZeroDivisionError"),
        ([ValueError("first"), None], FailureKind.USER, "first"),
    ],
)
async def test_a_fake_fails(store, answer, kind, says):
    with pytest.raises(RunFailed, match=says) as caught:
        await Engine(LinearFlow, executor=FakeExecutor({"middle": answer}), store=store).run()
    assert caught.value.failure.kind is kind


@pytest.mark.anyio
async def test_a_fake_that_is_driven_by_hand(store):
    fake = FakeExecutor(manual=True, slots=2)
    async with Engine(SquaresFlow, executor=fake, store=store).start() as handle:
        session = await fake.attached()
        (start,) = await session.waiting()
        session.start(start.attempt)
        session.log(start.attempt, "hello")
        session.end(start.attempt, Next(("work",), 3, "numbers"))
        with pytest.raises(KeyError):
            session.end(start.attempt)
        first, second = await session.waiting(2)
        assert (first.frames[0].index, second.frames[0].index) == (0, 1)
        session.end(second.attempt)
        await fake.until(lambda: len(fake.submitted) == 4)
        session.end(first.attempt, ValueError("no"))
        with pytest.raises(RunFailed, match="no"):
            await handle.result()
    assert [attempt.task for attempt in fake.cancelled] == [TaskId("work", (2,))]


@pytest.mark.anyio
async def test_a_deaf_fake_ends_when_it_wants(store):
    fake = FakeExecutor(manual=True, deaf=True)
    async with Engine(LinearFlow, executor=fake, store=store).start() as handle:
        session = await fake.attached()
        (start,) = await session.waiting()
        handle.cancel("enough")
        await fake.until(lambda: fake.cancelled)
        assert list(session.pending) == [start.attempt]
        session.end(start.attempt)
        with pytest.raises(RunCancelled, match="enough"):
            await handle.result()
    assert steps(fake) == ["start"]


@pytest.mark.anyio
async def test_waiting_for_what_never_comes_times_out(store):
    fake = FakeExecutor(manual=True)
    async with Engine(LinearFlow, executor=fake, store=store).start() as handle:
        session = await fake.attached()
        with pytest.raises(TimeoutError):
            await session.waiting(2, timeout=0.01)
        handle.cancel()
        with pytest.raises(RunCancelled):
            await handle.result()


@pytest.mark.anyio
async def test_a_fake_adopts_what_is_pending(store):
    fake = FakeExecutor(manual=True)
    async with Engine(LinearFlow, executor=fake, store=store).start() as handle:
        session = await fake.attached()
        (start,) = await session.waiting()
        session.accept(start.attempt, "handle")
        other = Attempt(TaskId("x"), 0, 9)
        assert await session.adopt({start.attempt: "handle", other: None}) == {start.attempt}
        handle.cancel()
        with pytest.raises(RunCancelled):
            await handle.result()


# -- ManualClock -----------------------------------------------------------------------------------


def test_a_manual_clock_stands_still_until_it_is_moved():
    clock = ManualClock(100.0)
    called = []
    clock.call_at(103.0, lambda: called.append(("late", clock.now())))
    clock.call_at(101.0, lambda: called.append(("early", clock.now())))
    gone = clock.call_at(102.0, lambda: called.append(("never", clock.now())))
    gone.cancel()
    clock.advance(0.5)
    assert (called, clock.now(), clock.next_due) == ([], 100.5, 101.0)
    clock.advance(10)
    assert called == [("early", 101.0), ("late", 103.0)]
    assert (clock.now(), clock.next_due) == (110.5, None)


def test_what_is_asked_for_meanwhile_is_called_too():
    clock = ManualClock(0.0)
    beats = []

    def beat():
        beats.append(clock.now())
        clock.call_at(clock.now() + 5, beat)

    clock.call_at(5.0, beat)
    clock.advance(17)
    assert beats == [5.0, 10.0, 15.0]
    assert clock.advance_to_next()
    assert clock.now() == 20.0


def test_of_two_at_one_time_the_first_asked_comes_first():
    clock = ManualClock(0.0)
    called = []
    for name in "abc":
        clock.call_at(1.0, lambda name=name: called.append(name))
    clock.call_at(-5.0, lambda: called.append("past"))
    assert clock.advance_to_next()
    assert (called, clock.now()) == (["past"], 0.0)
    clock.advance(1)
    assert called == ["past", "a", "b", "c"]
    assert not clock.advance_to_next()
    with pytest.raises(ValueError, match="doesn't go back"):
        clock.advance(-1)


@pytest.mark.anyio
async def test_the_clock_of_the_loop_calls_back():
    from asyncflow.engine.clock import LoopClock

    clock = LoopClock()
    called = asyncio.Event()
    clock.call_at(clock.now() - 1, called.set)
    gone = clock.call_at(clock.now() + 1000, called.clear)
    gone.cancel()
    async with asyncio.timeout(10):
        await called.wait()
