"""Why a value can't be pickled: the path to the member at fault, found by trying."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 12
MAX_SECONDS = 2.0
MAX_MEMBERS = 10_000
"""Members tried of one object: a list of a million is not searched to its end."""


def explain(value: Any, name: str, error: Exception) -> str:
    """What to tell the user: artifact, its type, the path to the member at fault, its error, the remedy."""
    search = _Search(time.monotonic() + MAX_SECONDS)
    path, culprit, error = search.descend(value, f"self.{name}", error)
    artifact = f"Artifact {name!r} (of type {_type_name(value)}) can't be persisted: "
    where = f"{path} is a {_type_name(culprit)}, and pickling it raised {type(error).__name__}: {error}. "
    return (
        artifact
        + where
        + "Keep it in a local variable instead of on `self`, delete it before the step ends "
        + f"(`del {path if path.isidentifier() or '[' not in path else 'self.' + name.split('[')[0]}`), "
        + "or give its class a `__getstate__` that leaves it out."
    )


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class _Search:
    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._seen: set[int] = set()

    def descend(self, value: Any, path: str, error: Exception) -> tuple[str, Any, Exception]:
        """The deepest member of ``value`` that can't be pickled, with its path and its error."""
        for _ in range(MAX_DEPTH):
            found = self._failing_member(value)
            if found is None:
                break
            suffix, value, error = found
            path += suffix
        return path, value, error

    def _failing_member(self, value: Any) -> tuple[str, Any, Exception] | None:
        self._seen.add(id(value))
        for tried, (suffix, member) in enumerate(_members(value)):
            if tried >= MAX_MEMBERS or time.monotonic() > self._deadline:
                return None
            if id(member) in self._seen:
                continue
            error = _failure(member)
            if error is not None:
                return suffix, member, error
        return None


def _failure(value: Any) -> Exception | None:
    """What pickling ``value`` raises."""
    import cloudpickle

    try:
        cloudpickle.CloudPickler(_Nowhere(), 5).dump(value)
    except Exception as error:
        return error
    return None


class _Nowhere:
    def write(self, _: object) -> int:
        return 0


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Members with the text that leads to them, as far as pickle would go there."""
    try:
        if isinstance(value, dict):
            for key, member in value.items():
                yield f"[{_short(key)}]", member
                yield f" key {_short(key)}", key
        elif isinstance(value, list | tuple):
            for index, member in enumerate(value):
                yield f"[{index}]", member
        elif isinstance(value, set | frozenset):
            for member in value:
                yield f" member {_short(member)}", member
        yield from _attributes(value)
        yield from _closure(value)
    except Exception:  # a broken __getattr__, __iter__ or __repr__ must not hide the first error
        return


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, type):
        return
    state = _state(value)
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        for name, member in state[1].items():  # (dict, slots), as copyreg makes it
            yield f".{name}", member
        state = state[0]
    if isinstance(state, dict):
        for name, member in state.items():
            yield f".{name}", member
    elif state is not None and not isinstance(state, tuple):
        yield ".__getstate__()", state


def _state(value: Any) -> Any:
    if "__getstate__" in dir(type(value)) and type(value).__getstate__ is not object.__getstate__:
        return value.__getstate__()
    return object.__getstate__(value)


def _closure(value: Any) -> Iterator[tuple[str, Any]]:
    """What a function drags along when it travels by value."""
    code = getattr(value, "__code__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), getattr(value, "__closure__", None) or (), strict=False):
        yield f" closure variable {name}", cell.cell_contents
    receiver = getattr(value, "__self__", None)
    if receiver is not None and callable(value):
        yield ".__self__", receiver


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
