"""What the documentation says can be followed: links lead somewhere, numbers come from a measurement, commands run in CI."""

import ast
import importlib
import importlib.util
import json
import re
import textwrap
import zlib
from pathlib import Path

import pytest

from asyncflow.graph import FlowGraph
from asyncflow.lint import ensure_valid
from asyncflow.loader import find_flow

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


SNIPPETS = [
    pytest.param(textwrap.dedent(code), id=f"{page.relative_to(ROOT).as_posix()}-{number}")
    for page in PAGES
    for number, code in enumerate(re.findall(r"(?s)```python\n(.*?)```", page.read_text()), 1)
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_code_in_the_documentation_is_python(code: str) -> None:
    compile(code, "snippet", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("code", [each for each in SNIPPETS if "(FlowSpec)" in str(each.values[0])])
def test_flows_in_the_documentation_pass_the_checks(code: str, tmp_path: Path) -> None:
    file = tmp_path / f"flow_{zlib.crc32(code.encode())}.py"
    if "def end(" not in code:
        code += "\n    @step\n    def start(self):\n        self.next(self.end)\n\n    @step\n    def end(self): pass\n"
    file.write_text(code)

    ensure_valid(FlowGraph.of(find_flow(str(file))))
