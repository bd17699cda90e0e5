"""``tag add|remove|replace|list``: the tags of a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from asyncflow.cli.commands.common import StoreOption, invocation_of
from asyncflow.cli.places import Place, find_place, open_store
from asyncflow.errors import MetaflowNotFound, UsageError
from asyncflow.ui.output import Output, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncflow.store.local import LocalStore

app = typer.Typer(
    help="Show or change the tags of a run.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_RunOption = Annotated[
    str | None, typer.Option("--run-id", metavar="RUN", help="The run, when it isn't the first argument.")
]
_Words = Annotated[list[str] | None, typer.Argument(metavar="RUN TAG…", help="The run, then tags.")]


@app.command()
def add(context: typer.Context, words: _Words = None, run_id: _RunOption = None, store: StoreOption = None) -> None:
    """Add tags to a run."""
    opened, place, tags = _read(context, words, run_id, store)
    _change(opened, place, add=_some(tags), remove=())


@app.command()
def remove(context: typer.Context, words: _Words = None, run_id: _RunOption = None, store: StoreOption = None) -> None:
    """Remove tags from a run."""
    opened, place, tags = _read(context, words, run_id, store)
    _change(opened, place, add=(), remove=_some(tags))


@app.command()
def replace(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="RUN [OLD NEW]")] = None,
    run_id: _RunOption = None,
    added: Annotated[list[str] | None, typer.Option("--add", metavar="TAG", help="May be repeated.")] = None,
    removed: Annotated[list[str] | None, typer.Option("--remove", metavar="TAG", help="May be repeated.")] = None,
    store: StoreOption = None,
) -> None:
    """Remove tags and add others in one step.

    `tag replace RUN old new`, or with --remove and --add.
    """
    opened, place, tags = _read(context, words, run_id, store)
    if tags and (len(tags) != 2 or added or removed):
        raise UsageError("`tag replace` takes one old and one new tag after the run, or --remove and --add.")
    new, old = ([*(added or ())], [*(removed or ())]) if not tags else ([tags[1]], [tags[0]])
    if not new or not old:
        raise UsageError("`tag replace` needs both what to remove and what to add.")
    _change(opened, place, add=new, remove=old)


@app.command("list")
def list_tags(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="[RUN]")] = None,
    run_id: _RunOption = None,
    hide_system: Annotated[bool, typer.Option("--hide-system-tags", help="Only the tags that users gave.")] = False,
    store: StoreOption = None,
) -> None:
    """List the tags of a run, one a line."""
    _, place, tags = _read(context, words, run_id, store)
    if tags:
        raise UsageError(f"Unexpected {tags[0]!r}: the tags of one run can be listed at a time.")
    shown = sorted(place.run.tags) + ([] if hide_system else sorted(place.run.system_tags))
    Output(sys.stdout).write("".join(f"{tag}\n" for tag in shown))


def _read(
    context: typer.Context, words: Sequence[str] | None, run_id: str | None, store: str | None
) -> tuple[LocalStore, Place, list[str]]:
    """The store, the run (by ``--run-id``, else the first word) and the other words."""
    invocation = invocation_of(context)
    rest = list(words or ())
    if run_id is None:
        if not rest:
            raise UsageError("Name a run: Flow/run, or the run's id.")
        run_id = rest.pop(0)
    opened = open_store(invocation.store(store))
    place = find_place(opened, run_id, deepest=2)
    own = invocation.program.flow_name
    if own is not None and place.run.flow_name != own:
        raise MetaflowNotFound(f"{place.pathspec} is a run of another flow than {own}.")
    return opened, place, rest


def _some(tags: list[str]) -> list[str]:
    if not tags:
        raise UsageError("Name at least one tag after the run.")
    return tags


def _change(store: LocalStore, place: Place, *, add: Sequence[str], remove: Sequence[str]) -> None:
    from asyncflow.client.tags import change

    change(store.reader, place.run.run_id, add=add, remove=remove)
    now = store.reader.run(place.run.run_id)
    tags = ", ".join(sorted(now.tags)) if now is not None else ""
    say(f"{place.pathspec} has the tags: {tags}." if tags else f"{place.pathspec} has no tags of users.")
