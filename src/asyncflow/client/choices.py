"""What a reader has chosen, a namespace or a store: for the session, or in a step for its task.

A worker serves many tasks one after the other, or at once on an event loop; what one of them chooses must
not change what the next one reads. Outside of tasks a choice is for the whole program: cells of a notebook
may each have a context of their own.
"""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar

from asyncflow.current import _values as task_values  # pyright: ignore[reportPrivateUsage] - which task this is

if TYPE_CHECKING:
    from asyncflow.current import TaskValues

T = TypeVar("T")


class Unset(Enum):
    """Told apart from None, which may be a choice."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
UnsetType: TypeAlias = Literal[Unset.UNSET]


class Choice(Generic[T]):
    """One thing to choose."""

    def __init__(self, name: str) -> None:
        self._session: T | UnsetType = UNSET
        self._in_task: ContextVar[tuple[TaskValues, T | UnsetType] | None] = ContextVar(name, default=None)

    def get(self) -> T | UnsetType:
        task = task_values.get()
        if task is None:
            return self._session
        chosen = self._in_task.get()
        return chosen[1] if chosen is not None and chosen[0] is task else UNSET

    def set(self, value: T | UnsetType) -> None:
        task = task_values.get()
        if task is None:
            self._session = value
        else:
            self._in_task.set((task, value))


def running_task() -> TaskValues | None:
    """What is known of the task that this code runs in; None outside of tasks."""
    return task_values.get()
