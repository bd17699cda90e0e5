"""``asyncflow run`` and ``python flow.py run``, in processes without a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_rig import PATIENCE, TROUBLE, Asyncflow, until

GREET = """
import os, sys
from asyncflow import FlowSpec, JSONType, Parameter, current, step


class GreetFlow(FlowSpec):
    '''Greets somebody, several times.'''

    whom = Parameter("name", default="world", help="Who is [bold] greeted")
    times = Parameter("times", default=1, help="How often")
    loud = Parameter("loud", default=False)
    extras = Parameter("extras", type=JSONType)

    @step
    def start(self):
        for _ in range(self.times):
            print(f"  Hello, {self.whom}{'!' if self.loud else '.'} {self.extras}")
        print("to stderr", file=sys.stderr)
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    GreetFlow()
"""
STAMP = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d\d\d"


@pytest.fixture
def asyncflow(tmp_path: Path) -> Asyncflow:
    return Asyncflow(tmp_path)


@pytest.fixture
def greet(asyncflow: Asyncflow) -> Path:
    return asyncflow.flow(GREET)


def on_its_own(asyncflow: Asyncflow, flow: Path, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    return asyncflow.execute([sys.executable, str(flow), *map(str, words)], code=code)


def outputs(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the steps printed."""
    return [
        line.partition("] ")[2]
        for line in done.stdout.splitlines()
        if not re.search(r"\] Task (started|succeeded)", line)
    ]


# -- what a run looks like -----------------------------------------------------------------------------


def test_task_lines_go_to_stdout_and_the_rest_to_stderr(asyncflow: Asyncflow, greet: Path) -> None:
    done = asyncflow("run", greet)
    run = asyncflow.last_run().partition("/")[2]

    lines = done.stdout.splitlines()
    assert all(re.match(rf"{STAMP} \[{run}/(start/1|end/2) \(pid \d+\)\] ", line) for line in lines)
    assert {line.partition("] ")[2].split(" in ")[0] for line in lines} == {
        "Task started.", "  Hello, world. None", "to stderr", "Task succeeded",
    }  # fmt: skip
    assert f"GreetFlow/{run}" in done.stderr
    assert "succeeded" in done.stderr


def test_a_flow_file_is_its_own_command_line(asyncflow: Asyncflow, greet: Path) -> None:
    assert "  Hello, Ada! None" in outputs(on_its_own(asyncflow, greet, "run", "--name", "Ada", "--loud", "true"))
    assert "GreetFlow" in on_its_own(asyncflow, greet, "list").stdout
    assert "start" in on_its_own(asyncflow, greet, "show").stdout
    assert on_its_own(asyncflow, greet, "check").returncode == 0
    run_id = asyncflow.last_run().partition("/")[2]
    assert "to stderr" in on_its_own(asyncflow, greet, "logs", f"{run_id}/start/1", "--stderr").stdout
    help_text = on_its_own(asyncflow, greet).stdout
    assert "Greets somebody" in help_text
    assert "python flow.py" in help_text


@pytest.mark.parametrize(
    "words",
    [
        ["--quiet", "--no-pylint", "--datastore", "local", "run", "--name", "Ada"],
        ["run", "--name", "Ada", "--quiet", "--no-pylint", "--metadata=local"],
    ],
)
def test_top_options_stand_before_or_after_the_command(asyncflow: Asyncflow, greet: Path, words: list[str]) -> None:
    done = on_its_own(asyncflow, greet, *words)

    assert sorted(outputs(done)) == ["  Hello, Ada. None", "to stderr"]
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_options_stand_before_the_flow_too(asyncflow: Asyncflow, greet: Path) -> None:
    done = asyncflow("run", "--quiet", "--name", "Ada", "--max-workers=1", greet)

    assert "  Hello, Ada. None" in outputs(done)


def test_output_is_kept_as_it_was(asyncflow: Asyncflow) -> None:
    flow = asyncflow.flow("""
import os
from asyncflow import FlowSpec, step

class OutputFlow(FlowSpec):
    @step
    def start(self):
        os.write(1, b"  [red]blanks[/red] \\x1b[31mred\\x1b[0m\\n")
        os.write(1, b"bad \\xff\\xfe utf-8, \\x1b[2J\\x1b[Hcleared, \\x07\\n")
        self.next(self.end)

    @step
    def end(self):
        pass
""")
    said = outputs(asyncflow("run", flow))

    assert "  [red]blanks[/red] \x1b[31mred\x1b[0m" in said
    assert "bad \ufffd\ufffd utf-8, cleared, \u2407" in said
    raw = subprocess.run(
        asyncflow.command("logs", f"{asyncflow.last_run()}/start/1"), cwd=asyncflow.folder, env=asyncflow.environment,
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert b"bad \xff\xfe utf-8, \x1b[2J\x1b[Hcleared, \x07\n" in raw


WIDE = """
from asyncflow import FlowSpec, step

class WideFlow(FlowSpec):
    @step
    def start(self):
        self.items = list(range(150))
        self.next(self.work, foreach="items")

    @step
    def work(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass
"""


def test_a_wide_step_has_summaries(asyncflow: Asyncflow) -> None:
    done = asyncflow("run", asyncflow.flow(WIDE))
    run = asyncflow.last_run().partition("/")[2]

    lines = [line for line in done.stdout.splitlines() if f"[{run}/work" in line]
    assert "150 of 150 done" in lines[-1]
    assert len(lines) < 20
    assert "153 tasks" in done.stderr


# -- parameters and options ------------------------------------------------------------------------------


def test_parameters_have_their_types(asyncflow: Asyncflow, greet: Path) -> None:
    said = outputs(asyncflow("run", greet, "--times", "2", "--loud", "yes", "--extras", '{"a": [1]}', "--name", "-x-"))

    assert said.count("  Hello, -x-! {'a': [1]}") == 2


def test_parameters_and_options_come_from_the_environment(asyncflow: Asyncflow, greet: Path) -> None:
    done = asyncflow(
        "run", greet, "--times", "1",
        ASYNCFLOW_RUN_NAME="Eve", ASYNCFLOW_RUN_TIMES="7", ASYNCFLOW_QUIET="1", ASYNCFLOW_TAG="x,y",
    )  # fmt: skip

    assert outputs(done).count("  Hello, Eve. None") == 1
    assert done.stderr == ""
    tags = asyncflow("tag", "list", asyncflow.last_run()).stdout.splitlines()
    assert {"x", "y", "user:ann"} <= set(tags)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--times", "many"], "'times' takes an integer"),
        (["--nmae", "x"], "There is no option --nmae. Did you mean --name?"),
        (["--name"], "Option --name needs a value."),
        (["--extras", "{broken"], "'extras'"),
        (["stray"], "Unexpected 'stray'"),
        (["--executor", "nowhere"], "no executor"),
        (["--isolation", "none"], "--isolation is 'none'"),
        (["--max-workers", "0"], "--max-workers is '0'"),
        (["--max-workers", "9" * 20], "from 1 to 1,000,000"),
        (["--max-workers", "9" * 5000], "from 1 to 1,000,000"),
        (["--run-id-file", "/nowhere/x"], "there is no folder /nowhere"),
        (["--with", "retry"], "There is no option --with."),
    ],
)
def test_a_usage_error_is_a_sentence(asyncflow: Asyncflow, greet: Path, words: list[str], said: str) -> None:
    done = asyncflow("run", greet, *words, code=2)

    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(asyncflow.folder.glob(".asyncflow/asyncflow.db"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "There is no file flow.py"),
        ("x = 1", "has no flow"),
        (GREET + "\nclass OtherFlow(FlowSpec): pass\n", "flow.py:GreetFlow"),
        ("def broken(:\n", "SyntaxError"),
    ],
)
def test_a_file_without_one_flow_is_a_usage_error(asyncflow: Asyncflow, source: str | None, said: str) -> None:
    if source is not None:
        asyncflow.flow(source)

    assert said in asyncflow("run", "flow.py", "--no-pylint", code=2).stderr


def test_a_missing_value_is_a_usage_error_and_a_wrong_definition_a_failure(asyncflow: Asyncflow, greet: Path) -> None:
    said = asyncflow("run", f"{TROUBLE}:WaitingFlow", code=2).stderr
    assert "--folder" in said

    greet.write_text(GREET.replace('Parameter("times", default=1', 'Parameter("times", default=1, type=dict'))
    said = asyncflow("run", greet, code=1).stderr
    assert "'times'" in said
    assert "Traceback" not in said


def test_an_import_that_fails_shows_the_files_own_frames(asyncflow: Asyncflow) -> None:
    asyncflow.flow("from mine import flow\n")
    asyncflow.flow("def inner():\n    raise RuntimeError('not today')\ninner()\n", "mine.py")

    said = asyncflow("run", "flow.py", code=2).stderr
    assert "RuntimeError: not today" in said
    assert "mine.py" in said
    assert "asyncflow/loader.py" not in said
    assert "importlib" not in said


def test_help_lists_the_flows_parameters(asyncflow: Asyncflow, greet: Path) -> None:
    for done in (asyncflow("run", greet, "--help"), on_its_own(asyncflow, greet, "run", "--help")):
        shown = " ".join(done.stdout.split())
        assert "--name TEXT Who is [bold] greeted [default: world]" in shown
        assert "--times INTEGER How often [default: 1]" in shown
        assert "--loud BOOLEAN [default: False]" in shown
        assert "--extras JSON" in shown
        assert "--max-workers N" in shown
    assert "--name TEXT" not in asyncflow("run", "--help").stdout


SHADOWS = """
from asyncflow import FlowSpec, Parameter, step

class ShadowFlow(FlowSpec):
    json = Parameter("json", default="none")
    store = Parameter("store", default="none")

    @step
    def start(self):
        print(f"json={self.json} store={self.store}")
        self.next(self.end)

    @step
    def end(self):
        pass
"""


def test_a_flows_parameter_takes_the_name_of_an_option(asyncflow: Asyncflow) -> None:
    flow = asyncflow.flow(SHADOWS)

    assert "json=1 store=here" in outputs(asyncflow("run", flow, "--json", "1", "--store", "here"))
    assert (asyncflow.folder / ".asyncflow").is_dir()

    done = asyncflow("--json", "--store", "elsewhere", "run", flow, "--json", "2")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert "json=2 store=none" in [event.get("line") for event in events]
    assert (asyncflow.folder / "elsewhere").is_dir()

    shown = asyncflow("run", flow, "--help").stdout
    assert "stands before the command" in shown
    assert "--json TEXT" in shown


def test_json_is_one_event_a_line(asyncflow: Asyncflow, greet: Path) -> None:
    done = asyncflow("run", greet, "--json")

    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "RunStarted"
    assert kinds[-1] == "RunFinished"
    assert kinds.count("TaskSucceeded") == 2
    assert {event["run"] for event in events} == {asyncflow.last_run()}
    (line,) = [event for event in events if event["type"] == "TaskLog" and event["stream"] == "stderr"]
    assert line["line"] == "to stderr"
    assert done.stderr == ""


def test_what_the_flow_prints_when_imported_is_not_between_the_json(asyncflow: Asyncflow) -> None:
    flow = asyncflow.flow("print('imported')\n" + GREET)

    for words, variables in ((["--json"], {}), ([], {"ASYNCFLOW_JSON": "1"})):
        done = asyncflow("run", flow, *words, **variables)
        assert all(json.loads(line)["type"] for line in done.stdout.splitlines())
        assert "imported" in done.stderr


def test_a_pipe_is_no_flow_file(asyncflow: Asyncflow) -> None:
    os.mkfifo(asyncflow.folder / "flow.py")

    assert "flow.py is a pipe or a device, not a regular file." in asyncflow("run", "flow.py", code=2).stderr


def test_the_run_id_is_in_its_file_before_the_first_task(asyncflow: Asyncflow) -> None:
    flow = asyncflow.flow("""
from asyncflow import FlowSpec, current, step

class IdFlow(FlowSpec):
    @step
    def start(self):
        print(open("id.txt").read() == current.run_id)
        self.next(self.end)

    @step
    def end(self):
        pass
""")
    assert "True" in outputs(asyncflow("run", flow, "--run-id-file", "id.txt"))
    assert asyncflow.last_run() == f"IdFlow/{(asyncflow.folder / 'id.txt').read_text()}"
    assert [path.name for path in asyncflow.folder.glob("id.txt*")] == ["id.txt"]


def test_tags_and_namespace_are_the_runs(asyncflow: Asyncflow, greet: Path) -> None:
    flow = asyncflow.flow(GREET.replace('print("to stderr"', "print(current.namespace, sorted(current.tags)"))

    said = outputs(asyncflow("run", flow, "--tag", "b", "--tag=a", "--namespace", "team"))
    assert any("team" in line and "'a', 'b'" in line for line in said)


# -- failures ------------------------------------------------------------------------------------------


def test_a_failed_step_shows_its_own_traceback(asyncflow: Asyncflow) -> None:
    done = asyncflow("run", f"{TROUBLE}:OneBadItemFlow", code=1)

    said = done.stderr
    run = asyncflow.last_run()
    assert f"Task {run}/work/" in said
    assert "ValueError: item 2 is bad" in said
    assert "in go_wrong" in said
    assert "asyncflow/worker" not in said
    assert f"Run {run} failed" in said
    assert asyncflow.last_state() == "failed"
    hint = re.search(r"asyncflow (logs \S+ --stderr)", said)
    assert hint is not None
    asyncflow(*hint[1].split())


def test_a_dead_worker_names_its_signal(asyncflow: Asyncflow) -> None:
    done = asyncflow("run", f"{TROUBLE}:OneBadItemFlow", "--way", "kill", code=1)

    assert "SIGKILL" in done.stderr
    assert "its process died" in done.stderr


def test_others_go_on_when_asked(asyncflow: Asyncflow) -> None:
    done = asyncflow("run", f"{TROUBLE}:OneBadItemFlow", "--on-failure", "keep-going", "--max-workers", "1", code=1)

    assert "4 tasks done, 1 failed" in done.stderr


def test_all_problems_of_a_graph_come_at_once_and_nothing_runs(asyncflow: Asyncflow) -> None:
    flow = asyncflow.flow("""
from asyncflow import FlowSpec, step

class BadFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.middle)

    @step
    def middle(self):
        self.next(self.nowhere)

    @step
    def other(self):
        print("no next")

    @step
    def end(self):
        print(undefined_name)
""")
    for command in ("run", "check"):
        said = asyncflow(command, flow, code=1).stderr
        assert "flow.py:11" in said
        assert "nowhere" in said
        assert "'other'" in said
        assert "undefined_name" in said
        assert "→" in said


def test_a_name_that_is_not_defined_stops_the_run_before_it_starts(asyncflow: Asyncflow) -> None:
    flow = asyncflow.flow(GREET.replace("self.times)", "self.times + undefined_name - undefined_name)"))

    done = asyncflow("run", flow, code=1)
    assert "undefined_name" in done.stderr
    assert "--no-pylint" in done.stderr
    assert done.stdout == ""
    assert "NameError" in asyncflow("run", flow, "--no-pylint", code=1).stderr


def test_a_store_that_cannot_be_is_said(asyncflow: Asyncflow, greet: Path) -> None:
    (asyncflow.folder / "file").write_text("no folder")

    said = asyncflow("run", greet, "--store", "file/store", code=1).stderr
    assert "file/store" in said
    assert "Traceback" not in said


def test_a_reader_that_goes_away_is_no_error(asyncflow: Asyncflow, greet: Path) -> None:
    run = asyncflow.start("run", greet, "--times", "20000")
    assert run.stdout is not None
    run.stdout.readline()
    run.stdout.close()
    assert run.stderr is not None
    with run.stderr:
        said = run.stderr.read()
    assert run.wait(PATIENCE) == 0
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
    assert asyncflow.last_state() == "succeeded"

    logs = asyncflow.start("logs", asyncflow.last_run())
    assert logs.stdout is not None
    logs.stdout.readline()
    logs.stdout.close()
    assert logs.stderr is not None
    with logs.stderr:
        assert logs.stderr.read() == ""
    assert logs.wait(PATIENCE) == 0


# -- signals -------------------------------------------------------------------------------------------


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").exists() or Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"


def waiting_pids(folder: Path, count: int) -> list[int]:
    until(lambda: len(list(folder.glob("pid-?"))) == count, f"{count} tasks run")
    return [int(path.read_text()) for path in folder.glob("pid-?")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_run_in_order(asyncflow: Asyncflow, tmp_path: Path, number: signal.Signals) -> None:
    run = asyncflow.start("run", f"{TROUBLE}:WaitingFlow", "--folder", tmp_path, "--max-workers", "2")
    pids = waiting_pids(tmp_path, 2)

    run.send_signal(number)
    _, said = run.communicate(timeout=PATIENCE)

    assert run.returncode == 1
    assert "Stopping 2 tasks" in said
    assert f"was cancelled ({number.name})" in said
    assert "Traceback" not in said
    assert asyncflow.last_state() == "cancelled"
    assert not any(map(alive, pids))
    assert (tmp_path / "cleaned-0").exists()  # they were asked, not killed


def test_a_second_signal_kills_at_once(asyncflow: Asyncflow, tmp_path: Path) -> None:
    run = asyncflow.start(
        "run", f"{TROUBLE}:WaitingFlow", "--folder", tmp_path, "--max-workers", "2", "--stubborn", "true"
    )
    pids = waiting_pids(tmp_path, 2)
    assert run.stderr is not None

    run.send_signal(signal.SIGINT)
    said = ""
    while "Stopping" not in said:
        said += run.stderr.readline()
    run.send_signal(signal.SIGINT)
    _, rest = run.communicate(timeout=PATIENCE)

    assert run.returncode == 1
    assert "Killing" in rest
    assert not any(map(alive, pids))
    assert not (tmp_path / "cleaned-0").exists()
    assert asyncflow.last_state() == "cancelled"


def test_a_signal_before_the_run_begins_ends_it_quietly(asyncflow: Asyncflow) -> None:
    flow = asyncflow.flow("import pathlib, time\npathlib.Path('importing').touch()\ntime.sleep(1000)\n")
    run = asyncflow.start("run", flow, "--no-pylint")
    until((asyncflow.folder / "importing").exists, "the flow is being imported")

    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=PATIENCE)

    assert run.returncode == 1
    assert said.strip() == "Interrupted."


def test_a_signal_while_the_command_line_is_imported_ends_it_quietly(asyncflow: Asyncflow) -> None:
    program = """
import os, signal, sys

class Signals:
    def find_spec(self, name, path, target=None):
        if name == "asyncflow.cli.options":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Signals())
from asyncflow.cli import main
main(["list"])
"""
    assert asyncflow.execute([sys.executable, "-c", program], code=1).stderr == "Interrupted.\n"
