"""A store in one directory: blobs, metadata and logs, opened together.

::

    .asyncflow/asyncflow.db        metadata, journal, small blobs
    .asyncflow/blobs/ab/abcd…      large blobs by key
    .asyncflow/logs/<run id>.log   lines of output
    .asyncflow/tmp/                blobs being written
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from asyncflow.errors import StoreError
from asyncflow.store.blobs.local import LocalBlobs, LocalBlobStore, cannot_write
from asyncflow.store.logs import LocalLogs
from asyncflow.store.metadata.connection import open_for_writing, translated
from asyncflow.store.metadata.sqlite import SqliteMetadataStore, SqliteReader

if TYPE_CHECKING:
    from types import TracebackType

DATABASE = "asyncflow.db"
ABANDONED = 86_400.0
"""Seconds after which a file under ``tmp/`` is what a killed process left."""


class LocalStore:
    """Everything of one directory. Cheap to make: files are opened when they are used.

    May be used from threads, and from processes forked after it was made; asyncio isn't imported before
    ``blob_store`` or ``metadata`` is awaited. Close it when done.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 -- symlinks stay as the user wrote them
        self.reader = SqliteReader(self.root / DATABASE)
        self.blobs = LocalBlobs(self.root, self.reader.small_blobs)
        self.logs = LocalLogs(self.root)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, create: bool = True) -> LocalStore:
        """The store at ``path``, made with ``create`` where there is none. Raises ``StoreError``."""
        store = cls(path)
        if create:
            try:
                store.root.mkdir(parents=True, exist_ok=True)
                # Others write there, too: made here, and not by the first task, whose step may have changed the umask.
                for name in ("blobs", "tmp", "logs"):
                    (store.root / name).mkdir(exist_ok=True)
            except OSError as error:
                raise _no_directory(store.root) or cannot_write(store.root, error) from error
            store._ensure_database()
            store.blobs.sweep(older_than=ABANDONED)
        elif not store.root.is_dir():
            raise _no_directory(store.root) or StoreError(
                f"There is no store at {store.root}. Run a flow there first, or name the store with ASYNCFLOW_STORE "
                "or --store."
            )
        return store

    def _ensure_database(self) -> None:
        """Before anything else is there: blobs and logs without a database are then always what a lost one left."""
        path = self.root / DATABASE
        if _has_content(path):
            return
        left = self.orphan()
        if left is not None and not _has_content(path):  # else another first run was quicker
            raise StoreError(
                f"The database of the store {self.root} is lost: {path} is {'empty' if path.exists() else 'missing'}, "
                f"although there is {left}. Restore {DATABASE} from a backup, or move the directory away to begin a new "
                "store."
            )
        with translated(path):
            open_for_writing(path).close()

    def orphan(self) -> str | None:
        """The path of some log or blob; None where there is neither."""
        for place, depth in ((self.root / "logs", "*.log"), (self.root / "blobs", "*/*")):
            for path in place.glob(depth):
                return str(path)
        return None

    @cached_property
    def metadata(self) -> SqliteMetadataStore:
        """The engine's side. Makes the database with the first write."""
        return SqliteMetadataStore(self.root / DATABASE)

    @cached_property
    def blob_store(self) -> LocalBlobStore:
        return LocalBlobStore(self.blobs)

    def close(self) -> None:
        """Waits for a write under way; blocks for as long."""
        self.reader.close()
        if "metadata" in self.__dict__:
            self.metadata.close()

    async def aclose(self) -> None:
        """The same without blocking the event loop."""
        import asyncio

        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _no_directory(root: Path) -> StoreError | None:
    """What to say where something else has the name of the store's directory, or of one that it is in."""
    for path in (root, *root.parents):
        if path.is_dir() or not os.path.lexists(path):
            continue
        what = "a symbolic link that leads nowhere" if path.is_symlink() and not path.exists() else "a file"
        return StoreError(
            f"There can't be a store at {root}: {path} is {what}, not a directory. Move it away, or choose another "
            "place with ASYNCFLOW_STORE or --store."
        )
    return None


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
