"""Reading ahead: the artifacts of tasks that were listed together.

``[task.data.x for task in step]`` asks for one blob after the other, and each costs a query. So when a
second task of a group is asked for its artifacts, what its siblings will be asked for is read along, in
one query. What was read waits in the loader, which keeps a bounded number of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncflow.events import BlobRef
    from asyncflow.store.artifacts import ArtifactLoader, Manifest

TOGETHER = 128
"""Tasks in a group: at 16 KiB for a small blob its artifacts of one name are at most 2 MiB."""


class Siblings:
    """The manifests of a group of tasks, and which of them were asked for."""

    __slots__ = ("_asked", "_fetched", "_manifests")

    def __init__(self, manifests: Sequence[BlobRef]) -> None:
        self._manifests = manifests
        self._asked: dict[str, BlobRef] = {}
        self._fetched: set[str] = set()

    def manifest(self, loader: ArtifactLoader, ref: BlobRef) -> Manifest:
        if self._second("", ref):
            loader.prefetch(self._manifests)
        return loader.manifest(ref)

    def load(self, loader: ArtifactLoader, manifest: BlobRef, ref: BlobRef, name: str, label: str) -> Any:
        """The artifact ``name`` at ``ref``, of the task with ``manifest``; errors call it ``label``."""
        if self._second(name, manifest):
            others = (found.artifacts.get(name) for found in loader.manifests(self._manifests))
            loader.prefetch({other.key: other for other in others if other is not None}.values())
        return loader.load(ref, label)

    def _second(self, name: str, manifest: BlobRef) -> bool:
        """Whether this is the time to read ahead: a second task is asked for the same."""
        if name in self._fetched or self._asked.setdefault(name, manifest) == manifest:
            return False
        self._fetched.add(name)
        return True
