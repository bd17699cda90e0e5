"""Names that the system takes and a store can't keep: bytes that aren't UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def require_utf8(texts: Mapping[str, str | None]) -> None:
    """``texts`` by what they are. Raises ``UsageError`` naming the first that a store can't keep."""
    for what, text in texts.items():
        try:
            (text or "").encode()
        except UnicodeEncodeError as error:
            raise not_utf8(error, f"{what} is") from None


def not_utf8(error: UnicodeEncodeError, what: str = "This is") -> UsageError:
    """Why ``error``: the text itself isn't UTF-8, or the locale has let Python misread it."""
    from sys import getfilesystemencoding

    encoding = getfilesystemencoding()
    why = "which isn't valid UTF-8" if encoding == "utf-8" else f"which can't be read in the encoding {encoding}"
    remedy = "Rename it" if encoding == "utf-8" else "Set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
    return UsageError(f"{what} {error.object!r}, {why}. {remedy}.")
