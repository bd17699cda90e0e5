"""Flow classes from files, modules and pickles."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

from asyncflow import FlowSpec, step
from asyncflow.errors import FlowNotFound, UsageError
from asyncflow.events import FlowSource, SourceKind
from asyncflow.loader import find_flow, graph_of, load_flow, source_of
from flows.shapes import LinearFlow

FLOW = """
from asyncflow import FlowSpec, step

class {name}(FlowSpec):
    @step
    def start(self):
        self.next(self.end)
    @step
    def end(self):
        pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A directory for flow files; what they change of this process is put back."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]


def write(path, *texts):
    path.write_text("\n".join(dedent(text) for text in texts), encoding="utf-8")
    return str(path)


# -- find_flow -------------------------------------------------------------------------------------


def test_the_only_flow_of_a_file_is_found(folder):
    path = write(folder / "one_flow_file.py", FLOW.format(name="OneFlow"))
    found = find_flow(path)
    assert (found.__name__, found.__module__) == ("OneFlow", "one_flow_file")
    assert sys.modules["one_flow_file"].OneFlow is found
    assert sys.path[0] == str(folder)
    assert find_flow("one_flow_file.py") is found
    assert find_flow(path, "OneFlow") is found


def test_a_flow_file_may_import_its_neighbours_and_make_its_flow(folder):
    write(folder / "neighbour_of_flow.py", "WORD = 'near'")
    path = write(
        folder / "has_neighbour.py", "import neighbour_of_flow", FLOW.format(name="NearFlow"), "flow = NearFlow()"
    )
    assert find_flow(path).__name__ == "NearFlow"


def test_of_several_flows_one_must_be_named(folder):
    path = write(folder / "several_flows.py", FLOW.format(name="OneFlow"), FLOW.format(name="TwoFlow"))
    with pytest.raises(
        FlowNotFound, match=r"has several flows: OneFlow, TwoFlow. Name one, as in .*several_flows.py:OneFlow"
    ):
        find_flow(path)
    assert find_flow(path, "TwoFlow").__name__ == "TwoFlow"
    with pytest.raises(FlowNotFound, match=r"has no flow ThreeFlow. It has OneFlow, TwoFlow."):
        find_flow(path, "ThreeFlow")


def test_a_base_class_is_meant_only_when_it_is_named(folder):
    path = write(folder / "based_flows.py", FLOW.format(name="BaseFlow"), "class ChildFlow(BaseFlow): constant = 1")
    assert find_flow(path).__name__ == "ChildFlow"
    assert find_flow(path, "BaseFlow").__name__ == "BaseFlow"


def test_a_file_may_import_its_flow_from_another(folder):
    write(folder / "elsewhere_flow.py", FLOW.format(name="ElsewhereFlow"))
    path = write(folder / "importing_flow.py", "from elsewhere_flow import ElsewhereFlow")
    found = find_flow(path)
    assert found.__module__ == "elsewhere_flow"
    own = write(
        folder / "importing_and_own.py", "from elsewhere_flow import ElsewhereFlow", FLOW.format(name="OwnFlow")
    )
    assert find_flow(own).__name__ == "OwnFlow"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("nothing_here.py", "x = 1", "has no flow: no class in it is a subclass of asyncflow.FlowSpec"),
        ("only_import.py", "from asyncflow import FlowSpec", "has no flow"),
        ("text_file.txt", "no python", "is not a Python file"),
        ("json.py", "x = 1", "has the name of a module that is in use, that of .*Rename the file"),
    ],
)
def test_files_without_a_flow(folder, name, text, says):
    import json  # in use

    with pytest.raises(FlowNotFound, match=says):
        find_flow(write(folder / name, text))
    assert sys.modules["json"] is json


def test_a_file_that_is_not_there(folder):
    write(folder / "my_flow.py", "x = 1")
    with pytest.raises(FlowNotFound, match=r"There is no file my_flw.py. Did you mean my_flow.py\?"):
        find_flow("my_flw.py")
    with pytest.raises(FlowNotFound, match=r"There is no file nowhere/my_flow.py\.$"):
        find_flow("nowhere/my_flow.py")
    with pytest.raises(FlowNotFound, match="is a directory"):
        find_flow(str(folder))
    assert issubclass(FlowNotFound, UsageError)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("from asyncflow import retry", "ImportError"),
    ],
)
def test_a_file_that_does_not_import_shows_the_users_traceback(folder, text, says):
    path = write(folder / "broken_flow_file.py", text)
    with pytest.raises(FlowNotFound) as caught:
        find_flow(path)
    message = str(caught.value)
    assert message.startswith(f"{path} can't be imported:")
    assert says in message
    assert "broken_flow_file.py" in message
    assert "loader.py" not in message
    assert "importlib" not in message
    assert "broken_flow_file" not in sys.modules


def test_a_corrected_file_is_imported_anew(folder):
    path = write(folder / "corrected_flow.py", "1 / 0")
    with pytest.raises(FlowNotFound):
        find_flow(path)
    write(folder / "corrected_flow.py", FLOW.format(name="CorrectedFlow"))
    assert find_flow(path).__name__ == "CorrectedFlow"


def test_two_files_of_one_name_in_two_directories(folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
        write(folder / name / "same_name.py", FLOW.format(name=f"Flow{name.upper()}"))
    assert find_flow("a/same_name.py").__name__ == "FlowA"
    assert find_flow("b/same_name.py").__name__ == "FlowB"


# -- source_of and load_flow -----------------------------------------------------------------------


def test_a_class_of_a_package_is_found_under_its_name():
    source = source_of(LinearFlow)
    assert (source.kind, source.location, source.qualname) == (SourceKind.MODULE, "flows.shapes", "LinearFlow")
    assert load_flow(source) is LinearFlow


def test_a_class_of_a_file_is_found_in_the_file(folder):
    found = find_flow(write(folder / "filed_flow.py", FLOW.format(name="FiledFlow")))
    source = source_of(found)
    assert (source.kind, source.location, source.qualname) == (
        SourceKind.FILE,
        str(folder / "filed_flow.py"),
        "FiledFlow",
    )
    assert load_flow(source) is found


def test_a_class_that_a_function_made_travels_with_its_graph():
    factor = 3

    class LocalFlow(FlowSpec):
        @step
        def start(self):
            self.x = factor
            self.next(self.end)

        @step
        def end(self):
            pass

    source = source_of(LocalFlow)
    assert source.kind is SourceKind.PICKLE
    loaded = load_flow(source)
    assert loaded.__name__ == "LocalFlow"
    assert graph_of(loaded) == graph_of(LocalFlow)


def test_what_a_source_names_must_be_a_flow(folder):
    path = write(folder / "no_flow_at_all.py", "x = 1")
    with pytest.raises(FlowNotFound, match="has no flow x"):
        load_flow(FlowSource(SourceKind.FILE, path, "x"))
    with pytest.raises(FlowNotFound, match=r"has no flow Missing.Inner"):
        load_flow(FlowSource(SourceKind.MODULE, "flows.shapes", "Missing.Inner"))


PRINT_SOURCE = """
import sys
from asyncflow.loader import load_flow, source_of
if __name__ == "__main__":
    source = source_of(MainFlow)
    print(source.kind, source.location, load_flow(source) is MainFlow)
"""


def run(*arguments, **options):
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, **options)
    return done.stdout.split()


def test_a_class_of_a_script_is_found_in_its_file(folder):
    path = write(folder / "main_flow.py", FLOW.format(name="MainFlow"), PRINT_SOURCE)
    assert run(path) == ["file", path, "True"]
    assert run("main_flow.py", cwd=folder) == ["file", path, "True"]


def test_a_class_of_a_module_that_is_run_is_found_under_its_name(folder):
    package = folder / "packed"
    package.mkdir()
    write(package / "__init__.py", "")
    write(package / "main_flow.py", FLOW.format(name="MainFlow"), PRINT_SOURCE.replace("load_flow(source) is", "0 and"))
    assert run("-m", "packed.main_flow", cwd=folder)[:2] == ["module", "packed.main_flow"]


def test_a_class_without_a_file_travels_as_a_pickle(folder):
    path = write(folder / "code_of_flow.py", FLOW.format(name="MainFlow"))
    code = f"""
import linecache
from asyncflow.loader import load_flow, source_of, graph_of
text = open({path!r}).read()
linecache.cache["<cell>"] = (len(text), None, text.splitlines(True), "<cell>")
exec(compile(text, "<cell>", "exec"))
source = source_of(MainFlow)
print(source.kind, load_flow(source).__name__)
"""
    assert run("-c", code) == ["pickle", "MainFlow"]
    assert run("-", input=code) == ["pickle", "MainFlow"]
