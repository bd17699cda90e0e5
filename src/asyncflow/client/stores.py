"""Where readers read: which store is selected, and the stores that are open.

An object of the client holds a ``Place``: the path of a store, no connection. So it can be pickled, kept for
long, and used in any thread and after a fork. The store itself is opened when something is read, and the few
used of late stay open.
"""

# The objects of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from asyncflow import settings
from asyncflow.client.choices import UNSET, Choice, running_task
from asyncflow.errors import MetaflowNotFound
from asyncflow.store.artifacts import ArtifactLoader
from asyncflow.store.local import DATABASE, LocalStore

if TYPE_CHECKING:
    from asyncflow.protocols import MetadataReader

KEPT_OPEN = 8
"""Stores that stay open at a time; a session rarely reads more than one."""


class Place(NamedTuple):
    """One store, by the absolute path of its directory; it need not be there."""

    root: str

    @property
    def exists(self) -> bool:
        return os.path.isfile(os.path.join(self.root, DATABASE))  # noqa: PTH113, PTH118 - a third of pathlib's time

    @property
    def reader(self) -> MetadataReader:
        """Raises ``MetaflowNotFound`` where there is no store."""
        return _opened(self.root).store.reader

    @property
    def loader(self) -> ArtifactLoader:
        """This thread's loader. Raises ``MetaflowNotFound`` where there is no store."""
        return _opened(self.root).loader

    @property
    def store(self) -> LocalStore:
        """Raises ``MetaflowNotFound`` where there is no store."""
        return _opened(self.root).store


class _Opened:
    """A store with this process's loaders, one for each thread; good for as long as its database is the same file."""

    def __init__(self, root: str, stamp: tuple[int, int]) -> None:
        self.store = LocalStore(root)
        self.stamp = stamp
        self._loaders = threading.local()

    @property
    def loader(self) -> ArtifactLoader:
        loader: ArtifactLoader | None = getattr(self._loaders, "loader", None)
        if loader is None:
            loader = self._loaders.loader = ArtifactLoader(self.store.blobs)
        return loader


_open: dict[str, _Opened] = {}
_selected: Choice[Place] = Choice("asyncflow_store")


def _opened(root: str) -> _Opened:
    stamp = _stamp(root)
    found = _open.get(root)
    if found is None or found.stamp != stamp:
        _forget(root)
        # Two threads may both come here: the store that is used by one only is closed when it is collected.
        found = _open[root] = _Opened(root, stamp)
        if len(_open) > KEPT_OPEN:
            _forget(next(iter(_open)))
    return found


def _stamp(root: str) -> tuple[int, int]:
    """Changes when the store was deleted and made anew."""
    try:
        status = os.stat(os.path.join(root, DATABASE))  # noqa: PTH116, PTH118 - asked at every read
    except (FileNotFoundError, NotADirectoryError):
        raise MetaflowNotFound(
            f"There is no store in {root}. A run makes one in `.asyncflow/` of its working directory; "
            "ASYNCFLOW_STORE or `metadata('local@PATH')` names another."
        ) from None
    return status.st_dev, status.st_ino


def _forget(root: str) -> None:
    opened = _open.pop(root, None)
    if opened is not None:
        opened.store.close()


@atexit.register
def _forget_all() -> None:
    for root in list(_open):
        _forget(root)


# -- which store is selected -----------------------------------------------------------------------


def place_of(path: str | os.PathLike[str]) -> Place:
    """The store in ``path``: the store's directory itself, or one with an ``.asyncflow/`` in it."""
    root = settings.find_store(given=path)
    inside = root / settings.STORE_DIRECTORY
    return Place(str(inside if not (root / DATABASE).is_file() and inside.is_dir() else root))


def here() -> Place:
    """The selected store; else, in a step, its run's; else the one that ``settings.find_store`` finds."""
    chosen = _selected.get()
    if chosen is not UNSET:
        return chosen
    task = running_task()
    return Place(task.store if task is not None and task.store else str(settings.find_store()))


def use_store(path: str | os.PathLike[str] | None) -> None:
    """Read from the store in ``path`` from now on; None: from the default again.

    Objects that exist already keep the store they were read from. In a step it holds for that task only.
    """
    _selected.set(UNSET if path is None else place_of(path))


def metadata(ms: str) -> str:
    """Read from another store: ``metadata("local@/path")``, or a path alone. Returns what ``get_metadata`` does.

    ``"local"`` is the default again. Raises ``MetaflowNotFound`` where there is no store.
    """
    kind, at, path = ms.partition("@")
    if kind == "local" and not path:
        return default_metadata()
    place = place_of(path if at and kind == "local" else ms)
    _stamp(place.root)
    use_store(place.root)
    return get_metadata()


def get_metadata() -> str:
    """The store that is read now: ``local@/path/.asyncflow``."""
    return f"local@{here().root}"


def default_metadata() -> str:
    """Go back to the default store, and return it."""
    use_store(None)
    return get_metadata()
