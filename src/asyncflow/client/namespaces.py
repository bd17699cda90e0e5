"""Namespaces: which runs a reader looks at.

A namespace is a tag. A run is in it when the tag is among its tags or system tags; so ``user:ann`` holds what
ann ran, and any tag that people gave their runs is a namespace as well. None holds all runs.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from asyncflow import settings
from asyncflow.current import current

if TYPE_CHECKING:
    from asyncflow.protocols import RunRecord


class _Unset(Enum):
    """Told apart from None, which is a choice."""

    UNSET = "unset"


UNSET: Final = _Unset.UNSET

_chosen: str | _Unset | None = UNSET


def namespace(ns: str | None) -> str | None:
    """Look only at runs that have the tag ``ns`` from now on; None: at all runs. Returns ``ns``.

    Objects that exist already keep the namespace they were made in.

        namespace("user:ann")
        namespace(None)
    """
    if ns is not None and not isinstance(ns, str):  # pyright: ignore[reportUnnecessaryIsInstance] - called by anyone
        raise TypeError(f"A namespace is a string or None, not {type(ns).__name__}.")
    global _chosen  # noqa: PLW0603 - one setting for the whole session is what the function is for
    _chosen = ns
    return ns


def get_namespace() -> str | None:
    """The namespace that readers look at now."""
    return _default() if _chosen is UNSET else _chosen


def default_namespace() -> str | None:
    """Go back to the default, and return it: ``user:NAME``; in a step, the run's own namespace."""
    global _chosen  # noqa: PLW0603 - likewise
    _chosen = UNSET
    return _default()


def _default() -> str | None:
    return current.namespace if current.is_running_flow else settings.default_namespace()


def holds(ns: str | None, run: RunRecord) -> bool:
    """Whether ``run`` is in the namespace ``ns``."""
    return ns is None or ns in run.tags or ns in run.system_tags
