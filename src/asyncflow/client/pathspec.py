"""Pathspecs: ``Flow/run/step/task/artifact``, as deep as the object is."""

from __future__ import annotations

from asyncflow.errors import MetaflowInvalidPathspec

LEVELS = ("FlowName", "RunID", "StepName", "TaskID", "ArtifactName")


def parse(pathspec: str, kind: str, depth: int) -> tuple[str, ...]:
    """The parts of ``pathspec``, of which a ``kind`` has ``depth``. Raises ``MetaflowInvalidPathspec``."""
    form = f"{kind}('{'/'.join(LEVELS[:depth])}')"
    if not isinstance(pathspec, str):  # pyright: ignore[reportUnnecessaryIsInstance] - called by anyone
        raise MetaflowInvalidPathspec(f"Expects {form}, but got {pathspec!r}, which is no string.")
    parts = tuple(pathspec.split("/"))
    if len(parts) != depth or not all(parts):
        raise MetaflowInvalidPathspec(f"Expects {form}, but got {pathspec!r}.")
    return parts


def serial_of(task_id: str) -> int | None:
    """The number of a task, from its place in a pathspec; None where no task can be called that."""
    if task_id.isascii() and task_id.isdecimal() and (task_id == "0" or task_id[0] != "0"):
        return int(task_id)
    return None
