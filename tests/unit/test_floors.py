"""The floors contract in pyproject.toml covers the whole package: a new module can't stand outside the house."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The package itself and its version, and modules that only offer others' names under a second address.
DOORS = {"asyncflow", "asyncflow._version", "asyncflow.__main__", "asyncflow.engine", "asyncflow.exception"}


def modules() -> set[str]:
    source = ROOT / "src"
    found = set()
    for path in source.rglob("*.py"):
        parts = path.relative_to(source).with_suffix("").parts
        found.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def floors() -> set[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["id"] == "floors")
    return {name.strip(" ()") for layer in layers for part in layer.split("|") for name in part.split(":")}


def test_every_module_stands_on_a_floor() -> None:
    homeless = {
        module
        for module in modules() - DOORS
        if not any(module == floor or module.startswith(f"{floor}.") for floor in floors())
    }

    assert not homeless, f"add them to the layers in pyproject.toml: {sorted(homeless)}"


def test_every_floor_exists() -> None:
    assert floors() <= modules()
