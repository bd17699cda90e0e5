"""The types that a parameter can have: what they read from a text, and what they take in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable


class JSON:
    """The class of ``JSONType``, the type of a parameter that takes any JSON value."""

    def __repr__(self) -> str:
        return "JSONType"

    def __reduce__(self) -> str:
        return "JSONType"  # there is one, found again by name


JSONType = JSON()

Type: TypeAlias = type[Any] | JSON
"""``str int float bool list dict`` or ``JSONType``."""


class Kind(NamedTuple):
    """How values of a type come about. ``read`` and ``check`` raise ``ValueError`` or ``TypeError``."""

    label: str
    """As the help of the command line shows it."""
    takes: str
    """As an error message says it."""
    read: Callable[[str], Any]
    """The value of a text."""
    check: Callable[[Any], Any]
    """The value of a Python value that may be of a related type."""


def type_of(default: object) -> Type:
    """The type of a parameter that has this default and no type of its own."""
    if isinstance(default, bool | int | float | str):
        return type(default)
    return JSONType if isinstance(default, dict | list | tuple) else str


def is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(text, str) for text in cast("list[object]", value))


# -- reading texts ---------------------------------------------------------------------------------

_TRUE = frozenset({"true", "t", "1", "yes", "y", "on"})
_FALSE = frozenset({"false", "f", "0", "no", "n", "off"})


def _bool(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(text)


def _json(text: str) -> Any:
    import json

    return json.loads(text)


def _json_list(text: str) -> Any:
    return _check_list(_json(text))


def _json_dict(text: str) -> Any:
    return _check_dict(_json(text))


# -- checking values -------------------------------------------------------------------------------


def _check_str(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(value)


def _check_int(value: Any) -> int:
    from operator import index

    if isinstance(value, bool):
        raise TypeError(value)
    return index(value)


def _check_float(value: Any) -> float:
    if isinstance(value, bool | str | bytes):
        raise TypeError(value)
    return float(value)


def _check_bool(value: Any) -> bool:
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):  # numpy's own
        return bool(value)
    raise TypeError(value)


def _check_json(value: Any) -> Any:
    import json

    if isinstance(value, str):
        return json.loads(value)
    json.dumps(value)
    return value


def _check_list(value: Any) -> list[Any]:
    found = _check_json(value)
    if isinstance(found, list | tuple):
        return list(cast("list[Any]", found))
    raise TypeError(value)


def _check_dict(value: Any) -> dict[str, Any]:
    found = _check_json(value)
    if isinstance(found, dict):
        return cast("dict[str, Any]", found)
    raise TypeError(value)


KINDS: dict[Type, Kind] = {
    str: Kind("TEXT", "a text", str, _check_str),
    int: Kind("INTEGER", "an integer", int, _check_int),
    float: Kind("FLOAT", "a number", float, _check_float),
    bool: Kind("BOOLEAN", "true or false (also yes/no, on/off, 1/0)", _bool, _check_bool),
    list: Kind("JSON", "a JSON list", _json_list, _check_list),
    dict: Kind("JSON", "a JSON object", _json_dict, _check_dict),
    JSONType: Kind("JSON", "JSON", _json, _check_json),
}
"""A text given in Python for a JSON type is read as JSON, as it is on the command line."""
EXACT = frozenset({str, int, float, bool})
"""Types of which a default function must return exactly that."""
