"""Random flows under random success, failure, loss, duplicates, cancels, changes of limits and crashes of the engine.

What must hold after each event stands in ``Rig`` and in ``Scheduler.check()``; here is only what may happen.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from scheduler_model import Body, bodies, graph_of
from scheduler_rig import Rig, failure, policy

from asyncflow.engine.retry import MAX_LOSSES
from asyncflow.events import (
    Attempt,
    CancelRequested,
    FailureKind,
    LimitChanged,
    OnFailure,
    RetryDue,
    TaskAccepted,
    TaskCancelled,
    TaskFailed,
    TaskStarted,
)
from asyncflow.graph import NodeKind

EXECUTORS = ("local", "batch")
POLICIES = [
    policy(executor, times=times, delay=delay, backoff=2.0)
    for executor in EXECUTORS
    for times, delay in ((0, 0.0), (2, 0.0), (3, 5.0))
]
limits = st.integers(0, 4)


class SchedulerMachine(RuleBasedStateMachine):
    rig: Rig

    @initialize(
        body=bodies(),
        policies=st.lists(st.sampled_from(POLICIES), min_size=5, max_size=5),
        sizes=st.fixed_dictionaries(dict.fromkeys(EXECUTORS, st.integers(1, 5))),
        on_failure=st.sampled_from((OnFailure.KEEP_GOING, OnFailure.FINISH_RUNNING, OnFailure.STOP)),
    )
    def begin(self, body: Body, policies: list, sizes: dict[str, int], on_failure: OnFailure) -> None:
        graph = graph_of(body)
        by_step = {name: policies[place % len(policies)] for place, name in enumerate(graph.nodes)}
        self.rig = Rig(graph, limits=sizes, policies=by_step, on_failure=on_failure)
        self.rig.start()

    def pick(self, data: st.DataObject) -> Attempt:
        return data.draw(st.sampled_from(list(self.rig.flying)))

    def end_well(self, attempt: Attempt, data: st.DataObject) -> None:
        node = self.rig.graph[attempt.task.step]
        width = data.draw(st.integers(1, 3)) if node.kind is NodeKind.FOREACH else None
        to = data.draw(st.sampled_from(node.out)) if node.kind is NodeKind.SWITCH else None
        self.rig.send(self.rig.success(attempt, width=width, to=to))

    flying = precondition(lambda self: self.rig.flying)

    @flying
    @rule(data=st.data())
    def one_succeeds(self, data: st.DataObject) -> None:
        self.end_well(self.pick(data), data)

    @flying
    @rule(data=st.data(), rounds=st.integers(2, 8))
    def many_succeed(self, data: st.DataObject, rounds: int) -> None:
        for _ in range(rounds):
            if self.rig.flying:
                self.end_well(self.pick(data), data)

    @flying
    @rule(data=st.data())
    def one_is_running(self, data: st.DataObject) -> None:
        attempt = self.pick(data)
        if attempt not in self.rig.started:
            self.rig.send(TaskAccepted(attempt, "handle"))
            self.rig.send(TaskStarted(attempt, 0.0))

    @flying
    @rule(data=st.data(), kind=st.sampled_from(FailureKind))
    def one_fails(self, data: st.DataObject, kind: FailureKind) -> None:
        self.rig.send(TaskFailed(self.pick(data), failure(kind), 0.0))

    @flying
    @rule(data=st.data())
    def one_fails_for_good(self, data: st.DataObject) -> None:
        if len(self.rig.specs) > 4:  # early ones leave little to see
            self.rig.send(TaskFailed(self.pick(data), failure(retriable=False), 0.0))

    @flying
    @rule(data=st.data(), times=st.integers(1, MAX_LOSSES + 1))
    def one_is_lost(self, data: st.DataObject, times: int) -> None:
        task = self.pick(data).task
        for _ in range(times):
            for attempt in [attempt for attempt in self.rig.flying if attempt.task == task]:
                self.rig.send(TaskFailed(attempt, failure(FailureKind.LOST), 0.0))

    @precondition(lambda self: self.rig.stopping)
    @rule(data=st.data())
    def one_has_stopped(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from([a for a in self.rig.flying if a in self.rig.stopping]))
        self.rig.send(TaskCancelled(attempt, 0.0))

    @precondition(lambda self: self.rig.endings)
    @rule(data=st.data())
    def an_ending_comes_twice(self, data: st.DataObject) -> None:
        self.rig.again(data.draw(st.sampled_from(self.rig.endings)))

    @precondition(lambda self: self.rig.endings)
    @rule(data=st.data())
    def a_start_comes_late(self, data: st.DataObject) -> None:
        self.rig.again(TaskStarted(data.draw(st.sampled_from(self.rig.endings)).attempt, 0.0))

    @precondition(lambda self: self.rig.waiting)
    @rule(data=st.data())
    def a_retry_is_due(self, data: st.DataObject) -> None:
        self.rig.send(RetryDue(data.draw(st.sampled_from(list(self.rig.waiting)))))

    @precondition(lambda self: len(self.rig.specs) > 8)
    @rule()
    def cancel(self) -> None:
        self.rig.send(CancelRequested("enough", 0.0))

    @rule(executor=st.sampled_from(EXECUTORS), limit=limits)
    def limit_changes(self, executor: str, limit: int) -> None:
        self.rig.send(LimitChanged(executor, limit))

    @rule()
    def the_engine_is_replaced(self) -> None:
        """Killed, and recovered from the journal; what was running has to say so again."""
        self.rig.scheduler = self.rig.replayed()
        self.rig.started.clear()

    def teardown(self) -> None:
        """Whatever has happened: with slots and with time the run comes to its one end."""
        if not hasattr(self, "rig"):
            return
        rig = self.rig
        for executor in EXECUTORS:
            rig.send(LimitChanged(executor, 3))
        while rig.finish is None:
            assert rig.flying or rig.waiting, "nothing is under way, and the run isn't over"
            for attempt in list(rig.waiting):
                rig.send(RetryDue(attempt))
            for attempt in list(rig.flying):
                node = rig.graph[attempt.task.step]
                if attempt in rig.stopping:
                    rig.send(TaskCancelled(attempt, 0.0))
                else:
                    width = 2 if node.kind is NodeKind.FOREACH else None
                    rig.send(rig.success(attempt, width=width, to=node.out[-1] if node.condition else None))
        rig.replayed()


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(
    max_examples=400,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
