"""Is everything in the store that should be, and as it was written? What ``asyncflow verify`` asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from asyncflow.codec import decode_events
from asyncflow.errors import AsyncflowError
from asyncflow.events import BlobKey, BlobRef, RunId
from asyncflow.store.artifacts import Manifest
from asyncflow.store.local import LocalStore


class Damage(NamedTuple):
    """Something that isn't as it should be."""

    where: str
    """A file, or the path of a run, task or artifact."""
    problem: str
    """One sentence."""


def verify_store(store: LocalStore) -> Iterator[Damage]:
    """Hash every blob again, look for every manifest and artifact that a task refers to, and read all logs.

    Reads all of the store, memory-mapped blobs too; 32 bytes of memory for each blob, and a few more.
    """
    database = str(store.reader.path)
    try:
        for problem in store.reader.integrity():
            yield Damage(database, f"SQLite says: {problem}.")
        yield from _lost_database(store)
        good: set[BlobKey] = set()
        yield from _small_blobs(store, good)
        yield from _files(store, good)
        yield from _journals(store)
        yield from _references(store, good)
        yield from _logs(store)
    except AsyncflowError as error:
        yield Damage(database, str(error))


def _lost_database(store: LocalStore) -> Iterator[Damage]:
    # A first run that ended before it was entered leaves blobs, and a database; a log, only a run that was entered.
    orphan = store.orphan()
    if orphan is None or (not store.reader.is_empty() and (store.reader.runs(limit=1) or not orphan.endswith(".log"))):
        return
    yield Damage(
        str(store.reader.path),
        f"The database has no runs, although there is {orphan}: it is lost. Restore it from a backup.",
    )


def _small_blobs(store: LocalStore, good: set[BlobKey]) -> Iterator[Damage]:
    for key, content in store.reader.all_small_blobs():
        if sha256(content).digest() != key:
            yield Damage(str(store.reader.path), f"Small blob {key.hex()} doesn't have the hash that its key says.")
        elif key not in good and key not in store.reader.small_blobs((key,)):
            yield Damage(str(store.reader.path), f"Small blob {key.hex()} is missing from its index.")
        else:
            good.add(key)


def _files(store: LocalStore, good: set[BlobKey]) -> Iterator[Damage]:
    for path, key in store.blobs.files():
        if key is None:
            yield Damage(path, "This file isn't a blob: its name isn't a key. Nothing refers to it.")
            continue
        try:
            store.blobs.check(key)
        except AsyncflowError as error:
            yield Damage(path, str(error))
        else:
            good.add(key)


def _journals(store: LocalStore) -> Iterator[Damage]:
    for run_id, body in store.reader.journal_pages():
        try:
            decode_events(body)
        except AsyncflowError as error:
            yield Damage(f"run {run_id}", str(error))


def _references(store: LocalStore, good: set[BlobKey]) -> Iterator[Damage]:
    for task, ref in store.reader.manifests():
        if ref.key not in good:
            yield Damage(
                task, f"The manifest {ref.key.hex()} is missing or damaged: the task's artifacts can't be read."
            )
            continue
        try:
            artifacts = _manifest(store, ref).artifacts
        except AsyncflowError as error:
            yield Damage(task, str(error))
            continue
        for name, artifact in artifacts.items():
            if artifact.key not in good:
                yield Damage(f"{task}/{name}", f"The blob {artifact.key.hex()} is missing or damaged.")


def _manifest(store: LocalStore, ref: BlobRef) -> Manifest:
    return Manifest.decode(store.blobs.read_all((ref,))[0][1])


def _logs(store: LocalStore) -> Iterator[Damage]:
    """One for each damaged log: of a file that was cut off, thousands of chunks may be missing."""
    first: dict[RunId, str] = {}
    further: Counter[RunId] = Counter()
    for run_id, chunks in store.reader.log_pages():
        for problem in store.logs.damage(run_id, chunks):
            if first.setdefault(run_id, problem) != problem:
                further[run_id] += 1
    for run_id, problem in first.items():
        more = f" ({further[run_id]} more like it.)" if further[run_id] else ""
        yield Damage(str(store.logs.path(run_id)), problem + more)
