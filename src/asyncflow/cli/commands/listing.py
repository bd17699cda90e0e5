"""``list``: the runs in a store."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncflow.cli.commands.common import JsonOption, StoreOption, invocation_of
from asyncflow.cli.options import MOST
from asyncflow.cli.places import open_store, state_of
from asyncflow.errors import UsageError
from asyncflow.events import RunState
from asyncflow.ui.output import Output, say
from asyncflow.ui.text import duration, plain, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncflow.protocols import RunRecord


def list_runs(
    context: typer.Context,
    flow: Annotated[
        list[str] | None, typer.Argument(metavar="[runs] [FLOW]", help="Only runs of this flow, by its name.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="The newest N runs; 0 for all.")] = 20,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="Only runs with this tag, or system tag; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """List runs, newest first."""
    invocation = invocation_of(context)
    name = _flow_name(flow or []) or invocation.program.flow_name
    if not 0 <= limit <= MOST:
        raise UsageError(f"--limit must be from 0 to {MOST:,}; 0 is for all.")
    opened = open_store(invocation.store(store))
    tags = [*invocation.before.get("tag", ()), *(tag or ())]
    found = opened.reader.runs(name, tags=tags, limit=limit + 1 if limit else None)
    runs = found[:limit] if limit else found
    output = Output(sys.stdout)
    now = time.time()
    if invocation.switch("json", as_json):
        from asyncflow.ui.jsonlines import encode

        output.write_bytes(b"".join(encode(_object(run, now)) + b"\n" for run in runs))
        return
    if not runs:
        what = f" of {name}" if name else ""
        say(f"There are no runs{what}{' with these tags' if tags else ''} in {opened.root}.")
        return
    output.write(_table([_HEAD, *(_row(run, now) for run in runs)]))
    if len(found) > len(runs):
        say(f"There are more: --limit 0 shows all, --limit {limit * 5} so many.")


def _flow_name(words: Sequence[str]) -> str | None:
    """``list runs MovieFlow`` is understood like ``list MovieFlow``."""
    named = list(words[1:] if words[:1] == ["runs"] else words)
    if len(named) > 1:
        raise UsageError(f"Unexpected {named[1]!r}: one flow can be listed at a time.")
    return named[0] if named else None


_HEAD = ("RUN", "STATE", "STARTED", "TOOK", "USER", "TAGS")


def _row(run: RunRecord, now: float) -> tuple[str, ...]:
    state = state_of(run, now)
    return (
        f"{run.flow_name}/{run.run_id}",
        state.value,
        stamp(run.created)[:19],
        duration(_took(run, state, now)),
        plain(run.username),
        plain(" ".join(run.tags)),
    )


def _took(run: RunRecord, state: RunState, now: float) -> float:
    if run.finished is not None:
        return run.finished - run.created
    return (now if state is RunState.RUNNING else run.heartbeat) - run.created


def _object(run: RunRecord, now: float) -> dict[str, Any]:
    failure = run.first_failure
    return {
        "run": f"{run.flow_name}/{run.run_id}",
        "flow": run.flow_name,
        "run_id": run.run_id,
        "state": state_of(run, now).value,
        "created": run.created,
        "finished": run.finished,
        "user": run.username,
        "tags": run.tags,
        "system_tags": run.system_tags,
        "origin_run_id": run.origin_run_id,
        "first_failed_task": run.first_failed_task,
        "first_failure": None if failure is None else failure.message,
    }


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in padded)
