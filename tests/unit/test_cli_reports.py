"""Errors as sentences and exit codes; the engine's log; what the command line is dispatched to."""

import io
import json
import logging

import pytest

from asyncflow.cli.dispatch import Invocation, Program, execute
from asyncflow.cli.enginelog import handler
from asyncflow.cli.reports import report, task_failure
from asyncflow.errors import (
    FlowNotFound,
    GraphError,
    InvalidTransition,
    MetaflowInvalidPathspec,
    MetaflowNotFound,
    ParameterError,
    StoreVersionError,
)
from asyncflow.events import Failure, FailureKind


@pytest.fixture(autouse=True)
def no_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASYNCFLOW_DEBUG", raising=False)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FlowNotFound("There is no file x.py."), 2, "Usage error: There is no file x.py."),
        (ParameterError("No."), 2, "Usage error: No."),
        (MetaflowInvalidPathspec("No."), 2, "Invalid pathspec: No."),
        (MetaflowNotFound("No."), 1, "Object not found: No."),
        (GraphError("All of it."), 1, "Validity checks failed: All of it."),
        (StoreVersionError("Newer."), 1, "Store failed: Newer."),
        (KeyboardInterrupt(), 1, "Interrupted."),
        (PermissionError(13, "Permission denied", "/x"), 1, "The system refused: Permission denied: /x"),
        (FileNotFoundError(2, "No such file or directory"), 1, "The system refused: No such file or directory"),
    ],
)
def test_an_error_is_a_sentence_with_a_code(error, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(raised(error)) == code
    assert capsys.readouterr().err == f"{said}\n"


@pytest.mark.parametrize("error", [KeyError("surprise"), InvalidTransition("surprise")])
def test_a_bug_says_how_to_report_it(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(raised(error)) == 1

    said = capsys.readouterr().err
    assert "This is a bug in asyncflow" in said
    assert "surprise" in said
    assert f"{__file__}:" in said
    assert "ASYNCFLOW_DEBUG=1" in said
    assert "Traceback" not in said


def test_the_traceback_comes_when_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCFLOW_DEBUG", "1")
    assert report(raised(KeyError("surprise"))) == 1

    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert "ASYNCFLOW_DEBUG=1" not in said


def test_a_bug_anywhere_ends_in_a_report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(invocation: Invocation) -> int:
        raise ZeroDivisionError("somewhere deep")

    monkeypatch.setattr("asyncflow.cli.running.run", broken)

    assert execute(Program(), ["run", "flow.py"]) == 1
    assert "bug in asyncflow: ZeroDivisionError: somewhere deep" in capsys.readouterr().err


def test_a_task_that_failed_shows_its_own_words_only() -> None:
    trace = 'Traceback (most recent call last):\n  File "flow.py", line 3, in start\nValueError: \x1b[2Jno'
    failure = Failure(FailureKind.USER, "ValueError: no", trace, "ValueError")

    text = task_failure("F/1/start/1", failure, "asyncflow logs F/1/start/1 --stderr")
    assert text.startswith("Task F/1/start/1 failed")
    assert "ValueError: no" in text
    assert "\x1b" not in text
    assert text.endswith("asyncflow logs F/1/start/1 --stderr")


def test_a_task_that_died_has_its_message_instead() -> None:
    failure = Failure(FailureKind.CRASH, "The worker was killed by SIGSEGV.")

    assert "killed by SIGSEGV" in task_failure("F/1/start/1", failure, "…")


def test_the_engines_log_is_json() -> None:
    stream = io.StringIO()
    logger = logging.getLogger("asyncflow.test_the_engines_log")
    logger.propagate = False
    logger.setLevel("INFO")
    logger.addHandler(handler(stream))

    logger.info("worker %s started", 7, extra={"slots": 2})
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("it failed")

    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["level"], first["slots"]) == ("worker 7 started", "info", 2)
    assert first["logger"] == "asyncflow.test_the_engines_log"
    assert "timestamp" in first
    assert "ValueError: no" in second["exception"]
