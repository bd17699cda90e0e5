"""Reading runs: what they did, how they ended, what they kept.

    from asyncflow import Flow

    run = Flow("MovieFlow").latest_successful_run
    print(run.data.ranking)
    for task in run["work"]:
        print(task.index, task.data.x, task.stdout)

Everything is synchronous and reads what is durable at that moment, also of a run in progress, from any
thread, in notebooks, in steps, and while an event loop runs. Unpickling an artifact runs code, so a store
is as trusted as code.
"""

from __future__ import annotations

from asyncflow.client.artifact import DataArtifact
from asyncflow.client.data import MetaflowArtifacts, MetaflowData
from asyncflow.client.facts import Metadata
from asyncflow.client.flow import Flow, Metaflow
from asyncflow.client.namespaces import default_namespace, get_namespace, namespace
from asyncflow.client.run import Run
from asyncflow.client.step import Step
from asyncflow.client.stores import default_metadata, get_metadata, metadata, use_store
from asyncflow.client.task import Task

Asyncflow = Metaflow

__all__ = [
    "Asyncflow",
    "DataArtifact",
    "Flow",
    "Metadata",
    "Metaflow",
    "MetaflowArtifacts",
    "MetaflowData",
    "Run",
    "Step",
    "Task",
    "default_metadata",
    "default_namespace",
    "get_metadata",
    "get_namespace",
    "metadata",
    "namespace",
    "use_store",
]
