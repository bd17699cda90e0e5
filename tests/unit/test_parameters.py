"""Parameters: their types, their sources, and what is said of wrong ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_rig import succeed

from asyncflow import FlowSpec, IncludeFile, JSONType, Parameter, step
from asyncflow.errors import FlowDefinitionError, ParameterError, UsageError
from asyncflow.parameters import ParameterContext, flow_parameters, resolve_parameters


def flow(**attributes):
    """A flow class with these attributes."""
    return type("SomeFlow", (FlowSpec,), attributes)


def value_of(parameter, given=None, **options):
    values = {} if given is None else {parameter.name: given}
    return resolve_parameters(flow(it=parameter), values, **options)["it"]


# -- texts of a command line -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (str, "x", "x"),
        (str, "", ""),
        (int, "3", 3),
        (int, " -3 ", -3),
        (float, "3", 3.0),
        (float, "1e3", 1000.0),
        (bool, "true", True),
        (bool, "Yes", True),
        (bool, "on", True),
        (bool, "1", True),
        (bool, "F", False),
        (bool, "no", False),
        (bool, "0", False),
        (JSONType, '{"a": [1, null]}', {"a": [1, None]}),
        (JSONType, "3", 3),
        (JSONType, '"text"', "text"),
        (JSONType, "null", None),
        (list, "[1]", [1]),
        (dict, "{}", {}),
    ],
)
def test_texts(kind, text, value):
    found = value_of(Parameter("p", type=kind), text, from_strings=True)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "takes"),
    [
        (int, "x", "an integer, not 'x'"),
        (int, "1.5", "an integer, not '1.5'"),
        (int, "", "an integer, not ''"),
        (float, "x", "a number, not 'x'"),
        (bool, "2", "true or false (also yes/no, on/off, 1/0), not '2'"),
        (JSONType, "nope", "JSON, not 'nope'"),
        (list, "{}", "a JSON list, not '{}'"),
        (dict, "[]", "a JSON object, not '[]'"),
    ],
)
def test_wrong_texts_are_said_in_a_sentence(kind, text, takes):
    with pytest.raises(ParameterError) as caught:
        value_of(Parameter("p", type=kind), text, from_strings=True)
    assert str(caught.value) == f"Parameter 'p' takes {takes}."
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(("text", "value"), [("a,b,", ["a", "b", ""]), ("a", ["a"]), (",", ["", ""]), ("", "")])
def test_a_separator_splits_texts(text, value):
    assert value_of(Parameter("p", separator=","), text, from_strings=True) == value
    assert value_of(Parameter("p", separator=","), text) == value
    assert value_of(Parameter("p", separator=",", default=text)) == value


def test_a_separator_leaves_lists_and_none():
    assert value_of(Parameter("p", separator=","), ["a,b", "c"]) == ["a,b", "c"]
    assert value_of(Parameter("p", separator=",")) is None
    with pytest.raises(ParameterError, match="texts separated by ','"):
        value_of(Parameter("p", separator=","), [1])


# -- values of Python ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (int, 3, 3),
        (int, np.int64(3), 3),
        (float, 3, 3.0),
        (float, np.float32(0.5), 0.5),
        (bool, False, False),
        (bool, np.True_, True),
        (str, "x", "x"),
        (JSONType, {"a": (1, 2)}, {"a": (1, 2)}),
        (JSONType, '{"a": 1}', {"a": 1}),
        (list, (1, 2), [1, 2]),
        (dict, {"a": 1}, {"a": 1}),
    ],
)
def test_values(kind, given, value):
    found = value_of(Parameter("p", type=kind), given)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (int, 1.5),
        (int, "3"),
        (int, True),
        (float, "3"),
        (float, True),
        (bool, 1),
        (bool, "yes"),
        (str, 3),
        (str, b"x"),
        (str, Path("x")),
        (JSONType, object()),
        (JSONType, "no json"),
        (list, {"a": 1}),
        (dict, [1]),
    ],
)
def test_wrong_values_are_refused(kind, given):
    with pytest.raises(ParameterError, match=r"Parameter 'p' takes .* not .* of type "):
        value_of(Parameter("p", type=kind), given)


# -- defaults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, None),
        ({"default": 3}, 3),
        ({"default": 1.5}, 1.5),
        ({"default": True}, True),
        ({"default": "x"}, "x"),
        ({"default": [1]}, [1]),
        ({"default": {"a": 1}}, {"a": 1}),
        ({"default": 3, "type": float}, 3.0),
        ({"default": "3", "type": int}, 3),
        ({"default": True, "type": int}, 1),
        ({"default": "yes", "type": bool}, True),
        ({"default": '{"b": 1}', "type": JSONType}, {"b": 1}),
        ({"default": "x", "required": True}, "x"),
        ({"default": lambda context: 5, "type": int}, 5),
        ({"default": lambda context: "5"}, "5"),
        ({"default": lambda context: "[1]", "type": JSONType}, [1]),
        ({"default": lambda context: {"a": 1}, "type": JSONType}, {"a": 1}),
        ({"default": lambda context: "a,b", "separator": ","}, ["a", "b"]),
        ({"default": lambda context: None, "type": int}, None),
    ],
)
def test_defaults(options, value):
    found = value_of(Parameter("p", **options))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"default": "x", "type": int}, "the default is 'x', but the parameter takes an integer"),
        ({"default": "nope", "type": JSONType}, "the default is 'nope', but the parameter takes JSON"),
        ({"default": 1.5, "type": int}, "the default is 1.5"),
        ({"default": lambda context: 5}, "the default function returned 5, but the parameter takes a text"),
        ({"default": lambda context: 5, "type": float}, "returned 5, but the parameter takes a number"),
        ({"default": lambda context: True, "type": int}, "returned True"),
        ({"default": lambda context: 1 / 0}, "the default function raised ZeroDivisionError: division by zero"),
        ({"default": lambda: 1}, "the default function raised TypeError"),
    ],
)
def test_wrong_defaults_are_errors_of_the_flow(options, says):
    with pytest.raises(FlowDefinitionError) as caught:
        value_of(Parameter("p", **options))
    assert says in str(caught.value)
    assert str(caught.value).startswith("Parameter 'p' of SomeFlow (self.it): ")


def test_a_default_function_gets_its_context():
    seen = []
    lines = []

    def default(context):
        seen.append(context)
        context.logger("hello")
        return 1

    assert value_of(Parameter("p-q", default=default, type=int), user_name="ada", logger=lines.append) == 1
    (context,) = seen
    assert isinstance(context, ParameterContext)
    assert (context.flow_name, context.user_name, context.parameter_name) == ("SomeFlow", "ada", "p-q")
    assert (context.configs, lines) == ({}, ["hello"])


def test_a_default_function_is_not_called_for_a_value_that_is_given():
    assert value_of(Parameter("p", default=lambda context: 1 / 0, type=int), 3) == 3


# -- sources ---------------------------------------------------------------------------------------


class SourcesFlow(FlowSpec):
    alpha = Parameter("alpha", default=1)
    dashed = Parameter("my-value", default="d")
    needed = Parameter("needed", required=True)


def test_what_is_given_goes_before_the_environment_and_that_before_the_default(monkeypatch):
    monkeypatch.setenv("ASYNCFLOW_RUN_ALPHA", "5")
    monkeypatch.setenv("ASYNCFLOW_RUN_MY_VALUE", "e")
    assert resolve_parameters(SourcesFlow, {"needed": "n"}) == {"alpha": 5, "dashed": "e", "needed": "n"}
    assert resolve_parameters(SourcesFlow, {"needed": "n", "alpha": 2})["alpha"] == 2
    assert resolve_parameters(SourcesFlow, {"needed": "n", "alpha": None})["alpha"] == 5


def test_a_required_value_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ASYNCFLOW_RUN_NEEDED", "")
    assert resolve_parameters(SourcesFlow, {})["needed"] == ""


def test_a_wrong_value_in_the_environment_is_said_to_be_there(monkeypatch):
    monkeypatch.setenv("ASYNCFLOW_RUN_ALPHA", "x")
    with pytest.raises(ParameterError, match=r"an integer, not 'x'.*variable ASYNCFLOW_RUN_ALPHA"):
        resolve_parameters(SourcesFlow, {"needed": "n"})


@pytest.mark.parametrize("name", ["my-value", "my_value", "dashed"])
def test_a_name_may_be_given_with_underscores(name):
    assert resolve_parameters(SourcesFlow, {"needed": "n", name: "v"})["dashed"] == "v"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "SourcesFlow needs a value for --needed."),
        ({"needed": "n", "alpa": 1}, "SourcesFlow has no parameter 'alpa'. Did you mean 'alpha'?"),
        ({"needed": "n", "zzz": 1}, "SourcesFlow has no parameter 'zzz'. It has alpha, my-value, needed."),
    ],
)
def test_missing_and_unknown_names(given, says):
    with pytest.raises(ParameterError) as caught:
        resolve_parameters(SourcesFlow, given)
    assert str(caught.value) == says


def test_a_flow_without_parameters_says_so():
    with pytest.raises(ParameterError, match="has no parameter 'x'; it has none at all"):
        resolve_parameters(flow(), {"x": 1})


# -- definitions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        (Parameter("a b"), "letters, digits"),
        (Parameter("1a"), "letters, digits"),
        (Parameter(""), "letters, digits"),
        (Parameter(None), "letters, digits"),
        (Parameter("with"), "option which every flow has"),
        (Parameter("run-id"), "option which every flow has"),
        (Parameter("Run_ID"), "option which every flow has"),
        (Parameter("p", type=int, separator=","), "only a parameter of type str can have a separator"),
        (Parameter("p", type=bytes), "isn't one of str, int, float, bool, JSONType"),
        (Parameter("p", kind=int), "unknown option 'kind'"),
    ],
)
def test_definitions_that_cannot_work(parameter, says):
    with pytest.raises(FlowDefinitionError, match=says):
        flow_parameters(flow(it=parameter))


def test_a_parameter_cannot_take_the_place_of_a_part_of_every_flow():
    with pytest.raises(FlowDefinitionError, match="every flow has an attribute 'index'"):
        flow_parameters(flow(index=Parameter("i")))


@pytest.mark.parametrize(("one", "other"), [("x", "X"), ("a-b", "a_b"), ("x", "x")])
def test_names_are_unique_whatever_their_case(one, other):
    with pytest.raises(FlowDefinitionError, match=rf"'{other}' of SomeFlow \(self.second\) has the name of .*'{one}'"):
        flow_parameters(flow(first=Parameter(one), second=Parameter(other)))


def test_parameters_are_inherited_replaced_and_removed():
    class Mixin:
        mixed = Parameter("mixed")

    class BaseFlow(Mixin, FlowSpec):
        first = Parameter("first", default=1)
        second = Parameter("second", default=2)
        _none = Parameter("none")

    class ChildFlow(BaseFlow):
        second = Parameter("second", default=5)
        first = None
        third = Parameter("é")

    assert list(flow_parameters(BaseFlow)) == ["mixed", "first", "second"]
    assert list(flow_parameters(ChildFlow)) == ["mixed", "second", "third"]
    assert resolve_parameters(ChildFlow, {}) == {"mixed": None, "second": 5, "third": None}


def test_what_the_help_shows():
    assert Parameter("p", default=3, help="so much").default_text == "3"
    assert Parameter("p", default=3, show_default=False).default_text is None
    assert Parameter("p", default=lambda context: 1).default_text is None
    kinds = [str, int, float, bool, JSONType, list]
    assert [Parameter("p", type=kind).type_name for kind in kinds] == [
        "TEXT",
        "INTEGER",
        "FLOAT",
        "BOOLEAN",
        "JSON",
        "JSON",
    ]
    assert IncludeFile("p").type_name == "FILE"


def test_jsontype_is_one_and_prints_its_name():
    assert pickle.loads(pickle.dumps(JSONType)) is JSONType
    assert repr(JSONType) == "JSONType"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_json_comes_through(value):
    import json

    assert value_of(Parameter("p", type=JSONType), json.dumps(value), from_strings=True) == value


# -- included files --------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("1\n2\né\n", encoding="utf-8")
    return path


def test_a_file_is_read_when_the_run_starts(file):
    assert value_of(IncludeFile("f"), str(file)) == "1\n2\né\n"
    assert value_of(IncludeFile("f"), file) == "1\n2\né\n"
    assert value_of(IncludeFile("f"), str(file), from_strings=True) == "1\n2\né\n"
    assert value_of(IncludeFile("f", default=str(file), is_text=False)) == file.read_bytes()
    assert value_of(IncludeFile("f", default=lambda context: str(file), encoding="latin-1")).startswith("1\n2\n")
    assert value_of(IncludeFile("f")) is None


def test_a_file_that_cannot_be_read_is_a_wrong_value(file, tmp_path):
    with pytest.raises(ParameterError, match="Parameter 'f': the file 'nosuch' can't be read: No such file"):
        value_of(IncludeFile("f"), "nosuch")
    with pytest.raises(ParameterError, match="can't be read"):
        value_of(IncludeFile("f", default=str(tmp_path)))
    with pytest.raises(ParameterError, match="isn't text in ascii"):
        value_of(IncludeFile("f", encoding="ascii"), str(file))
    with pytest.raises(ParameterError, match="isn't text in klingon"):
        value_of(IncludeFile("f", encoding="klingon"), str(file))
    with pytest.raises(ParameterError, match="takes the path of a file, not 3"):
        value_of(IncludeFile("f"), 3)
    with pytest.raises(ParameterError, match="needs a value for --f"):
        value_of(IncludeFile("f", required=True))


calls = []


def parse(text):
    calls.append(text)
    return [int(line) for line in text.splitlines() if line.isdigit()]


def test_a_parser_is_applied_in_steps_and_only_there(file):
    class FileFlow(FlowSpec):
        numbers = IncludeFile("numbers", parser=parse)
        length = IncludeFile("length", parser="builtins.len")
        count = IncludeFile("count", parser="len")
        again = IncludeFile("again", parser="parse")
        plain = IncludeFile("plain")
        none = IncludeFile("none", parser=parse)

        @step
        def start(self):
            self.numbers.append(3)
            self.seen = (self.numbers, self.length, len(self.plain), self.none)
            self.next(self.end)

        @step
        def end(self):
            self.later = self.numbers
            self.others = (self.count, self.again)

    calls.clear()
    played = succeed(FileFlow, numbers=str(file), length=str(file), plain=file, count=file, again=file)
    end = played.data("end")
    assert end["seen"] == ([1, 2, 3], 6, 6, None)
    assert end["later"] == [1, 2]
    assert end["others"] == (6, [1, 2])
    assert end["numbers"] == file.read_text(encoding="utf-8")
    assert len(calls) == 3
