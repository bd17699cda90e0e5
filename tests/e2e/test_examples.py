"""The examples do what their first lines say, through the commands that stand there."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ASYNCFLOW = Path(sys.executable).with_name("asyncflow")
PATIENCE = 120
"""Seconds after which a hanging example is given up; none of them takes a tenth of it."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ASYNCFLOW_")}
    return inherited | {"ASYNCFLOW_STORE": str(tmp_path / ".asyncflow")}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path):
    def run(*command: object) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_hello(run) -> None:
    assert "Hello, world!" in run(ASYNCFLOW, "run", EXAMPLES / "hello.py")
    assert "Hello, Ada!" in run(sys.executable, EXAMPLES / "hello.py", "run", "--name", "Ada")


@pytest.mark.parametrize(("terms", "verdict"), [(1_000, "differ"), (400_000, "agree")])
def test_branches_go_both_ways(run, terms: int, verdict: str) -> None:
    out = run(ASYNCFLOW, "run", EXAMPLES / "branches.py", "--terms", terms)

    assert f"they {verdict}" in out
    assert "pi is    3.14159" in out


def test_flights_ranks_all_airlines(run) -> None:
    out = run(ASYNCFLOW, "run", EXAMPLES / "flights.py")

    assert "336,776 flights of 16 airlines" in out
    places = re.findall(r"(\d+) (\w[\w ]+?) +[\d,]+ +\d+% ", out)
    assert [int(place) for place, _ in places] == list(range(1, 17))
    assert places[0][1] == "US Airways"
    assert places[-1][1] == "Frontier"


def test_flights_of_one_airport(run) -> None:
    assert "JetBlue Airways" in run(ASYNCFLOW, "run", EXAMPLES / "flights.py", "--airport", "JFK")


@pytest.fixture
def service(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of the web service, on a port that was free."""
    command = [sys.executable, str(EXAMPLES / "service.py"), "0"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            lines = iter(server.stderr.readline, "")
            yield next(found[0] for line in lines if (found := re.findall(r"running on (http://\S+)", line)))
        finally:
            server.send_signal(signal.SIGINT)
            server.stderr.read()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.read().decode()


def test_service_answers_with_a_runs_result(service: str) -> None:
    answer = json.loads(get(f"{service}/ranking?airport=LGA"))

    assert answer["run"].startswith("FlightsFlow/")
    assert answer["ranking"][0]["airline"]
    assert "Who kept New York waiting?" in get(service)


def test_service_streams_a_runs_events(service: str) -> None:
    blocks = get(f"{service}/live?airport=JFK").strip().split("\n\n")
    events = [(kind, json.loads(content)) for kind, content in (re.findall(r"(?m)^\w+: (.*)$", b) for b in blocks)]

    assert [kind for kind, _ in events[:-1]] == ["progress"] * (len(events) - 1)
    assert events[0][1] == {"step": "start", "done": 1, "of": 1}
    assert {content["step"] for _, content in events[:-1]} == {"start", "delays", "rank", "end"}
    kind, ranking = events[-1]
    assert kind == "ranking"
    assert len(ranking) == sum(content["step"] == "delays" for _, content in events[:-1])


def test_service_says_why_a_run_failed(service: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{service}/ranking?airport=XXX")

    with refused.value as answer:
        assert answer.code == 422
        assert "no flight left from 'XXX'" in json.loads(answer.read())["error"]
