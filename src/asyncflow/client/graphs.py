"""What readers need of a run's graph. A run's graph never changes, so it is kept."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from asyncflow.errors import MetaflowNotFound
from asyncflow.graph import FlowGraph

if TYPE_CHECKING:
    from asyncflow.client.stores import Place


@lru_cache(maxsize=32)
def graph_of(place: Place, run_id: str) -> FlowGraph:
    """Raises ``MetaflowNotFound``."""
    record = place.reader.run(run_id)
    if record is None:
        raise MetaflowNotFound(f"There is no run {run_id} in the store {place.root}.")
    return FlowGraph.from_json(record.graph)
