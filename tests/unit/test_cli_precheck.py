"""The linter beside a run: what it finds, what it leaves alone, what it remembers."""

import os
import stat
import sys
from pathlib import Path

import pytest

from asyncflow.cli import precheck
from asyncflow.cli.precheck import Precheck

GOOD = "def f(x):\n    return x\n"
BAD = "def f(x):\n    return y\n"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / ".asyncflow").mkdir()
    return tmp_path / ".asyncflow"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a flow.py"


def problems(file: Path, store: Path) -> list[str]:
    return Precheck(str(file), store).start().problems()


def marks(store: Path) -> list[Path]:
    return list((store / "checks").iterdir()) if (store / "checks").exists() else []


def test_an_undefined_name_is_found_with_its_line(file: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(BAD)

    monkeypatch.chdir(file.parent)

    assert problems(file, store) == [f"{file}:2: Undefined name `y` [F821]"]
    assert not marks(store)


def test_a_file_in_another_encoding_is_for_python_to_read(file: Path, store: Path) -> None:
    file.write_bytes("# coding: latin-1\nname = 'é'\n".encode("latin-1"))

    assert problems(file, store) == []


@pytest.mark.parametrize(
    "fine",
    [
        GOOD,
        "import os, sys\nx = 1;y = 2\nif x is 1: pass\n",  # ugly, and certain to run
        "from typing import Annotated\nx: Annotated[int, 'b c']\n",
        "from nowhere import *\nprint(anything)\n",
        "undefined  # noqa: F821\n",
    ],
)
@pytest.mark.filterwarnings("ignore:.*is.* with .*literal:SyntaxWarning")
def test_only_what_is_certain_to_go_wrong_counts(fine: str, file: Path, store: Path) -> None:
    file.write_text(fine)

    assert problems(file, store) == []


def test_the_users_own_configuration_is_left_alone(file: Path, store: Path) -> None:
    (file.parent / "ruff.toml").write_text("[lint]\nselect = ['ALL']\n")
    file.write_text(GOOD)

    assert problems(file, store) == []


def test_a_good_file_is_looked_at_once(file: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(GOOD)
    assert problems(file, store) == []
    assert len(marks(store)) == 1

    monkeypatch.setattr("subprocess.Popen", None)  # would raise if it were called
    assert problems(file, store) == []


def test_a_changed_file_is_looked_at_again(file: Path, store: Path) -> None:
    file.write_text(GOOD)
    assert problems(file, store) == []

    file.write_text(BAD)
    assert len(problems(file, store)) == 1

    file.write_text(GOOD + "# more\n")
    assert problems(file, store) == []
    assert len(marks(store)) == 1


def test_without_a_store_nothing_is_made(file: Path, tmp_path: Path) -> None:
    file.write_text(GOOD)

    assert problems(file, tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is searched for linters."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    python = folder / "python"
    os.symlink(sys.executable, python)
    monkeypatch.setattr(precheck.sys, "executable", str(python))
    return folder


def test_where_no_linter_is_installed_nothing_is_said(file: Path, store: Path, only: Path) -> None:
    file.write_text(BAD)
    check = Precheck(str(file), store).start()

    assert check.problems() == []
    assert check.tool is None
    assert not marks(store)


def test_a_linter_that_fails_finds_nothing_and_is_asked_again(file: Path, store: Path, only: Path) -> None:
    file.write_text(GOOD)
    program(only, "ruff", "import sys; print('error: unknown option', file=sys.stderr); sys.exit(2)")

    assert problems(file, store) == []
    assert not marks(store)


def test_pylint_is_the_second_choice(file: Path, store: Path, only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (only / "pylint").mkdir()
    (only / "pylint/__init__.py").touch()
    (only / "pylint/__main__.py").write_text(
        "import sys; print(sys.argv[-1] + ':2: Undefined variable y [E0602]'); sys.exit(2)"
    )
    monkeypatch.syspath_prepend(str(only))
    monkeypatch.setenv("PYTHONPATH", str(only))
    file.write_text(BAD)

    check = Precheck(str(file), store).start()
    assert check.problems() == [f"{file}:2: Undefined variable y [E0602]"]
    assert check.tool == "pylint"


def test_an_abandoned_linter_is_ended(file: Path, store: Path, only: Path) -> None:
    file.write_text(GOOD)
    program(only, "ruff", "import time; time.sleep(1000)")
    check = Precheck(str(file), store).start()
    process = check._process
    assert process is not None

    check.abandon()
    assert process.returncode is not None
