"""Names that aren't UTF-8, or that the locale can't read: a sentence, or they work."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from cli_rig import TROUBLE, Asyncflow

POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ODD = os.fsdecode(b"odd\xff")

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="its file systems have only UTF-8")


@pytest.fixture
def asyncflow(tmp_path: Path) -> Asyncflow:
    return Asyncflow(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([f"{ODD}.py"], "The flow's file is"),
        (["fine.py", "--store", ODD], "The store is"),
        (["fine.py", "--namespace", ODD], "--namespace is 'odd\\udcff', which isn't valid UTF-8"),
    ],
)
def test_what_a_store_cannot_keep_is_a_usage_error(asyncflow: Asyncflow, words: list[str], said: str) -> None:
    for name in (f"{ODD}.py", "fine.py"):
        asyncflow.flow(TROUBLE.read_text(), name)
    words[0] += ":OneBadItemFlow"

    done = asyncflow("run", *words, "--bad", "-1", code=2)

    assert said in done.stderr
    assert not list(asyncflow.folder.glob(".asyncflow/asyncflow.db"))


def test_a_locale_that_cannot_read_a_name_is_said(asyncflow: Asyncflow) -> None:
    flow = asyncflow.flow(TROUBLE.read_text(), "flöw.py")

    done = asyncflow("run", f"{flow}:OneBadItemFlow", code=2, **POSIX)

    assert "Set LC_ALL=C.UTF-8 or PYTHONUTF8=1." in done.stderr


@pytest.mark.parametrize("words", [["logs", f"A/{ODD}"], ["list", ODD], ["list", "--tag", ODD]])
def test_what_no_store_has_is_a_usage_error(asyncflow: Asyncflow, words: list[str]) -> None:
    asyncflow("run", f"{TROUBLE}:OneBadItemFlow", "--bad", "-1")

    assert "isn't valid UTF-8" in asyncflow(*words, code=2).stderr
