"""Who can read a store's files: what the engine's umask says, whatever a step does to its own."""

from __future__ import annotations

import asyncio
import os

import pytest

from asyncflow.engine.runner import Engine
from asyncflow.errors import RunFailed
from flows.trouble import UmaskFlow


def readable_by_all(path):
    wanted = 0o755 if path.is_dir() else 0o644
    return path.stat().st_mode & 0o777 == wanted


@pytest.fixture
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("isolation", ["step", "task"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_steps_umask_is_not_that_of_the_store(tmp_path, usual_umask, isolation, fails):
    store = tmp_path / ".asyncflow"
    running = Engine(UmaskFlow, store=store, isolation=isolation, max_workers=1).run(fails=fails)
    if fails:
        with pytest.raises(RunFailed, match="after its umask"):
            asyncio.run(running)
    else:
        assert asyncio.run(running).data.seen == 0o777
    made = [store, *store.rglob("*")]
    assert [path for path in made if path.is_file() and path.parent.parent.name == "blobs"]
    assert [path for path in made if not readable_by_all(path)] == []
