"""Tags of a run: what a tag may be, and how they are changed. The store holds a run to its number of tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow.errors import MetaflowTaggingError
from asyncflow.store.metadata.projection import MAX_TAG_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncflow.protocols import MetadataReader


def checked(tags: str | Iterable[str]) -> tuple[str, ...]:
    """``tags`` (one, or any number of them) in their order, each once. Raises ``MetaflowTaggingError``."""
    if isinstance(tags, str):
        tags = (tags,)
    try:
        distinct = tuple(dict.fromkeys(tags))
    except TypeError:
        raise MetaflowTaggingError(f"Tags are a string or an iterable of strings, not {tags!r}.") from None
    for tag in distinct:
        _check(tag)
    return distinct


def _check(tag: object) -> None:
    if not isinstance(tag, str):
        raise MetaflowTaggingError(f"A tag is a string, not {tag!r}.")
    if not tag:
        raise MetaflowTaggingError("A tag must not be an empty string.")
    if len(tag) > MAX_TAG_LENGTH:
        raise MetaflowTaggingError(f"A tag has at most {MAX_TAG_LENGTH} characters; '{tag[:40]}…' has {len(tag)}.")
    try:
        tag.encode()
    except UnicodeEncodeError:
        raise MetaflowTaggingError(f"The tag {tag!r} isn't valid Unicode text.") from None


def change(
    reader: MetadataReader, run_id: str, *, add: str | Iterable[str] = (), remove: str | Iterable[str] = ()
) -> None:
    """Take ``remove`` from the run's tags, then add ``add``, in one transaction.

    Tags that the system gave can't be removed; added, they change nothing. Raises ``MetaflowTaggingError``.
    """
    added, removed = checked(add), checked(remove)
    if not added and not removed:
        raise MetaflowTaggingError("There is no tag to add or to remove.")
    reader.change_tags(run_id, add=added, remove=removed)
