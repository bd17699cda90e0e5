"""``dump``: the artifacts of tasks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncflow.cli.commands.common import StoreOption, invocation_of, required
from asyncflow.cli.places import find_place, open_store, tasks_at
from asyncflow.errors import AsyncflowError, MetaflowNotFound, UsageError
from asyncflow.store.artifacts import COMPANION, ArtifactLoader
from asyncflow.ui.output import Output, say
from asyncflow.ui.text import counted, plain, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncflow.events import BlobRef
    from asyncflow.protocols import RunRecord, TaskRecord

SHOWN = 1000
"""Stored bytes of a value up to which it is shown unless ``--max-value-size`` says otherwise."""


def dump(
    context: typer.Context,
    pathspec: Annotated[str | None, typer.Argument(metavar="PATHSPEC", help="A run, step, task or artifact.")] = None,
    include: Annotated[
        list[str] | None, typer.Option("--include", metavar="NAMES", help="Only these artifacts, separated by commas.")
    ] = None,
    max_value_size: Annotated[
        int | None,
        typer.Option(
            "--max-value-size", metavar="BYTES", help="Leave out larger values. [default: 1000, with --file no limit]"
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="Write the values to this file, as one pickle.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Also names that begin with an underscore.")] = False,
    store: StoreOption = None,
) -> int:
    """Show the artifacts of tasks.

    Of one task, or of all tasks of a step or run. Loading a value can run code: do it with stores that you trust.
    """
    opened = open_store(invocation_of(context).store(store))
    place = find_place(opened, required(pathspec), deepest=5)
    _make_importable(place.run)
    names = [place.artifact] if place.artifact is not None else _split(include)
    reading = _Reading(ArtifactLoader(opened.blobs), frozenset(names), private)
    tasks = tasks_at(opened, place)
    run = f"{place.run.flow_name}/{place.run.run_id}"
    if names and not any(reading.refs(task) for task in tasks):
        raise MetaflowNotFound(f"{place.pathspec} has no artifact {' or '.join(names)}." if place.artifact is None
                               else f"There is no artifact {place.pathspec}.")  # fmt: skip
    if file is not None:
        return _write(reading, run, tasks, file, max_value_size)
    limit = max_value_size if max_value_size is not None else SHOWN if place.artifact is None else None
    return _print(reading, run, tasks, limit)


def _split(include: Sequence[str] | None) -> list[str]:
    return [name.strip() for names in include or () for name in names.split(",") if name.strip()]


def _make_importable(run: RunRecord) -> None:
    """Objects of classes in the flow's own files need those files."""
    from asyncflow.codec import decode_context

    source = decode_context(run.context).source
    sys.path += [folder for folder in source.search_path if folder not in sys.path]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is to be read of each task."""

    loader: ArtifactLoader
    names: frozenset[str]
    """Empty: all."""
    private: bool

    def refs(self, task: TaskRecord) -> dict[str, BlobRef]:
        """Where the artifacts of the last attempt are."""
        manifest = task.attempts[-1].manifest if task.attempts else None
        if manifest is None:
            return {}
        found = self.loader.manifest(manifest).artifacts
        return {name: ref for name, ref in sorted(found.items()) if self._wants(name)}

    def _wants(self, name: str) -> bool:
        if self.names:
            return name in self.names
        return not name.endswith(COMPANION) and (self.private or not name.startswith("_"))

    def value(self, ref: BlobRef, label: str) -> Any:
        return self.loader.load(ref, label)


def _print(reading: _Reading, run: str, tasks: Sequence[TaskRecord], limit: int | None) -> int:
    """1 when a value can't be read, else 0."""
    output = Output(sys.stdout)
    code = 0
    for task in tasks:
        pathspec = f"{run}/{task.step}/{task.serial}"
        output.write(f"{pathspec} ({task.attempts[-1].state if task.attempts else 'not started'})\n")
        for name, ref in reading.refs(task).items():
            try:
                shown = _shown(reading, ref, f"{pathspec}/{name}", limit)
            except AsyncflowError as error:
                shown, code = f"can't be read: {error.message}", 1
            output.write(f"  {plain(name)} = {_indented(plain(shown))}\n")
        if output.error is not None:
            break
    return code


def _shown(reading: _Reading, ref: BlobRef, label: str, limit: int | None) -> str:
    if limit is not None and ref.size > limit:
        return f"<{size(ref.size)}; --max-value-size {ref.size} shows it>"
    value = reading.value(ref, label)
    from pprint import pformat
    from shutil import get_terminal_size

    try:
        return pformat(value, width=get_terminal_size().columns - 4, compact=True, sort_dicts=False)
    except Exception as error:  # a class of the user's with a faulty __repr__
        return f"<{type(value).__name__}, whose __repr__ raises {type(error).__name__}>"


def _indented(text: str) -> str:
    """A value of several lines stands below its name."""
    if "\n" not in text:
        return text
    return "\n" + "\n".join(f"    {line}" for line in text.split("\n"))


def _write(reading: _Reading, run: str, tasks: Sequence[TaskRecord], file: str, limit: int | None) -> int:
    """A pickle of ``{pathspec of the task: {name: value}}``."""
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    values: dict[str, dict[str, Any]] = {}
    for task in tasks:
        pathspec = f"{run}/{task.step}/{task.serial}"
        refs = reading.refs(task).items()
        kept = {name: ref for name, ref in refs if limit is None or ref.size <= limit}
        values[pathspec] = {name: reading.value(ref, f"{pathspec}/{name}") for name, ref in kept.items()}
    try:
        with open(file, "wb") as target:  # noqa: PTH123 - as given
            cloudpickle.dump(values, target, protocol=5)  # pyright: ignore[reportUnknownMemberType]
    except OSError as error:
        raise UsageError(f"--file: {file} can't be written: {error.strerror}.") from error
    say(f"{counted(sum(map(len, values.values())), 'artifact')} of {counted(len(values), 'task')} written to {file}.")
    return 0
