"""Namespaces: which runs a reader looks at.

A namespace is a tag. A run is in it when the tag is among its tags or system tags; so ``user:ann`` holds what
ann ran, and any tag that people gave their runs is a namespace as well. None holds all runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow import settings
from asyncflow.client.choices import UNSET, Choice, running_task

if TYPE_CHECKING:
    from asyncflow.protocols import RunRecord

_chosen: Choice[str | None] = Choice("asyncflow_namespace")


def namespace(ns: str | None) -> str | None:
    """Look only at runs that have the tag ``ns`` from now on; None: at all runs. Returns ``ns``.

    Objects that exist already keep the namespace they were made in. In a step it holds for that task only.

        namespace("user:ann")
        namespace(None)
    """
    if ns is not None and not isinstance(ns, str):  # pyright: ignore[reportUnnecessaryIsInstance] - called by anyone
        raise TypeError(f"A namespace is a string or None, not {type(ns).__name__}.")
    _chosen.set(ns)
    return ns


def get_namespace() -> str | None:
    """The namespace that readers look at now."""
    chosen = _chosen.get()
    return _default() if chosen is UNSET else chosen


def default_namespace() -> str | None:
    """Go back to the default, and return it: ``user:NAME``; in a step, the run's own namespace."""
    _chosen.set(UNSET)
    return _default()


def _default() -> str | None:
    task = running_task()
    return settings.default_namespace() if task is None else task.namespace


def holds(ns: str | None, run: RunRecord) -> bool:
    """Whether ``run`` is in the namespace ``ns``."""
    return ns is None or ns in run.tags or ns in run.system_tags
