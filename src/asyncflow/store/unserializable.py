"""Why a value can't be pickled: the path to the member at fault, found by trying."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from asyncflow.store.serializers import cloudpickle

MAX_DEPTH = 12
MAX_SECONDS = 2.0
MAX_MEMBERS = 10_000
"""Members tried of one object: a list of a million is not searched to its end."""


def explain(value: Any, name: str, error: Exception) -> str:
    """What to tell the user: the artifact, its type, the path to the member at fault, its error, the remedy."""
    search = _Search(time.monotonic() + MAX_SECONDS)
    path, culprit, error = search.descend(value, f"self.{name}", error)
    artifact = name.partition("[")[0]
    return (
        f"Artifact {name!r} (of type {_type_name(value)}) can't be persisted: {path} is a {_type_name(culprit)}, and "
        f"pickling it raised {type(error).__name__}: {error}. Keep it in a local variable instead of on `self`, delete "
        f"it before the step ends (`del self.{artifact}`), or give the class that holds it a `__getstate__` that "
        "leaves it out."
    )


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _kind(value: object) -> type:
    return type(value)


class _Search:
    """Goes down from a value that can't be pickled, each time into the first member that can't be either."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._seen: set[int] = set()

    def descend(self, value: Any, path: str, error: Exception) -> tuple[str, Any, Exception]:
        """The deepest member at fault that was found, with its path and its error."""
        for _ in range(MAX_DEPTH):
            found = self._failing_member(value)
            if found is None:
                break
            suffix, value, error = found
            path += suffix
        return path, value, error

    def _failing_member(self, value: Any) -> tuple[str, Any, Exception] | None:
        self._seen.add(id(value))
        for suffix, member in islice(_members(value), MAX_MEMBERS):
            if time.monotonic() > self._deadline:
                return None
            if id(member) in self._seen or type(member) in _ATOMS:
                continue
            error = _failure(member)
            if error is not None:
                return suffix, member, error
        return None


_ATOMS = (int, float, str, bytes, bool, type(None), complex)


def _failure(value: Any) -> Exception | None:
    """What pickling ``value`` raises."""
    try:
        cloudpickle().CloudPickler(_Nowhere(), 5).dump(value)
    except Exception as error:
        return error
    return None


class _Nowhere:
    def write(self, _: object) -> int:
        return 0


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Members with the text that leads to them, as far as pickle would go there."""
    kind = _kind(value)
    try:
        if issubclass(kind, dict):
            for key, member in value.items():
                yield f"[{_short(key)}]", member
                yield f" key {_short(key)}", key
        elif issubclass(kind, list | tuple):
            for index, member in enumerate(value):
                yield f"[{index}]", member
        elif issubclass(kind, set | frozenset):
            for member in value:
                yield f" member {_short(member)}", member
        if callable(value):
            yield from _dragged_along(value)
        if not issubclass(kind, type):
            yield from _attributes(value.__getstate__())
    except Exception:  # a broken __getattr__, __iter__ or __repr__ must not hide the first error
        return


def _attributes(state: Any) -> Iterator[tuple[str, Any]]:
    """``state`` is what ``__getstate__`` gave: a dict, ``(dict or None, slots)``, or what a class makes up."""
    kind = _kind(state)
    if issubclass(kind, tuple) and len(state) == 2:
        yield from _attributes(state[1])
        state = state[0]
        kind = _kind(state)
    if issubclass(kind, dict):
        for name, member in state.items():
            yield f".{name}", member
    elif state is not None:
        yield ".__getstate__()", state


def _dragged_along(function: Any) -> Iterator[tuple[str, Any]]:
    """What a function takes with it when it travels by value."""
    code = getattr(function, "__code__", None)
    cells = getattr(function, "__closure__", None) or ()
    for name, cell in zip(getattr(code, "co_freevars", ()), cells, strict=False):
        yield f" closure variable {name}", cell.cell_contents
    receiver = getattr(function, "__self__", None)
    if receiver is not None:
        yield ".__self__", receiver


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
