"""The artifacts of one task: inherited by reference, loaded when used, persisted at its end."""

from __future__ import annotations

from _thread import RLock
from typing import TYPE_CHECKING, Any

from asyncflow.errors import UnserializableArtifact
from asyncflow.events import BlobRef
from asyncflow.flow import SCALARS, Backing
from asyncflow.protocols import SmallBlob
from asyncflow.store.artifacts import SMALL, ArtifactLoader, Manifest
from asyncflow.store.serializers import to_blob

if TYPE_CHECKING:
    from asyncflow.events import BlobKey, Frame
    from asyncflow.flow import FlowSpec
    from asyncflow.protocols import Blob, BlobAccess

COMPARED = 16 << 20
"""Bytes of a value up to which it is looked into whether only its pickle has changed."""
_ABSENT = object()


class Shelf:
    """The blobs that a task reads and the new ones that it leaves: large ones written, small ones kept for its ending."""

    def __init__(self, blobs: BlobAccess, loader: ArtifactLoader) -> None:
        self.blobs = blobs
        self.loader = loader
        self.small: dict[BlobKey, SmallBlob] = {}
        self.lock = RLock()
        """Held while loading: a step may have threads."""

    def store(self, blob: Blob) -> BlobRef:
        """Raises ``StoreError``."""
        size = blob.size
        if size > SMALL:
            return self.blobs.write(blob)
        if blob.key not in self.small:
            self.small[blob.key] = SmallBlob(blob.key, b"".join(blob.parts))
        return BlobRef(blob.key, size)


class Reader(Backing):
    """A backing that loads artifacts when they are asked for. Threads that a step starts may ask too."""

    def __init__(
        self,
        flow_class: type[FlowSpec],
        shelf: Shelf,
        refs: dict[str, BlobRef],
        *,
        step: str,
        frames: tuple[Frame, ...] = (),
    ) -> None:
        super().__init__(flow_class, step=step, frames=frames)
        self.shelf = shelf
        self.refs = refs
        """What can be loaded."""

    def load(self, flow: FlowSpec, name: str) -> Any:
        with self.shelf.lock:
            values = flow.__dict__
            if name not in values:  # else another thread was first
                values[name] = self.fetch(self.refs[name], name)
            return values[name]

    def fetch(self, ref: BlobRef, name: str) -> Any:
        return self.shelf.loader.load(ref, name)

    def item(self, flow: FlowSpec, depth: int) -> Any:
        from asyncflow.worker.foreach import item_of

        return item_of(self, flow, self.frames[depth])


class TaskState(Reader):
    """What a flow object asks of its own task.

    ``refs`` has at first all that is inherited, at the end all that is persisted.
    """

    def __init__(
        self,
        flow_class: type[FlowSpec],
        shelf: Shelf,
        refs: dict[str, BlobRef],
        *,
        step: str,
        frames: tuple[Frame, ...] = (),
    ) -> None:
        super().__init__(flow_class, shelf, refs, step=step, frames=frames)
        self.loaded: dict[str, Any] = {}
        """What was loaded, as it was handed out."""

    def begin(self, flow: FlowSpec) -> None:
        """``__init__`` has run: what it assigned gives way to what is inherited."""
        values = flow.__dict__
        for name in [name for name in values if name in self.refs and name not in self.fixed]:
            if self.loaded.get(name, _ABSENT) is not values[name]:
                del values[name]

    def fetch(self, ref: BlobRef, name: str) -> Any:
        value = self.loaded[name] = super().fetch(ref, name)
        return value

    def forget(self, name: str) -> bool:
        self.loaded.pop(name, None)
        return self.refs.pop(name, None) is not None

    # -- at the task's end -------------------------------------------------------------------------

    def persist(self, flow: FlowSpec) -> None:
        """Stores what was assigned, and what was loaded and may have changed; ``refs`` then has it all.

        Raises ``StoreError``, and ``UnserializableArtifact`` once all is stored that can be.
        """
        problem: UnserializableArtifact | None = None
        for given, value in tuple(flow.__dict__.items()):
            if given in self.fixed or self._untouched(given, value):
                continue
            name = given
            try:
                if type(given) is not str or not given.isascii():
                    name = _artifact_name(given)
                blob = to_blob(value, name)
            except UnserializableArtifact as error:
                self.refs.pop(name, None)
                problem = problem or error
                continue
            if not self._unchanged(name, value, blob):
                self.refs[name] = self.shelf.store(blob)
        if problem is not None:
            raise problem

    def _untouched(self, name: str, value: object) -> bool:
        return type(value) in SCALARS and self.loaded.get(name, _ABSENT) is value

    def _unchanged(self, name: str, value: object, blob: Blob) -> bool:
        known = self.refs.get(name)
        if known is None or known.key == blob.key:
            return known is not None
        if self.loaded.get(name, _ABSENT) is not value or known.size > COMPARED:
            return False
        # A set, for one, may be pickled in another order than it was; one that nobody touched shows whether it is that.
        return to_blob(super().fetch(known, name), name).key == blob.key

    def manifest(self) -> BlobRef:
        """Stores the manifest of ``refs``."""
        return self.shelf.store(Manifest(self.refs).to_blob())


def _artifact_name(given: Any) -> str:
    """Of what stands in an object's ``__dict__``, which takes anything. Raises ``UnserializableArtifact``."""
    if not isinstance(given, str):
        raise UnserializableArtifact(
            f"An artifact's name must be a string, and {given!r} (of type {type(given).__name__}) is none. It got into "
            "the flow's `__dict__` by `vars(self).update(...)` or the like: keep such a mapping in an artifact of its "
            "own (`self.table = {...}`)."
        )
    name = str.__str__(given)  # a plain one: numpy's strings are a subclass
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UnserializableArtifact(
            f"The artifact's name {name!r} isn't valid Unicode (it has a surrogate, as text has that was decoded from "
            "other bytes than UTF-8). Give it another name, or keep it as a key of a dict in an artifact of its own."
        ) from None
    return name
