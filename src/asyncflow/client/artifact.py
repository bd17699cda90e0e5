"""``DataArtifact``: one value that a task kept."""

# The objects of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from asyncflow.client.base import MetaflowObject

if TYPE_CHECKING:
    from datetime import datetime

    from asyncflow.client.task import Task
    from asyncflow.events import BlobRef


class DataArtifact(MetaflowObject):
    """One artifact: ``DataArtifact("MovieFlow/1795443591639920/work/3/x")``; ``attempt=0`` as the first attempt left it.

        task["x"].data, task["x"].size, task["x"].sha

    Raises ``MetaflowInvalidPathspec``, ``MetaflowNotFound``, ``MetaflowNamespaceMismatch``.
    """

    _DEPTH = 5
    _task: Task | None = None
    _found: tuple[BlobRef, BlobRef] | None = None

    def __init__(self, pathspec: str, attempt: int | None = None, *, _namespace_check: bool = True) -> None:
        if attempt is not None:
            self._attempt = attempt
        super().__init__(pathspec, _namespace_check=_namespace_check)

    @classmethod
    def _of_task(cls, task: Task, name: str, manifest: BlobRef, ref: BlobRef) -> Self:
        new = cls._at(task._place, task._namespace, (*task._parts, name), task._attempt)
        new._task = task
        new._found = (manifest, ref)
        return new

    @property
    def parent(self) -> Task:
        """The task."""
        if self._task is None:
            from asyncflow.client.task import Task

            self._task = Task._at(self._place, self._namespace, self._parts[:4], self._attempt)
        return self._task

    @property
    def data(self) -> Any:
        """The value, loaded anew at each use: changing it changes nothing else.

        Raises ``StoreError`` where it can't be read or unpickled. A large array is a view of a mapped file.
        """
        return self.parent._load(*self._find(), self.id)

    @property
    def sha(self) -> str:
        """SHA-256 of the stored bytes, in hexadecimal: equal values have equal ones."""
        return self._find()[1].key.hex()

    @property
    def size(self) -> int:
        """Bytes stored."""
        return self._find()[1].size

    @property
    def created_at(self) -> datetime | None:
        """When it was kept, in local time: at the end of its task's attempt."""
        return self.parent.finished_at

    @property
    def finished_at(self) -> datetime | None:
        return self.parent.finished_at

    @property
    def origin_pathspec(self) -> str | None:
        """The artifact that a resumed run took this from."""
        origin = self.parent.origin_pathspec
        return None if origin is None else f"{origin}/{self.id}"

    # -- inside ------------------------------------------------------------------------------------

    def _find(self) -> tuple[BlobRef, BlobRef]:
        """The task's manifest, and where in the store the value is. Looked up again when there is a newer attempt."""
        attempt = self.parent._attempt_record()
        manifest = None if attempt is None else attempt.manifest
        if self._found is None or self._found[0] != manifest:
            manifest, refs = self.parent._artifacts()
            if manifest is None or self.id not in refs:
                raise self._not_found()
            self._found = (manifest, refs[self.id])
        return self._found

    def _require(self) -> None:
        self.parent._require()
        self._find()
