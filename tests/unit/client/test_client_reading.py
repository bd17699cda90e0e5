"""Reading many tasks costs few queries, and what is kept for it is bounded."""

from __future__ import annotations

import pytest
from client_runs import Writer

from asyncflow.client import Run, stores
from asyncflow.client.siblings import TOGETHER
from asyncflow.store.artifacts import ArtifactLoader


@pytest.fixture
def wide(root):
    writer = Writer(root, "100")
    with writer.together():
        for index in range(300):
            writer.succeeded("work", index + 1, {"x": f"x{index}", "y": f"y{index}"}, path=(index, 0))
    return Run("MovieFlow/100")


@pytest.fixture
def queries(wide, monkeypatch):
    """How many blobs each read asked for."""
    counts = []

    class Counting:
        def __init__(self, blobs):
            self._blobs = blobs

        def read(self, refs):
            counts.extend([len(refs)] if refs else [])
            return self._blobs.read(refs)

    monkeypatch.setattr(stores, "ArtifactLoader", lambda blobs: ArtifactLoader(Counting(blobs)))
    return counts


def test_one_task_costs_two_blobs(wide, queries):
    assert next(iter(wide["work"])).data.x == "x299"
    assert queries == [1, 1]


def test_a_wide_step_is_read_in_groups(wide, queries):
    assert [task.data.x for task in wide["work"]] == [f"x{index}" for index in reversed(range(300))]
    # For each group: the first manifest, the first value; then, along with the second, those of the others.
    groups = -(-300 // TOGETHER)
    assert len(queries) == 4 * groups
    assert sum(queries) == 2 * 300


def test_several_artifacts_of_each_task(wide, queries):
    assert all(task.data.x[1:] == task.data.y[1:] for task in wide["work"])
    groups = -(-300 // TOGETHER)
    assert len(queries) == 6 * groups


def test_tasks_that_were_kept_can_be_read_in_any_order(wide):
    tasks = list(wide["work"])
    assert [tasks[index].data.x for index in (7, 299, 3, 150)] == ["x292", "x0", "x296", "x149"]


def test_a_task_found_by_its_id_reads_only_its_own(wide, queries):
    assert [wide["work"][serial].data.x for serial in (1, 2, 3)] == ["x0", "x1", "x2"]
    assert queries == [1] * 6
