"""The zygotes of one executor: one for each flow and environment, kept warm."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, TypeAlias

from asyncflow.errors import ExecutorError
from asyncflow.events import SourceKind
from asyncflow.executors.zygote import ZygoteProcess

if TYPE_CHECKING:
    from asyncflow.events import FlowSource
    from asyncflow.executors.listener import Listener
    from asyncflow.executors.zygote import Owner

_Key: TypeAlias = tuple[object, ...]

WARM = 4
"""Zygotes that are kept though no run uses them."""
MOST_DEATHS = 3
"""Times that a zygote is started again though none of its workers has ended a task since."""


class Zygotes:
    def __init__(self, *, program: str, start_method: str, listener: Listener, owner: Owner) -> None:
        self._program = program
        self._start_method = start_method
        self._listener = listener
        self._owner = owner
        self._warm: dict[_Key, ZygoteProcess] = {}
        """The one that was asked for last is last."""
        self._alive: set[ZygoteProcess] = set()
        self._deaths: dict[FlowSource, int] = {}

    def get(self, source: FlowSource) -> ZygoteProcess:
        """The zygote for ``source`` in the environment of this moment, started if there is none.

        Raises ``ExecutorError`` where it dies again and again, and ``OSError``.
        """
        key = _key(source)
        zygote = self._warm.pop(key, None)
        if zygote is None or not zygote.is_open:
            zygote = self._start(source)
        self._warm[key] = zygote
        idle = [key for key, each in self._warm.items() if not each.runs and each is not zygote]
        for old in idle[: max(0, len(self._warm) - WARM)]:
            self._warm.pop(old).close()
        return zygote

    def _start(self, source: FlowSource) -> ZygoteProcess:
        if self._deaths.get(source, 0) >= MOST_DEATHS:
            raise ExecutorError("The zygote of the workers dies again and again.")
        zygote = ZygoteProcess(
            source,
            program=self._program,
            start_method=self._start_method,
            listener=self._listener,
            owner=self._owner,
        )
        self._alive.add(zygote)
        return zygote

    def forgive(self, source: FlowSource) -> None:
        """A new run begins: what became of zygotes for others doesn't count."""
        self._deaths.pop(source, None)

    def died(self, zygote: ZygoteProcess) -> None:
        """It has ended; if nobody told it to, that counts against it."""
        self._alive.discard(zygote)
        for key in [key for key, each in self._warm.items() if each is zygote]:
            del self._warm[key]
            self._deaths[zygote.source] = self._deaths.get(zygote.source, 0) + 1

    def proved(self, zygote: ZygoteProcess) -> None:
        """A worker of it has ended a task."""
        if self._deaths:
            self.forgive(zygote.source)

    async def close(self, grace: float) -> None:
        """End all of them, and wait for it."""
        self._warm.clear()
        alive = list(self._alive)
        for zygote in alive:
            if zygote.is_ready:
                zygote.close()
            else:
                zygote.kill()  # it has no workers, and importing the flow may take long
        if alive:
            _, late = await asyncio.wait([zygote.gone for zygote in alive], timeout=grace)
            if late:
                self.kill()
                await asyncio.wait(late)

    def kill(self) -> None:
        for zygote in self._alive:
            zygote.kill()

    def abandon(self) -> None:
        """Kill all of them and let go of them at once: nobody listens to them any more."""
        for zygote in list(self._alive):
            zygote.abandon()
        self._alive.clear()
        self._warm.clear()


def _key(source: FlowSource) -> _Key:
    """What a zygote can't change once it has imported the flow."""
    stamp: tuple[int, int] | None = None
    path = source.location if source.kind is SourceKind.FILE else _module_file(source.location)
    if path:
        try:
            found = os.stat(path)  # noqa: PTH116 - a path as it is
            stamp = (found.st_mtime_ns, found.st_size)
        except OSError:
            stamp = None
    return (source, stamp, _working_directory(), *sorted(os.environ.items()))


def _module_file(name: str) -> str | None:
    return getattr(sys.modules.get(name), "__file__", None)


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - likewise
    except OSError:
        return ""
