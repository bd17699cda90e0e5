"""The commands that look at what has been run: list, logs, dump, tag, verify, show, output-dot, version."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_rig import PATIENCE, TROUBLE, Asyncflow, Inside, until

FLOW = """
import sys
from asyncflow import FlowSpec, step


class Point:
    def __repr__(self):
        return "a point"


class DataFlow(FlowSpec):
    '''Makes some data.'''

    version = 3

    @step
    def start(self):
        '''Begins.'''
        self.items = [1, 2, 3]
        self.point = Point()
        self.big = "x" * 50_000
        self._hidden = 1
        print("to stdout")
        print("to stderr", file=sys.stderr)
        self.next(self.square, foreach="items")

    @step
    def square(self):
        self.result = self.input ** 2
        print("squared", self.input)
        self.next(self.join)

    @step
    def join(self, inputs):
        self.total = sum(each.result for each in inputs)
        self.next(self.end)

    @step
    def end(self):
        pass
"""


@pytest.fixture(scope="module")
def asyncflow(tmp_path_factory: pytest.TempPathFactory) -> Asyncflow:
    """One in whose store a run has succeeded and one has failed."""
    made = Asyncflow(tmp_path_factory.mktemp("reading"))
    made("run", made.flow(FLOW, "data_flow.py"), "--tag", "first", "--quiet")
    made("run", f"{TROUBLE}:OneBadItemFlow", "--quiet", code=1)
    return made


@pytest.fixture
def look(asyncflow: Asyncflow, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Inside:
    return Inside(asyncflow, capfd, monkeypatch)


@pytest.fixture(scope="module")
def run(asyncflow: Asyncflow) -> str:
    return asyncflow("list", "DataFlow").stdout.splitlines()[1].split()[0]


# -- list ----------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(look: Inside) -> None:
    head, newest, oldest = look("list").stdout.splitlines()

    assert head.split() == ["RUN", "STATE", "STARTED", "TOOK", "USER", "TAGS"]
    assert re.match(r"OneBadItemFlow/\d+ +failed ", newest)
    assert re.match(r"DataFlow/\d+ +succeeded ", oldest)
    assert oldest.split()[-2:] == ["ann", "first"]


def test_a_list_can_be_narrowed(look: Inside) -> None:
    assert len(look("list", "DataFlow").stdout.splitlines()) == 2
    assert len(look("list", "runs", "DataFlow").stdout.splitlines()) == 2
    assert len(look("list", "--tag", "first").stdout.splitlines()) == 2
    assert len(look("list", "--tag", "user:ann").stdout.splitlines()) == 3
    assert "no runs of NoFlow" in look("list", "NoFlow").stderr
    limited = look("list", "--limit", "1")
    assert len(limited.stdout.splitlines()) == 2
    assert "--limit 0" in limited.stderr


def test_the_options_of_every_command_have_variables(look: Inside) -> None:
    assert len(look("list", ASYNCFLOW_LIMIT="1").stdout.splitlines()) == 2
    assert len(look("list", "--limit=5", ASYNCFLOW_LIMIT="1").stdout.splitlines()) == 3
    assert len(look("list", ASYNCFLOW_TAG="user:ann, first").stdout.splitlines()) == 2
    assert look("list", ASYNCFLOW_JSON="yes").stdout == look("list", "--json").stdout
    assert look("list", ASYNCFLOW_JSON="no").stdout == look("list").stdout
    assert "must be true or false" in look("list", ASYNCFLOW_JSON="perhaps", code=2).stderr


def test_a_list_as_json(look: Inside, run: str) -> None:
    newest, oldest = (json.loads(line) for line in look("list", "--json").stdout.splitlines())

    assert (oldest["run"], oldest["state"], oldest["tags"]) == (run, "succeeded", ["first"])
    assert newest["first_failed_task"].startswith("work/")
    assert newest["first_failure"] == "ValueError: item 2 is bad"
    assert look("--json", "list").stdout == look("list", "--json").stdout


def test_a_store_that_is_not_there_is_said(look: Inside, tmp_path: Path) -> None:
    assert "no store" in look("list", "--store", tmp_path / "none", code=1).stderr
    assert "no run has been started" in look("--store", tmp_path, "list", code=1).stderr
    assert "no run has been started" in look("list", ASYNCFLOW_STORE=str(tmp_path), code=1).stderr


# -- logs ----------------------------------------------------------------------------------------------


def test_logs_of_a_task(look: Inside, run: str) -> None:
    task = f"{run}/start/1"

    assert sorted(look("logs", task).stdout.splitlines()) == ["to stderr", "to stdout"]
    assert look("logs", task, "--stderr").stdout == "to stderr\n"
    assert look("logs", task, "--stdout").stdout == "to stdout\n"
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} to stdout\n",
        look("logs", task, "--stdout", "--timestamps").stdout,
    )


def test_logs_of_a_step_and_of_a_run_name_the_tasks(look: Inside, run: str) -> None:
    of_step = look("logs", f"{run}/square").stdout.splitlines()
    of_run = look("logs", run, "--stdout").stdout.splitlines()

    assert of_step == ["[square/2] squared 1", "[square/3] squared 2", "[square/4] squared 3"]
    assert of_run == ["[start/1] to stdout", *of_step]


def test_the_flows_name_may_be_left_out(look: Inside, run: str) -> None:
    assert look("logs", run.partition("/")[2]).stdout == look("logs", run).stdout


@pytest.mark.parametrize(
    ("pathspec", "code", "said"),
    [
        ("DataFlow", 2, "is none of Flow/run"),
        ("DataFlow/1/start/1/x", 2, "is none of"),
        ("DataFlow/1", 1, "There is no run DataFlow/1"),
        ("RUN/nostep", 1, "no task of a step 'nostep'"),
        ("RUN/start/99", 1, "no task start/99"),
        ("RUN/start/one", 2, "a task's id is a number"),
    ],
)
def test_a_wrong_pathspec_is_said(look: Inside, run: str, pathspec: str, code: int, said: str) -> None:
    assert said in look("logs", pathspec.replace("RUN", run), code=code).stderr


def test_following_ends_with_the_run(asyncflow: Asyncflow, tmp_path: Path) -> None:
    flow = asyncflow.flow(
        """
import pathlib, time
from asyncflow import FlowSpec, Parameter, step

class SlowFlow(FlowSpec):
    folder = Parameter("folder")

    @step
    def start(self):
        print("one", flush=True)
        while not (pathlib.Path(self.folder) / "go").exists():
            time.sleep(0.01)
        print("two", flush=True)
        self.next(self.end)

    @step
    def end(self):
        print("three")
""",
        "slow_flow.py",
    )
    run = asyncflow.start("run", flow, "--folder", tmp_path, "--run-id-file", tmp_path / "id", "--quiet")
    until((tmp_path / "id").exists, "the run has begun")
    run_id = (tmp_path / "id").read_text()
    follower = asyncflow.start("logs", run_id, "--follow")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "[start/1] one\n"

    (tmp_path / "go").touch()
    rest, said = follower.communicate(timeout=PATIENCE)
    run.communicate(timeout=PATIENCE)

    assert rest.splitlines() == ["[start/1] two", "[end/2] three"]
    assert (follower.returncode, run.returncode, said) == (0, 0, "")


# -- dump ----------------------------------------------------------------------------------------------


def test_artifacts_are_shown_by_name(look: Inside, run: str) -> None:
    lines = look("dump", f"{run}/start/1").stdout.splitlines()

    assert lines[0] == f"{run}/start/1 (succeeded)"
    assert "  items = [1, 2, 3]" in lines
    assert "  point = a point" in lines
    assert "  version = 3" in lines
    assert any(re.match(r"  big = <50 kB; --max-value-size \d+ shows it>", line) for line in lines)
    assert not [line for line in lines if "hidden" in line or "[]" in line]


def test_what_is_dumped_can_be_chosen(look: Inside, run: str) -> None:
    some = look("dump", f"{run}/start/1", "--include", "items,_hidden").stdout.splitlines()
    assert some[1:] == ["  _hidden = 1", "  items = [1, 2, 3]"]
    assert "x" * 100 in look("dump", f"{run}/start/1", "--max-value-size", "100000").stdout
    assert "_hidden = 1" in look("dump", f"{run}/start/1", "--private").stdout
    assert "x" * 100 in look("dump", f"{run}/start/1/big").stdout
    assert "no artifact nothing" in look("dump", run, "--include", "nothing", code=1).stderr
    assert "no artifact" in look("dump", f"{run}/start/1/nothing", code=1).stderr


def test_a_step_and_a_run_are_dumped_task_by_task(look: Inside, run: str) -> None:
    squares = look("dump", f"{run}/square", "--include", "result").stdout
    assert re.findall(r"result = (\d)", squares) == ["1", "4", "9"]
    assert "total = 14" in look("dump", run).stdout


def test_artifacts_go_to_a_file(look: Inside, run: str, tmp_path: Path) -> None:
    said = look("dump", f"{run}/square", "--include", "result,big", "--file", tmp_path / "values").stderr

    values = pickle.loads((tmp_path / "values").read_bytes())
    assert said.startswith("6 artifacts of 3 tasks written")
    assert [each["result"] for each in values.values()] == [1, 4, 9]
    assert set(values) == {f"{run}/square/{serial}" for serial in (2, 3, 4)}
    assert "can't be written" in look("dump", run, "--file", "/nowhere/x", code=2).stderr


def test_the_artifacts_of_a_failed_task_are_there(look: Inside) -> None:
    failed = json.loads(look("list", "OneBadItemFlow", "--json").stdout)

    shown = look("dump", f"{failed['run']}/{failed['first_failed_task']}").stdout
    assert "(failed)" in shown
    assert "item = 2" in shown


# -- tag -----------------------------------------------------------------------------------------------


def test_tags_come_and_go(look: Inside) -> None:
    run = look("list", "OneBadItemFlow").stdout.splitlines()[1].split()[0]

    def tags() -> list[str]:
        return look("tag", "list", run, "--hide-system-tags").stdout.splitlines()

    look("tag", "add", run, "good", "naïve ☃")
    assert tags() == ["good", "naïve ☃"]
    look("tag", "replace", run, "good", "better")
    assert tags() == ["better", "naïve ☃"]
    look("tag", "replace", "--run-id", run, "--remove", "better", "--add", "best", "--add", "x")
    assert tags() == ["best", "naïve ☃", "x"]
    look("tag", "remove", run.partition("/")[2], "best", "naïve ☃", "x")
    assert tags() == []
    assert "user:ann" in look("tag", "list", run).stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["add"], 2, "Name a run"),
        (["add", "RUN"], 2, "at least one tag"),
        (["add", "RUN", ""], 1, "empty"),
        (["remove", "RUN", "user:ann"], 1, "user:ann"),
        (["replace", "RUN", "one"], 2, "one old and one new tag"),
        (["list", "RUN", "more"], 2, "Unexpected 'more'"),
        (["add", "DataFlow/1", "x"], 1, "There is no run"),
        (["ad", "RUN", "x"], 2, "No such command 'ad'"),
    ],
)
def test_wrong_tags_are_said(look: Inside, run: str, words: list[str], code: int, said: str) -> None:
    assert said in look("tag", *(run if word == "RUN" else word for word in words), code=code).stderr


# -- the others ----------------------------------------------------------------------------------------


def test_a_sound_store_and_a_damaged_one(tmp_path: Path) -> None:
    asyncflow = Asyncflow(tmp_path)
    asyncflow("run", asyncflow.flow(FLOW), "--quiet")
    assert "is sound" in asyncflow("verify").stdout

    (blob,) = [path for path in tmp_path.glob(".asyncflow/blobs/*/*") if path.is_file()]
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)

    said = asyncflow("verify", code=1).stdout
    assert blob.name in said
    assert "start/1/big" in said
    assert "problem" in said.splitlines()[-1]


def test_a_flow_can_be_looked_at_without_running(look: Inside) -> None:
    shown = look("show", "data_flow.py").stdout
    assert "Makes some data." in shown
    assert "Begins." in shown
    assert look("output-dot", "data_flow.py").stdout.startswith("digraph")
    assert "sound" in look("check", "data_flow.py").stdout
    assert "Name the file" in look("check", code=2).stderr


def test_the_version_is_told(look: Inside) -> None:
    assert look("version").stdout.startswith("asyncflow ")
    assert look("--version").stdout == look("version").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lits"], "There is no command 'lits'. Did you mean list?"),
        (["list", "--frobnicate"], "No such option"),
        (["--frobnicate", "list"], "There is no option --frobnicate"),
        (["logs"], "Name what to look at"),
        (["dump"], "Name what to look at"),
        (["tag", "ad"], "`asyncflow tag --help` says more."),
        (["run"], "Name the file of a flow"),
        (["list", "--limit", "x"], "--limit"),
        (["list", "--limit", "9" * 23], "--limit must be from 0 to 1,000,000"),
        (["list", "--limit", "-1"], "--limit must be from 0 to 1,000,000"),
        (["list", "A", "B"], "Unexpected 'B'"),
    ],
)
def test_a_wrong_command_is_a_sentence(look: Inside, words: list[str], said: str) -> None:
    done = look(*words, code=2)

    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_is_for_the_asking(look: Inside) -> None:
    for words in ([], ["--help"], ["-h"]):
        shown = look(*words).stdout
        assert all(command in shown for command in ("run", "check", "list", "logs", "dump", "tag", "verify", "version"))
    assert "--follow" in look("logs", "--help").stdout
    assert look("tag").stdout == look("tag", "--help").stdout


def test_the_installed_command_is_the_same(asyncflow: Asyncflow) -> None:
    program = Path(sys.executable).with_name("asyncflow")
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=True)

    assert done.stdout == asyncflow("version").stdout
