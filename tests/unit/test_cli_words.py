"""Command lines taken apart: scanning, options and their variables, the FLOW argument, a flow's parameters."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow.cli import flowfile
from asyncflow.cli.options import RUN_OPTIONS, RunOptions, Takes, run_options
from asyncflow.cli.scan import find_word, scan
from asyncflow.errors import ParameterError, UsageError
from asyncflow.flow import FlowSpec
from asyncflow.parameters import JSONType, Parameter, flow_parameters

OPTIONS = {"alpha": True, "tag": True, "json": False}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in RUN_OPTIONS:
        monkeypatch.delenv("ASYNCFLOW_" + option.name.upper().replace("-", "_"), raising=False)
    monkeypatch.delenv("ASYNCFLOW_LOG", raising=False)


# -- scanning ----------------------------------------------------------------------------------------


def test_values_switches_and_words_are_told_apart() -> None:
    found = scan(["one", "--alpha", "3", "--json", "two", "--tag=a=b", "--tag", "c"], OPTIONS)

    assert found.values == {"alpha": ["3"], "json": ["true"], "tag": ["a=b", "c"]}
    assert found.words == ["one", "two"]


@pytest.mark.parametrize("value", ["-3", "-", "", "--", "--other", "=", "a b"])
def test_a_value_may_look_like_an_option(value: str) -> None:
    assert scan(["--alpha", value], OPTIONS).values == {"alpha": [value]}
    assert scan([f"--alpha={value}"], OPTIONS).values == {"alpha": [value]}


def test_after_two_dashes_nothing_is_an_option() -> None:
    found = scan(["--json", "--", "--alpha", "-x"], OPTIONS)

    assert found.words == ["--alpha", "-x"]


def test_help_is_seen_anywhere_unless_an_option_is_called_so() -> None:
    assert scan(["x", "--help"], OPTIONS).help
    assert scan(["-h"], OPTIONS).help
    assert not scan(["--help", "me"], OPTIONS | {"help": True}).help


def test_the_first_word_ends_the_options_before_a_command() -> None:
    found = scan(["--alpha", "3", "run", "x.py", "--unknown"], OPTIONS, first_word_only=True)

    assert found.values == {"alpha": ["3"]}
    assert found.rest == ["run", "x.py", "--unknown"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--alhpa", "3"], "There is no option --alhpa. Did you mean --alpha?"),
        (["--zzz=3"], "There is no option --zzz."),
        (["-x"], "There is no option -x."),
        (["-alpha"], "There is no option -alpha. Did you mean --alpha?"),
        (["--alpha"], "Option --alpha needs a value."),
        (["--alpha", "--json"], "Option --alpha needs a value."),
        (["--alpha", "--tag=x"], "Option --alpha needs a value."),
    ],
)
def test_what_cannot_be_understood_is_said_in_a_sentence(words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        scan(words, OPTIONS, hint=" HINT")

    assert caught.value.message == said + " HINT"


@given(st.lists(st.text(max_size=8)))
def test_any_words_are_scanned_or_refused(words: list[str]) -> None:
    with contextlib.suppress(UsageError):
        scan(words, OPTIONS)


SWITCHES = frozenset({"json", "quiet"})


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ([], None),
        (["flow.py"], 0),
        (["--alpha", "3", "flow.py"], 2),
        (["--alpha=3", "flow.py"], 1),
        (["--json", "flow.py", "--alpha", "3"], 1),
        (["--help", "flow.py"], 1),
        (["--", "flow.py"], 1),
        (["--"], None),
        (["--alpha"], None),
    ],
)
def test_the_flow_is_found_before_its_parameters_are_known(words: list[str], place: int | None) -> None:
    assert find_word(words, SWITCHES) == place


# -- options -----------------------------------------------------------------------------------------


def test_nothing_said_leaves_all_to_the_engine() -> None:
    assert run_options({}) == RunOptions()


def test_options_have_their_types() -> None:
    given_ = {"max-workers": ["4"], "json": ["true"], "tag": ["a", "b"], "on-failure": ["keep-going"]}

    assert run_options(given_) == RunOptions(max_workers=4, json=True, tag=("a", "b"), on_failure="keep-going")


def test_of_several_the_last_counts() -> None:
    assert run_options({"executor": ["local", "inline"]}).executor == "inline"


@pytest.mark.parametrize("option", RUN_OPTIONS, ids=lambda option: option.name)
def test_every_option_has_its_variable(option, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {Takes.NOTHING: "yes", Takes.NUMBER: "7", Takes.TEXTS: "a, b"}.get(
        option.takes, (option.choices or ("x",))[0]
    )
    expected = {Takes.NOTHING: True, Takes.NUMBER: 7, Takes.TEXTS: ("a", "b")}.get(option.takes, value)
    monkeypatch.setenv("ASYNCFLOW_" + option.name.upper().replace("-", "_"), value)

    options = run_options({})
    if not option.hidden:
        assert getattr(options, option.name.replace("-", "_")) == expected


def test_the_command_line_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_MAX_WORKERS", "7")

    assert run_options({"max-workers": ["2"]}).max_workers == 2


def test_the_log_may_be_asked_for_by_its_short_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_LOG", "debug")

    assert run_options({}).log_level == "debug"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (
            "ASYNCFLOW_MAX_WORKERS",
            "many",
            "ASYNCFLOW_MAX_WORKERS is 'many'; it must be a whole number from 1 to 1,000,000.",
        ),
        ("ASYNCFLOW_MAX_WORKERS", "0", "ASYNCFLOW_MAX_WORKERS is '0'; it must be a whole number from 1 to 1,000,000."),
        ("ASYNCFLOW_ISOLATION", "none", "ASYNCFLOW_ISOLATION is 'none'; it must be one of step, task."),
        ("ASYNCFLOW_JSON", "maybe", "ASYNCFLOW_JSON is 'maybe'; it must be true or false."),
        ("ASYNCFLOW_DATASTORE", "s3", "ASYNCFLOW_DATASTORE is 's3'; this version of asyncflow has only 'local'."),
    ],
)
def test_a_wrong_value_names_where_it_comes_from(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(UsageError) as caught:
        run_options({})
    assert caught.value.message == said


# -- the flow and its parameters -----------------------------------------------------------------------


def test_a_class_may_follow_the_file(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:name").touch()

    assert flowfile.split_flow("flow.py:MyFlow") == ("flow.py", "MyFlow")
    assert flowfile.split_flow("/a/flow.py") == ("/a/flow.py", None)
    assert flowfile.split_flow("odd:name") == ("odd:name", None)
    assert flowfile.split_flow("C:/flow.py") == ("C:/flow.py", None)


class ManyFlow(FlowSpec):
    count = Parameter("count", default=1)
    factor = Parameter("learning_rate", default=0.5)
    shuffle = Parameter("shuffle", default=False)
    label = Parameter("label")
    options = Parameter("options", type=JSONType)
    words = Parameter("words", separator=",")


def test_parameters_go_by_their_name_with_underscores_or_dashes() -> None:
    names = flowfile.option_names(flow_parameters(ManyFlow))

    assert set(names) == {"count", "learning_rate", "learning-rate", "shuffle", "label", "options", "words"}
    assert names["learning-rate"] is names["learning_rate"]


def test_texts_become_what_the_engine_takes() -> None:
    names = flowfile.option_names(flow_parameters(ManyFlow))
    asked = {
        "count": ["3"], "learning-rate": ["2"], "shuffle": ["yes"], "label": ["5"], "options": ['"text"'],
        "words": ["a,b"],
    }  # fmt: skip

    values = flowfile.values_of(names, asked)

    assert values == {
        "count": 3, "learning_rate": 2.0, "shuffle": True, "label": "5", "options": '"text"', "words": "a,b",
    }  # fmt: skip


def test_a_text_of_the_wrong_type_is_a_usage_error() -> None:
    names = flowfile.option_names(flow_parameters(ManyFlow))

    with pytest.raises(ParameterError, match="'count' takes an integer"):
        flowfile.values_of(names, {"count": ["three"]})
