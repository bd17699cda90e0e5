"""Ids, events, commands, task specs: the plain frozen values that the whole house speaks in.

Nothing here does anything. The scheduler takes events and returns commands; executors take task specs
and emit executor events; the journal keeps events. Every type is a frozen ``msgspec.Struct``, so
``codec`` turns it to bytes and back without a second description of its shape. New fields go to the end
of a struct and have a default: then an older journal still decodes.

The ids and refs, of which a wide run holds millions, opt out of the cyclic garbage collector (``gc=False``):
they can't be part of a cycle, are 16 bytes smaller, and a collection doesn't walk them.

Times are seconds since the epoch (UTC). They are written by the shell and the workers for readers;
the scheduler never looks at them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias

from msgspec import Struct

StepName: TypeAlias = str
RunId: TypeAlias = str
"""Microseconds since the epoch, in decimal; unique in a store."""
BlobKey: TypeAlias = bytes
"""SHA-256 of a blob's content: 32 bytes."""
Stream: TypeAlias = Literal["stdout", "stderr"]


class Value(Struct, frozen=True, array_like=True, tag=True):
    """Base of every value here: immutable, compact on the wire, told apart by its class name."""


# -- ids ------------------------------------------------------------------------------------------


class TaskId(Struct, frozen=True, array_like=True, gc=False):
    """One task of a run, by its place in the graph: the same on every run and resume.

    ``path`` holds the index in each enclosing foreach, outermost first. Every task of a recursive step
    (a switch that names its own step) has one more index at the end: its iteration, from 0.
    """

    step: StepName
    path: tuple[int, ...] = ()


class Attempt(Struct, frozen=True, array_like=True, gc=False):
    """One try at a task. ``number`` (from 0) fences off the messages of earlier tries."""

    task: TaskId
    number: int
    serial: int
    """The integer id that users see in a pathspec; given when the task is first launched, shared by its attempts."""


class BlobRef(Struct, frozen=True, array_like=True, gc=False):
    """Where a blob is and how long it is: ``size`` bytes, alone under ``key``, or in ``pack`` at ``offset``."""

    key: BlobKey
    size: int
    pack: str | None = None
    offset: int = 0


class Frame(Struct, frozen=True, array_like=True, gc=False):
    """One level of the foreach nest around a task: child ``index`` of ``width`` of the fan-out in ``step``."""

    step: StepName
    var: str
    index: int
    width: int


# -- what a task says of itself --------------------------------------------------------------------


class Next(Struct, frozen=True, array_like=True):
    """What ``self.next`` asked for, already checked by the worker against the graph.

    ``width`` is None but for a foreach, where it is the number of items, at least 1, and ``var`` the
    artifact's name. A switch names the one step it chose.
    """

    steps: tuple[StepName, ...]
    width: int | None = None
    var: str | None = None


class FailureKind(StrEnum):
    """Why an attempt failed; the retry policy reads nothing else."""

    USER = "user"
    """The step raised, or its ``self.next`` doesn't agree with the graph."""
    TIMEOUT = "timeout"
    CRASH = "crash"
    """The worker died by itself: a segfault, ``os._exit``, a signal."""
    MEMORY = "memory"
    LOST = "lost"
    """Not the task's doing: the host or the engine went away. Doesn't spend the user's retries."""


class Failure(Struct, frozen=True, array_like=True):
    kind: FailureKind
    message: str
    """One sentence for people: ``ValueError: no such carrier``."""
    traceback: str = ""
    """The step's own frames as text, without asyncflow's; empty where there was none."""
    exception: str = ""
    """The exception class's qualified name, empty where there was none."""
    retriable: bool = True
    """False where trying again can't help: a ``self.next`` that disagrees with the graph."""


# -- task specs ------------------------------------------------------------------------------------


class TaskInput(Struct, frozen=True, array_like=True, gc=False):
    """One finished task whose artifacts a task starts from."""

    task: TaskId
    manifest: BlobRef


class TaskSpec(Struct, frozen=True, array_like=True):
    """All that a worker needs to run one attempt, beside the run's ``RunContext``.

    ``inputs`` has exactly one entry, but for a join: there one for each branch, in declaration order,
    or for each item, in item order. The start step's input is the ``_parameters`` task.
    """

    attempt: Attempt
    inputs: tuple[TaskInput, ...]
    frames: tuple[Frame, ...] = ()


class SourceKind(StrEnum):
    FILE = "file"
    MODULE = "module"
    PICKLE = "pickle"


class FlowSource(Struct, frozen=True, array_like=True):
    """Where a worker finds the flow class.

    FILE: ``location`` is an absolute path, imported under its stem. MODULE: ``location`` is a dotted
    name, found through ``search_path``. PICKLE: ``payload`` is the class by cloudpickle.
    """

    kind: SourceKind
    location: str
    qualname: str
    search_path: tuple[str, ...] = ()
    payload: bytes = b""


class RunContext(Struct, frozen=True, array_like=True):
    """What is the same for every task of a run."""

    run_id: RunId
    flow_name: str
    source: FlowSource
    store: str
    """Where blobs and logs are: the absolute path of a store's directory, or a URL."""
    parameters: BlobRef
    """The manifest of ``_parameters``: parameters and class constants."""
    namespace: str | None = None
    username: str = ""
    tags: tuple[str, ...] = ()
    origin_run_id: RunId | None = None
    max_num_splits: int | None = None
    graph_hash: str = ""
    """Of the graph that the engine goes by; a worker that has read another refuses to work."""


# -- events ----------------------------------------------------------------------------------------


class OnFailure(StrEnum):
    """What becomes of the others when a task has failed for good."""

    STOP = "stop"
    FINISH_RUNNING = "finish-running"
    KEEP_GOING = "keep-going"


class RetryPolicy(Struct, frozen=True, array_like=True):
    """How often a step is tried again, and after how long."""

    times: int = 0
    delay: float = 0.0
    """Seconds before the first retry."""
    backoff: float = 1.0
    """Each later delay is this many times the one before."""


class StepPolicy(Struct, frozen=True, array_like=True):
    """What decorators say of a step that the scheduler must know."""

    executor: str
    retry: RetryPolicy = RetryPolicy()
    catch: bool = False


class RunStarted(Value, frozen=True):
    """The first event of every journal: all that the scheduler was told, so that replay is told the same."""

    run_id: RunId
    flow_name: str
    at: float
    graph_hash: str
    parameters: BlobRef
    policies: dict[StepName, StepPolicy]
    limits: dict[str, int]
    """For each executor: how many tasks may be submitted and not ended."""
    on_failure: OnFailure = OnFailure.STOP
    version: str = ""


class TaskAccepted(Value, frozen=True):
    """A remote executor has taken the attempt; ``handle`` finds it again after a crash."""

    attempt: Attempt
    handle: str


class TaskStarted(Value, frozen=True):
    attempt: Attempt
    at: float
    worker: str = ""
    """The executor's own name for where it runs: ``pid 4711``."""


class TaskSucceeded(Value, frozen=True):
    attempt: Attempt
    manifest: BlobRef
    next: Next | None
    """None after the end step."""
    started: float
    ended: float
    worker: str = ""
    caught: bool = False


class TaskFailed(Value, frozen=True):
    attempt: Attempt
    failure: Failure
    ended: float
    started: float | None = None
    """None where it never ran."""
    worker: str = ""
    manifest: BlobRef | None = None
    """What the failed attempt had assigned; None where it died too hard to say."""


class TaskCancelled(Value, frozen=True):
    attempt: Attempt
    ended: float
    started: float | None = None
    worker: str = ""


class RetryDue(Value, frozen=True):
    """The delay before ``attempt`` (the one to come) is over."""

    attempt: Attempt


class CancelRequested(Value, frozen=True):
    reason: str
    at: float


class LimitChanged(Value, frozen=True):
    """``executor`` may from now on hold ``limit`` tasks that are submitted and not ended."""

    executor: str
    limit: int


class TaskLog(Value, frozen=True):
    """One line of output, without its line end. Never enters the inbox or the journal."""

    attempt: Attempt
    stream: Stream
    at: float
    line: bytes


Ending: TypeAlias = TaskSucceeded | TaskFailed | TaskCancelled
ExecutorEvent: TypeAlias = TaskAccepted | TaskStarted | Ending
Event: TypeAlias = ExecutorEvent | RunStarted | RetryDue | CancelRequested | LimitChanged


# -- commands --------------------------------------------------------------------------------------


class RunState(StrEnum):
    """A run's recorded state. ``LOST`` is never written: it is ``RUNNING`` with a heartbeat gone stale."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


class Submit(Value, frozen=True):
    executor: str
    specs: tuple[TaskSpec, ...]


class Cancel(Value, frozen=True):
    executor: str
    attempts: tuple[Attempt, ...]


class WakeAt(Value, frozen=True):
    """Give back ``RetryDue(attempt)`` once ``delay`` seconds have passed."""

    attempt: Attempt
    delay: float


class FirstFailure(Struct, frozen=True, array_like=True):
    attempt: Attempt
    failure: Failure


class FinishRun(Value, frozen=True):
    """Nothing is in flight and nothing will be: the last command of a run, and the only one of its kind."""

    state: RunState
    first_failure: FirstFailure | None = None
    reason: str = ""
    """Why it was cancelled."""


Command: TypeAlias = Submit | Cancel | WakeAt | FinishRun


# -- what a reader of a run's event stream gets beside the events ------------------------------------


class RunFinished(Value, frozen=True):
    """The last item of every event stream."""

    run_id: RunId
    state: RunState
    at: float
    first_failure: FirstFailure | None = None
    reason: str = ""


class EventsDropped(Value, frozen=True):
    """The reader was slow: ``count`` items are missing here. The run wasn't slowed, and the store has them all."""

    count: int


StreamItem: TypeAlias = Event | TaskLog | RunFinished | EventsDropped
