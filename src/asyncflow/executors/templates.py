"""The template processes of one executor: one for each flow and environment, kept warm."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, TypeAlias

from asyncflow.errors import ExecutorError
from asyncflow.events import SourceKind
from asyncflow.executors.zygote import Template

if TYPE_CHECKING:
    from asyncflow.events import FlowSource
    from asyncflow.executors.listener import Listener
    from asyncflow.executors.zygote import Owner

_Key: TypeAlias = tuple[object, ...]

WARM = 4
"""Templates that are kept though no run uses them."""
MOST_DEATHS = 3
"""Times that a template is started again though none of its workers has ended a task since."""


class Templates:
    def __init__(self, *, program: str, start_method: str, listener: Listener, owner: Owner) -> None:
        self._program = program
        self._start_method = start_method
        self._listener = listener
        self._owner = owner
        self._warm: dict[_Key, Template] = {}
        """The one that was asked for last is last."""
        self._alive: set[Template] = set()
        self._deaths: dict[FlowSource, int] = {}

    def get(self, source: FlowSource) -> Template:
        """The template for ``source`` in the environment of this moment, started if there is none.

        Raises ``ExecutorError`` where it dies again and again, and ``OSError``.
        """
        key = _key(source)
        template = self._warm.pop(key, None)
        if template is None or not template.is_open:
            template = self._start(source)
        self._warm[key] = template
        idle = [key for key, each in self._warm.items() if not each.runs and each is not template]
        for old in idle[: max(0, len(self._warm) - WARM)]:
            self._warm.pop(old).close()
        return template

    def _start(self, source: FlowSource) -> Template:
        if self._deaths.get(source, 0) >= MOST_DEATHS:
            raise ExecutorError("The template process of the workers dies again and again.")
        template = Template(
            source,
            program=self._program,
            start_method=self._start_method,
            listener=self._listener,
            owner=self._owner,
        )
        self._alive.add(template)
        return template

    def died(self, template: Template) -> None:
        """It has ended; if nobody told it to, that counts against it."""
        self._alive.discard(template)
        for key in [key for key, each in self._warm.items() if each is template]:
            del self._warm[key]
            self._deaths[template.source] = self._deaths.get(template.source, 0) + 1

    def proved(self, template: Template) -> None:
        """A worker of it has ended a task."""
        if self._deaths:
            self._deaths.pop(template.source, None)

    async def close(self, grace: float) -> None:
        """End all of them, and wait for it."""
        self._warm.clear()
        alive = list(self._alive)
        for template in alive:
            if template.is_ready:
                template.close()
            else:
                template.kill()  # it has no workers, and importing the flow may take long
        if alive:
            _, late = await asyncio.wait([template.gone for template in alive], timeout=grace)
            if late:
                self.kill()
                await asyncio.wait(late)

    def kill(self) -> None:
        for template in self._alive:
            template.kill()

    def abandon(self) -> None:
        """Kill all of them and let go of them at once: nobody listens to them any more."""
        for template in list(self._alive):
            template.abandon()
        self._alive.clear()
        self._warm.clear()


def _key(source: FlowSource) -> _Key:
    """What a template can't change once it has imported the flow."""
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
