"""``current``: what a step can ask about the run and the task that it is in.

One object for everybody, whose values are those of the running context: tasks on one event loop, and
threads that carry their context along, each see their own.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextvars import Token

    from asyncflow.client import Run, Task

_T = TypeVar("_T")


class TaskValues:
    """The values of one task. ``extras`` are those that only some flows have: ``card``, ``project_name`` ...."""

    __slots__ = (
        "extras",
        "flow_name",
        "graph",
        "namespace",
        "origin_run_id",
        "parameter_names",
        "path",
        "retry_count",
        "run_id",
        "step_name",
        "store",
        "tags",
        "task_id",
        "username",
    )

    def __init__(
        self,
        *,
        flow_name: str,
        run_id: str,
        step_name: str,
        task_id: str,
        path: tuple[int, ...] = (),
        retry_count: int = 0,
        origin_run_id: str | None = None,
        namespace: str | None = None,
        username: str = "",
        tags: tuple[str, ...] = (),
        parameter_names: Callable[[], Iterable[str]] = tuple,
        graph: Callable[[], dict[str, Any]] = dict,
        store: str = "",
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        self.flow_name = flow_name
        self.run_id = run_id
        self.step_name = step_name
        self.task_id = task_id
        self.path = path
        self.retry_count = retry_count
        self.origin_run_id = origin_run_id
        self.namespace = namespace
        self.username = username
        self.tags = tags
        self.parameter_names = parameter_names
        self.graph = graph
        """Like ``parameter_names`` worked out for those who ask."""
        self.store = store
        self.extras = dict(extras or {})


_values: ContextVar[TaskValues | None] = ContextVar("asyncflow_current", default=None)


def enter_task(values: TaskValues) -> Token[TaskValues | None]:
    return _values.set(values)


def leave_task(token: Token[TaskValues | None]) -> None:
    _values.reset(token)


class _Plain(Generic[_T]):
    """A value that is read as it is: None outside of a task."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, current: Current | None, owner: type) -> _T | None:
        values = _values.get()
        return None if values is None else getattr(values, self._name)


class Current:
    """The type of ``current``. Outside of a task all values are None. Nothing here can be assigned."""

    __slots__ = ()

    @property
    def is_running_flow(self) -> bool:
        """Whether this is inside a step of a run."""
        return _values.get() is not None

    flow_name = _Plain[str]("flow_name")
    run_id = _Plain[str]("run_id")
    step_name = _Plain[str]("step_name")
    task_id = _Plain[str]("task_id")
    """The last part of the pathspec; all attempts of a task share it."""
    retry_count = _Plain[int]("retry_count")
    """Which attempt this is, from 0."""
    origin_run_id = _Plain[str]("origin_run_id")
    """The run that this one resumes, None for a plain run."""
    namespace = _Plain[str]("namespace")
    username = _Plain[str]("username")
    """Who started the run."""
    _store = _Plain[str]("store")
    """Where the run's store is, for the client: in a step it reads the run's own."""

    @property
    def pathspec(self) -> str | None:
        """``flow/run/step/task``."""
        values = _values.get()
        if values is None:
            return None
        return f"{values.flow_name}/{values.run_id}/{values.step_name}/{values.task_id}"

    @property
    def tags(self) -> frozenset[str] | None:
        """The tags that the run was started with."""
        values = _values.get()
        return None if values is None else frozenset(values.tags)

    @property
    def parameter_names(self) -> list[str] | None:
        """The attributes of the flow that are parameters."""
        values = _values.get()
        return None if values is None else sorted(values.parameter_names())

    @property
    def graph(self) -> dict[str, Any] | None:
        """The steps of the flow as a plain dict."""
        values = _values.get()
        return None if values is None else values.graph()

    @property
    def tempdir(self) -> str | None:
        """A directory for temporary files."""
        if _values.get() is None:
            return None
        import tempfile

        return tempfile.gettempdir()

    @property
    def is_parallel(self) -> bool | None:
        """Whether the task is a node of a gang."""
        values = _values.get()
        return None if values is None else "parallel" in values.extras

    @property
    def run(self) -> Run | None:
        """The run as the client sees it."""
        values = _values.get()
        return None if values is None else _client_object("Run", f"{values.flow_name}/{values.run_id}")

    @property
    def task(self) -> Task | None:
        """The task as the client sees it."""
        pathspec = self.pathspec
        return None if pathspec is None else _client_object("Task", pathspec)

    def __getattr__(self, name: str) -> Any:
        values = _values.get()
        if values is not None and name in values.extras:
            return values.extras[name]
        if name in _ELSEWHERE:
            raise AttributeError(f"current.{name} exists only {_ELSEWHERE[name]}.", name=name, obj=self)
        raise AttributeError(f"current has no attribute {name!r}.", name=name, obj=self)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"current.{name} can't be assigned: keep values of your own on self.", name=name, obj=self)

    def __contains__(self, name: str) -> bool:
        """Whether there is such a value, other than None."""
        return self.get(name) is not None

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or ``default`` where there is no such attribute."""
        return getattr(self, name, default)

    def __dir__(self) -> Iterator[str]:
        values = _values.get()
        yield from super().__dir__()
        yield from () if values is None else values.extras

    def __repr__(self) -> str:
        return f"<current {self.pathspec or 'outside of a run'}>"

    def __reduce__(self) -> str:
        return "current"  # there is one, found again by name


def _client_object(kind: str, pathspec: str) -> Any:
    from importlib import import_module

    return getattr(import_module("asyncflow.client"), kind)(pathspec)


_IN_PROJECTS = "in flows with @project"
_ELSEWHERE = {
    "parallel": "in tasks of a step with @parallel",
    "card": "in steps with @card",
    "trigger": "in runs that an event started",
    "project_name": _IN_PROJECTS,
    "project_flow_name": _IN_PROJECTS,
    "branch_name": _IN_PROJECTS,
    "is_user_branch": _IN_PROJECTS,
    "is_production": _IN_PROJECTS,
}

current = Current()
