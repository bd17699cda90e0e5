"""What is imported where. Every module costs every run, or every worker, its time and memory.

A module that is missing in these lists isn't forbidden: it is to be weighed. Add it where it earns what it costs, or import it in the
function that needs it.
"""

import json
import os
import subprocess
import sys

import pytest

AT_IMPORT = {"asyncflow"}
"""Packages from outside the standard library that `import asyncflow` loads."""
IN_A_WORKER = AT_IMPORT | {"msgspec", "typing_extensions"}
"""…that a worker loads to run a step. The last by msgspec, where it is installed."""
IN_A_RUN = IN_A_WORKER
"""…that `asyncflow run` loads in the engine's process, when nobody watches: no typer, no rich, no structlog."""

SLOW_AT_IMPORT = {"asyncio", "logging", "sqlite3", "subprocess", "multiprocessing", "tempfile"}
SLOW_IN_A_WORKER = {"asyncio", "logging", "subprocess", "multiprocessing", "tempfile", "ssl", "email"}
"""Modules of the standard library that cost milliseconds, and that neither has any use for."""

PROBE = """
import json, sys
before = set(sys.modules)
{code}
print(json.dumps(sorted(set(sys.modules) - before)))
"""

RUN = """
import contextlib
from asyncflow.cli import main
with contextlib.suppress(SystemExit):
    main()
"""

FLOW = """
import sys
from asyncflow import FlowSpec, Parameter, step

class ImportsFlow(FlowSpec):
    alpha = Parameter("alpha", default=1)

    @step
    def start(self):
        self.items = [1, 2]
        self.next(self.each, foreach="items")

    @step
    def each(self):
        self.square = self.input ** 2
        self.next(self.join)

    @step
    def join(self, inputs):
        self.total = sum(each.square for each in inputs)
        print("MODULES", *sys.modules)
        self.next(self.end)

    @step
    def end(self):
        pass
"""


def third_party(modules: set[str]) -> set[str]:
    roots = {module.partition(".")[0] for module in modules}
    return {
        root for root in roots - sys.stdlib_module_names if not root.startswith(("_", "sitecustomize", "usercustomize"))
    }


def imported_by(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", PROBE.format(code=code)], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """The modules of the engine's process and those of a worker, of one `asyncflow run`."""
    place = tmp_path_factory.mktemp("imports")
    flow = place / "imports_flow.py"
    flow.write_text(FLOW)
    environment = os.environ | {"ASYNCFLOW_STORE": str(place / ".asyncflow")}
    code = f"sys.argv = ['asyncflow', 'run', {str(flow)!r}, '--no-pylint']\n" + RUN
    command = [sys.executable, "-c", PROBE.format(code=code)]
    done = subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True, check=True)
    *lines, engine = done.stdout.splitlines()
    (line,) = (line for line in lines if "MODULES" in line)
    return set(json.loads(engine)), set(line.partition("MODULES")[2].split())


def test_importing_the_package_is_nearly_free() -> None:
    modules = imported_by("import asyncflow")

    assert third_party(modules) <= AT_IMPORT
    assert not modules & SLOW_AT_IMPORT


def test_a_flow_file_needs_little() -> None:
    modules = imported_by("from asyncflow import FlowSpec, Parameter, current, step")

    assert third_party(modules) <= IN_A_WORKER
    assert not modules & SLOW_AT_IMPORT


def test_a_worker_starts_lean(one_run: tuple[set[str], set[str]]) -> None:
    _, worker = one_run

    assert third_party(worker) - {"imports_flow"} <= IN_A_WORKER
    assert not worker & SLOW_IN_A_WORKER


def test_a_run_loads_what_it_uses(one_run: tuple[set[str], set[str]]) -> None:
    engine, _ = one_run

    assert third_party(engine) - {"imports_flow"} <= IN_A_RUN
