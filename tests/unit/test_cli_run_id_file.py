"""Where the id of a run is written, whatever stands there already."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from asyncflow.cli.runidfile import RunIdFile
from asyncflow.errors import AsyncflowError, UsageError


def test_a_symlink_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far/id", tmp_path / "link"
    link.symlink_to(target)

    for text in ("17", "18"):
        with RunIdFile(str(link)) as file:
            file.write(text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert [each.name for each in target.parent.iterdir()] == ["id"]


def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    with RunIdFile(str(fifo)) as file:
        file.write("17")

    assert os.read(reader, 10) == b"17"
    assert os.read(reader, 10) == b""
    os.close(reader)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_pipe_without_a_reader_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(UsageError, match="nobody reads from it"):
        RunIdFile(str(tmp_path / "fifo"))


def test_a_reader_that_has_gone_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)

    with RunIdFile(str(tmp_path / "fifo")) as file:
        os.close(reader)
        with pytest.raises(AsyncflowError, match="Broken pipe"):
            file.write("17")


@pytest.mark.parametrize("path", ["", "/proc/x", "loop", ".", "missing/x", "x" * 300])
def test_what_cannot_be_written_is_refused_with_a_sentence(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")

    with pytest.raises(UsageError, match="--run-id-file: "):
        RunIdFile(path)


def test_without_a_run_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("old")

    with RunIdFile(str(tmp_path / "id")):
        pass

    assert (tmp_path / "id").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_stdout_goes_on_where_the_id_ended(tmp_path: Path) -> None:
    program = """
import os
from asyncflow.cli.runidfile import RunIdFile
with RunIdFile("/dev/stdout") as file:
    os.write(1, b"before ")
    file.write("17")
    os.write(1, b" after")
"""
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)

    assert (tmp_path / "out").read_text() == "before 17 after"
