"""What the documentation says can be followed: links lead somewhere, numbers come from a measurement, commands run in CI."""

import importlib
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]

    assert not missing


def test_readme_shows_what_was_measured() -> None:
    spec = importlib.util.spec_from_file_location("report", ROOT / "benchmarks/report.py")
    assert spec is not None
    assert spec.loader is not None
    report = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(report)
    measured = json.loads(report.MEASURED.read_text())

    shown = report.README.read_text().split(report.BEGIN)[1].split(report.END)[0]

    assert shown.strip() == report.markdown(measured)


def test_readme_has_the_two_commands_that_ci_runs() -> None:
    commands = re.findall(r"<!-- command: (\w+) -->\n```sh\n(.+)\n```", (ROOT / "README.md").read_text())

    assert [name for name, _ in commands] == ["flights", "tests"]
    assert all(command.startswith("scripts/setup") for _, command in commands)


def test_the_journey_names_what_exists() -> None:
    names = set(re.findall(r"`([a-z]+(?:\.\w+)+)`", (ROOT / "docs/journey.md").read_text()))
    names = {name for name in names if name.split(".")[0] not in {"self", "root"}}  # those of the example
    missing = [name for name in names if not exists(name)]

    assert len(names) > 20
    assert not missing


def exists(name: str) -> bool:
    """Whether `asyncflow.NAME` is a module or something in one."""
    parts = ["asyncflow", *name.split(".")]
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        try:
            for part in parts[length:]:
                found = getattr(found, part)
        except AttributeError:
            return False
        return True
    return False


def test_adr_index_lists_every_decision() -> None:
    index = (ROOT / "docs/adr/README.md").read_text()
    pages = {path.name for path in (ROOT / "docs/adr").glob("[0-9]*.md")}

    assert pages == set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", index))
