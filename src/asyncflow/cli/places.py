"""Pathspecs on the command line, and the store they are looked up in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncflow.client.run import LOST_AFTER
from asyncflow.errors import MetaflowInvalidPathspec, MetaflowNotFound
from asyncflow.events import RunState
from asyncflow.settings import find_store
from asyncflow.store.local import DATABASE, LocalStore

if TYPE_CHECKING:
    from asyncflow.protocols import RunRecord, TaskRecord


def open_store(given: str | None) -> LocalStore:
    """The store to read. Raises ``StoreError`` where there is none."""
    store = LocalStore.open(find_store(given=given), create=False)
    if not (store.root / DATABASE).is_file():
        raise MetaflowNotFound(f"There is nothing in the store {store.root} yet: no run has been started.")
    return store


@dataclass(frozen=True, slots=True)
class Place:
    """A run, step, task or artifact of a store; ``run`` is known to exist."""

    run: RunRecord
    step: str | None = None
    serial: int | None = None
    artifact: str | None = None

    @property
    def pathspec(self) -> str:
        parts = (self.run.flow_name, self.run.run_id, self.step, self.serial, self.artifact)
        return "/".join(str(part) for part in parts if part is not None)


def find_place(store: LocalStore, pathspec: str, *, deepest: int) -> Place:
    """What ``Flow/run[/step[/task[/artifact]]]`` names; the flow may be left out, for run ids are unique in a store.

    ``deepest`` is how many parts may be given: 2 for a run, 4 for a task. Raises ``MetaflowInvalidPathspec`` and
    ``MetaflowNotFound``.
    """
    parts = pathspec.strip("/").split("/")
    if parts[0].isdecimal():
        parts = ["", *parts]
    forms = ("Flow/run", "Flow/run/step", "Flow/run/step/task", "Flow/run/step/task/artifact")[: deepest - 1]
    if not 2 <= len(parts) <= deepest or not all(parts[1:]):
        raise MetaflowInvalidPathspec(f"{pathspec!r} is none of {', '.join(forms)}.")
    run = store.reader.run(parts[1])
    if run is None or parts[0] not in {"", run.flow_name}:
        raise MetaflowNotFound(f"There is no run {'/'.join(filter(None, parts[:2]))} in {store.root}.")
    step = parts[2] if len(parts) > 2 else None
    serial = _serial(pathspec, parts[3]) if len(parts) > 3 else None
    _require(store, run, step, serial)
    return Place(run, step, serial, parts[4] if len(parts) > 4 else None)


def _serial(pathspec: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise MetaflowInvalidPathspec(f"{pathspec!r}: a task's id is a number, not {text!r}.")
    return int(text)


def _require(store: LocalStore, run: RunRecord, step: str | None, serial: int | None) -> None:
    where = f"{run.flow_name}/{run.run_id}"
    if step is None:
        return
    if serial is None:
        if not store.reader.tasks(run.run_id, step, limit=1):
            begun = ", ".join(sorted(name for name, _ in store.reader.steps(run.run_id))) or "none"
            raise MetaflowNotFound(f"{where} has no task of a step {step!r}. Steps with tasks are: {begun}.")
    elif store.reader.task(run.run_id, step, serial) is None:
        raise MetaflowNotFound(f"{where} has no task {step}/{serial}.")


def tasks_at(store: LocalStore, place: Place) -> list[TaskRecord]:
    """The tasks of a place, steps in the order in which they began, tasks in the order of their ids."""
    run_id = place.run.run_id
    if place.step is not None and place.serial is not None:
        task = store.reader.task(run_id, place.step, place.serial)
        return [] if task is None else [task]
    if place.step is not None:
        return sorted(store.reader.tasks(run_id, place.step), key=lambda task: task.serial)
    found = [task for step, _ in store.reader.steps(run_id) for task in store.reader.tasks(run_id, step)]
    return sorted((task for task in found if not task.step.startswith("_")), key=lambda task: task.serial)


def state_of(run: RunRecord, now: float | None = None) -> RunState:
    """A run's state, with LOST for one whose engine has stopped to beat."""
    now = time.time() if now is None else now
    if run.state is RunState.RUNNING and now - max(run.heartbeat, run.created) > LOST_AFTER:
        return RunState.LOST
    return run.state
