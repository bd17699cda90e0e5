"""``current``: what a step can ask about the run and the task that it is in.

One object for everybody, whose values are those of the running context: tasks on one event loop, and
threads that carry their context along, each see their own.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextvars import Token

    from asyncflow.client import Run, Task


class TaskValues:
    """The values of one task. ``extras`` are those that only some flows have: ``card``, ``project_name`` ...."""

    __slots__ = (
        "extras",
        "flow_name",
        "graph",
        "namespace",
        "origin_run_id",
        "parameter_names",
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
        retry_count: int = 0,
        origin_run_id: str | None = None,
        namespace: str | None = None,
        username: str = "",
        tags: tuple[str, ...] = (),
        parameter_names: tuple[str, ...] = (),
        graph: Any = None,
        store: str = "",
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        self.flow_name = flow_name
        self.run_id = run_id
        self.step_name = step_name
        self.task_id = task_id
        self.retry_count = retry_count
        self.origin_run_id = origin_run_id
        self.namespace = namespace
        self.username = username
        self.tags = tags
        self.parameter_names = parameter_names
        self.graph = graph
        """A ``FlowGraph``, kept as anything: it is shown as a plain dict, and only to those who ask."""
        self.store = store
        self.extras = dict(extras or {})


_values: ContextVar[TaskValues | None] = ContextVar("asyncflow_current", default=None)


def enter_task(values: TaskValues) -> Token[TaskValues | None]:
    return _values.set(values)


def leave_task(token: Token[TaskValues | None]) -> None:
    _values.reset(token)


class Current:
    """The type of ``current``. Outside of a task all values are None. Nothing here can be assigned."""

    __slots__ = ()

    @property
    def is_running_flow(self) -> bool:
        """Whether this is inside a step of a run."""
        return _values.get() is not None

    @property
    def flow_name(self) -> str | None:
        return _get("flow_name")

    @property
    def run_id(self) -> str | None:
        return _get("run_id")

    @property
    def step_name(self) -> str | None:
        return _get("step_name")

    @property
    def task_id(self) -> str | None:
        """The last part of the pathspec; all attempts of a task share it."""
        return _get("task_id")

    @property
    def retry_count(self) -> int | None:
        """Which attempt this is, from 0."""
        return _get("retry_count")

    @property
    def origin_run_id(self) -> str | None:
        """The run that this one resumes, None for a plain run."""
        return _get("origin_run_id")

    @property
    def pathspec(self) -> str | None:
        """``flow/run/step/task``."""
        values = _values.get()
        if values is None:
            return None
        return f"{values.flow_name}/{values.run_id}/{values.step_name}/{values.task_id}"

    @property
    def namespace(self) -> str | None:
        return _get("namespace")

    @property
    def username(self) -> str | None:
        """Who started the run."""
        return _get("username")

    @property
    def tags(self) -> frozenset[str] | None:
        """The tags that the run was started with."""
        tags = _get("tags")
        return None if tags is None else frozenset(tags)

    @property
    def parameter_names(self) -> list[str] | None:
        """The attributes of the flow that are parameters."""
        names = _get("parameter_names")
        return None if names is None else sorted(names)

    @property
    def graph(self) -> dict[str, Any] | None:
        """The steps of the flow as a plain dict."""
        graph = _get("graph")
        if graph is None:
            return None
        from asyncflow.flowinfo import graph_info

        return graph_info(graph)

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
        return None if values is None else _client_object("Run", values, f"{values.flow_name}/{values.run_id}")

    @property
    def task(self) -> Task | None:
        """The task as the client sees it."""
        values = _values.get()
        return None if values is None else _client_object("Task", values, str(self.pathspec))

    @property
    def _store(self) -> str | None:
        """Where the run's store is, for the client: inside a step it reads the run's own."""
        return _get("store")

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


def _get(name: str) -> Any:
    values = _values.get()
    return None if values is None else getattr(values, name)


def _client_object(kind: str, values: TaskValues, pathspec: str) -> Any:
    from importlib import import_module

    client = import_module("asyncflow.client")
    return getattr(client, kind)(pathspec)


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
