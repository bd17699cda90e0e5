"""What flows, runs, steps, tasks and artifacts have in common."""

# The objects of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from asyncflow.client import stores
from asyncflow.client.choices import running_task
from asyncflow.client.namespaces import get_namespace, holds
from asyncflow.client.pathspec import parse
from asyncflow.client.running import is_it
from asyncflow.errors import MetaflowNamespaceMismatch, MetaflowNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from asyncflow.client.stores import Place
    from asyncflow.protocols import MetadataReader, RunRecord


class MetaflowObject(ABC):
    """A place in a store: a flow, run, step, task or artifact.

    It is read when it is asked, so that a run in progress shows how it is now. Two objects are equal when
    they have the same type, path and attempt. It keeps the namespace and the store that it was made in,
    and hands them to its children; pickled, too.
    """

    _DEPTH: ClassVar[int]
    _place: Place
    _namespace: str | None
    _parts: tuple[str, ...]
    _attempt: int | None = None

    def __init__(self, pathspec: str, *, _namespace_check: bool = True) -> None:
        """Raises ``MetaflowInvalidPathspec``, ``MetaflowNotFound``, ``MetaflowNamespaceMismatch``."""
        self._parts = parse(pathspec, type(self).__name__, self._DEPTH)
        self._place = stores.here()
        self._namespace = get_namespace()
        self._require()
        if _namespace_check:
            self._require_namespace()

    @classmethod
    def _at(cls, place: Place, namespace: str | None, parts: tuple[str, ...], attempt: int | None = None) -> Self:
        """One that is known to exist, or whose absence will be said when it is read."""
        new = cls.__new__(cls)
        new._place = place
        new._namespace = namespace
        new._parts = parts
        if attempt is not None:
            new._attempt = attempt
        return new

    @property
    def id(self) -> str:
        """The last part of the pathspec."""
        return self._parts[-1]

    @property
    def pathspec(self) -> str:
        """``Flow/run/step/task/artifact``, as deep as the object is."""
        return "/".join(self._parts)

    @property
    def path_components(self) -> list[str]:
        """The pathspec in parts."""
        return list(self._parts)

    @property
    @abstractmethod
    def created_at(self) -> datetime | None:
        """When it came to be, in local time."""

    @property
    def tags(self) -> frozenset[str]:
        """The run's tags: those that users gave and those that the system gave."""
        run = self._run_record()
        return frozenset((*run.tags, *run.system_tags))

    @property
    def user_tags(self) -> frozenset[str]:
        """The tags that users gave to the run."""
        return frozenset(self._run_record().tags)

    @property
    def system_tags(self) -> frozenset[str]:
        """The tags that the run had from the start: ``user:``, ``runtime:``, ``python_version:`` ..."""
        return frozenset(self._run_record().system_tags)

    @property
    def origin_pathspec(self) -> str | None:
        """Where a resumed run took this from; None where it took it from nowhere."""
        return None

    def is_in_namespace(self) -> bool:
        """Whether its run is in the namespace that this object was made in."""
        return holds(self._namespace, self._run_record())

    # -- inside ------------------------------------------------------------------------------------

    @property
    def _reader(self) -> MetadataReader:
        return self._place.reader

    def _run_record(self) -> RunRecord:
        """As it is now: tags, state and heartbeat change. Raises ``MetaflowNotFound``."""
        record = self._reader.run(self._parts[1])
        if record is None or record.flow_name != self._parts[0]:
            raise self._not_found()
        return record

    def _require(self) -> None:
        """Raises ``MetaflowNotFound`` where it doesn't exist."""
        self._run_record()

    def _require_namespace(self) -> None:
        task = running_task()
        if task is not None and len(self._parts) > 1 and is_it(task, self._parts[:2]):
            return  # a step may always read its own run, which need not be tagged with its namespace
        if not self.is_in_namespace():
            raise MetaflowNamespaceMismatch(
                f"{self!r} is not in the namespace {self._namespace!r}. "
                "`namespace(None)` looks at all runs, `namespace('user:NAME')` at those of one user."
            )

    def _not_found(self) -> MetaflowNotFound:
        return MetaflowNotFound(
            f"{self!r} does not exist in the store {self._place.root}. `asyncflow list` shows what is there."
        )

    def __repr__(self) -> str:
        attempt = "" if self._attempt is None else f", attempt={self._attempt}"
        return f"{type(self).__name__}({self.pathspec!r}{attempt})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MetaflowObject):
            return NotImplemented
        return (type(self), self._parts, self._attempt) == (type(other), other._parts, other._attempt)

    def __hash__(self) -> int:
        return hash((type(self).__name__, self._parts, self._attempt))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._place.root, self._namespace, self._parts, self._attempt)


def _restore(
    cls: type[MetaflowObject], root: str, namespace: str | None, parts: tuple[str, ...], attempt: int | None
) -> MetaflowObject:
    return cls._at(stores.Place(root), namespace, parts, attempt)


Child = TypeVar("Child", bound=MetaflowObject)


class Container(Generic[Child]):
    """Holds others by their id: iteration gives the newest first, ``[id]`` gives one, ``in`` asks."""

    @abstractmethod
    def _children(self) -> Iterator[Child]:
        """Newest first, without those that are internal."""

    @abstractmethod
    def _child(self, name: str) -> Child | None:
        """The one of that name, internal ones too; None where there is none."""

    def __iter__(self) -> Iterator[Child]:
        return self._children()

    def __getitem__(self, name: str | int) -> Child:
        """Raises ``KeyError``."""
        child = self._child(str(name))
        if child is None:
            raise KeyError(str(name))
        return child

    def __contains__(self, name: object) -> bool:
        if isinstance(name, MetaflowObject):
            found = self._child(name.id)
            return found is not None and found == name
        return isinstance(name, str | int) and self._child(str(name)) is not None

    def _ipython_key_completions_(self) -> list[str]:
        return [child.id for child in self._children()]
