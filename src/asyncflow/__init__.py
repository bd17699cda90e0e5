"""Metaflow's human-friendly flows on an asyncio, event-driven engine.

    from asyncflow import FlowSpec, Parameter, current, step

The public names are all here. Each is imported when it is first used, so that ``import asyncflow`` costs
next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncflow._version import __version__

# Eagerly: imported later, the module of this name would take the place of the object.
from asyncflow.current import current

if TYPE_CHECKING:
    from asyncflow.client import (
        DataArtifact,
        Flow,
        Metaflow,
        Run,
        Step,
        Task,
        default_metadata,
        default_namespace,
        get_metadata,
        get_namespace,
        metadata,
        namespace,
    )
    from asyncflow.client import Metaflow as Asyncflow
    from asyncflow.engine.runner import Engine
    from asyncflow.events import OnFailure, RunState
    from asyncflow.executors.inline import InlineExecutor
    from asyncflow.executors.local import LocalExecutor
    from asyncflow.flow import FlowSpec, step
    from asyncflow.parameters import IncludeFile, JSONType, Parameter
    from asyncflow.worker.inputs import Inputs

__all__ = [
    "Asyncflow",
    "DataArtifact",
    "Engine",
    "Flow",
    "FlowSpec",
    "IncludeFile",
    "InlineExecutor",
    "Inputs",
    "JSONType",
    "LocalExecutor",
    "Metaflow",
    "OnFailure",
    "Parameter",
    "Run",
    "RunState",
    "Step",
    "Task",
    "__version__",
    "current",
    "default_metadata",
    "default_namespace",
    "get_metadata",
    "get_namespace",
    "metadata",
    "namespace",
    "step",
]

_CLIENT = "asyncflow.client"
_HOMES: dict[str, tuple[str, str]] = {
    "Asyncflow": (_CLIENT, "Metaflow"),
    "Engine": ("asyncflow.engine.runner", "Engine"),
    "FlowSpec": ("asyncflow.flow", "FlowSpec"),
    "IncludeFile": ("asyncflow.parameters", "IncludeFile"),
    "Inputs": ("asyncflow.worker.inputs", "Inputs"),
    "InlineExecutor": ("asyncflow.executors.inline", "InlineExecutor"),
    "JSONType": ("asyncflow.parameters", "JSONType"),
    "LocalExecutor": ("asyncflow.executors.local", "LocalExecutor"),
    "OnFailure": ("asyncflow.events", "OnFailure"),
    "Parameter": ("asyncflow.parameters", "Parameter"),
    "RunState": ("asyncflow.events", "RunState"),
    "step": ("asyncflow.flow", "step"),
    **{
        name: (_CLIENT, name)
        for name in (
            *("DataArtifact", "Flow", "Metaflow", "Run", "Step", "Task", "default_metadata", "default_namespace"),
            *("get_metadata", "get_namespace", "metadata", "namespace"),
        )
    },
}
"""Where each public name is defined, and what it is called there."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        from asyncflow.absent import missing

        raise missing(name)
    from importlib import import_module

    value = getattr(import_module(home[0]), home[1])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
