"""``Parameter``, ``IncludeFile``, ``JSONType``, and where a run's values come from.

A value is what the command line or ``Engine.run`` gives, else the variable ``ASYNCFLOW_RUN_<NAME>``, else
the default. It is settled once, before the run starts, and is then an artifact that nothing can change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast, overload

from msgspec import Struct

from asyncflow.errors import FlowDefinitionError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from asyncflow.flow import FlowSpec


class _JSONType:
    """The type of a parameter that takes any JSON value."""

    __name__ = "JSON"

    def __repr__(self) -> str:
        return "JSONType"

    def __reduce__(self) -> str:
        return "JSONType"  # there is one, found again by name


JSONType = _JSONType()

Type: TypeAlias = (
    "type[str] | type[int] | type[float] | type[bool] | type[list[Any]] | type[dict[str, Any]] | _JSONType"
)

_RESERVED = frozenset(
    "params with tag tags namespace obj decospecs run_id task_id run_id_file max_workers max_num_splits "
    "max_log_size user_namespace runner_attribute_file".split()
)
"""Options of the command line that Metaflow has too: names no parameter can have."""
_METHODS = frozenset({"next", "index", "input", "foreach_stack", "merge_artifacts"})


class ParameterContext(Struct, frozen=True, kw_only=True):
    """What a default that is a function is called with."""

    flow_name: str
    user_name: str
    parameter_name: str
    logger: Callable[[str], None]
    configs: Mapping[str, Any] = {}
    ds_type: str = "local"


class Parameter:
    """A value that a run is started with: ``--name VALUE`` on the command line, ``self.<attribute>`` in steps.

    ``type`` is ``str int float bool`` or ``JSONType`` (``list`` and ``dict`` are JSON of that kind); unless given
    it is that of the default, or ``str``. ``default`` may be a function of a ``ParameterContext``, called once a
    run; it must return exactly the type. With ``separator``, a text is split into a list. A ``required`` one
    without a default must be given.
    """

    attribute: str = ""
    """The name of the flow's attribute."""
    owner: str = ""
    """``flow`` class that defines it, for messages."""

    def __init__(
        self,
        name: str,
        default: Any = None,
        type: Type | None = None,  # noqa: A002 - Metaflow's name
        help: str | None = None,  # noqa: A002 - likewise
        required: bool | None = None,
        show_default: bool | None = None,
        separator: str | None = None,
        **options: Any,
    ) -> None:
        self.name = name
        self.default = default
        self.help = help or ""
        self.required = bool(required) and default is None
        self.show_default = show_default is not False
        self.separator = separator
        self.options = options
        self.type: Type = type if type is not None else _type_of(default)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.attribute = attribute
        self.owner = owner.__name__

    @overload
    def __get__(self, flow: None, owner: type) -> Self: ...
    @overload
    def __get__(self, flow: FlowSpec, owner: type) -> Any: ...
    def __get__(self, flow: FlowSpec | None, owner: type) -> Any:
        if flow is None:
            return self
        values = flow.__dict__
        if self.attribute in values:
            return values[self.attribute]
        try:
            return flow._asyncflow.load(flow, self.attribute)
        except KeyError:
            return self  # an object of no task: there is no value

    def __set__(self, flow: FlowSpec, value: object) -> None:
        raise AttributeError(
            f"Flow level attributes and Parameters are not modifiable: {self.attribute!r} is a parameter."
        )

    # -- values ------------------------------------------------------------------------------------

    @property
    def type_name(self) -> str:
        """As the help shows it: ``TEXT INTEGER FLOAT BOOLEAN JSON FILE``."""
        return _TYPE_NAMES.get(self.type, "JSON")

    @property
    def default_text(self) -> str | None:
        """The default as the help shows it, None where there is none to show or it is a function."""
        if self.default is None or not self.show_default or callable(self.default):
            return None
        return str(self.default)

    def from_text(self, text: str) -> Any:
        """The value of what was written on a command line. Raises ``ParameterError``."""
        if self.separator is not None and text:
            return text.split(self.separator)
        try:
            return _PARSERS[self.type](text) if self.type in _PARSERS else _json(text, self.type)
        except ValueError:
            raise self.wrong(repr(text)) from None

    def from_value(self, value: Any) -> Any:
        """The value of what was given in Python. Raises ``ParameterError``."""
        if self.separator is not None and _is_texts(value):
            return list(value)
        if isinstance(value, str) and (self.type is str or self.type in _JSON_TYPES):
            return self.from_text(value)
        try:
            return _CHECKS[self.type](value) if self.type in _CHECKS else _checked_json(value, self.type)
        except (TypeError, ValueError, OverflowError):
            raise self.wrong(f"{value!r} of type {type(value).__name__}") from None

    def wrong(self, given: str) -> ParameterError:
        return ParameterError(f"Parameter {self.name!r} takes {self._takes()}, not {given}.")

    def _takes(self) -> str:
        if self.separator is not None:
            return f"texts separated by {self.separator!r}"
        return _TAKES.get(self.type, "JSON")

    def default_value(self, context: ParameterContext) -> Any:
        """Raises ``FlowDefinitionError`` where the default isn't of the parameter's type."""
        if callable(self.default):
            return self._call(self.default, context)
        if self.default is None:
            return None
        try:
            return self._plain_default(self.default)
        except ParameterError as error:
            raise FlowDefinitionError(
                f"{self.place(context.flow_name)}: the default is {self.default!r}, "
                f"but the parameter takes {self._takes()}."
            ) from error

    def _plain_default(self, default: Any) -> Any:
        if isinstance(default, str):
            return self.from_text(default)
        if isinstance(default, bool) and self.type in (int, float):
            return cast("type[int]", self.type)(default)
        return self.from_value(default)

    def _call(self, function: Callable[[ParameterContext], Any], context: ParameterContext) -> Any:
        try:
            value = function(context)
        except Exception as error:
            raise FlowDefinitionError(
                f"{self.place(context.flow_name)}: the default function raised {type(error).__name__}: {error}"
            ) from error
        exact = self.type in _PARSERS
        if value is None or (exact and type(value) is self.type and self.separator is None):
            return value
        try:
            if not exact or self.separator is not None:
                return self.from_value(value)
        except ParameterError:
            pass
        raise FlowDefinitionError(
            f"{self.place(context.flow_name)}: the default function returned {value!r}, "
            f"but the parameter takes {self._takes()}."
        )

    def place(self, flow_name: str) -> str:
        return f"Parameter {self.name!r} of {self.owner or flow_name} (self.{self.attribute})"

    def check(self, flow_name: str) -> None:
        """Raises ``FlowDefinitionError`` for a definition that can't work."""
        plain = self.name.replace("-", "_")
        if not plain.isidentifier():
            raise FlowDefinitionError(
                f"{self.place(flow_name)}: a parameter's name has letters, digits, '_' and '-' only."
            )
        if plain.lower() in _RESERVED:
            raise FlowDefinitionError(f"{self.place(flow_name)}: the name is reserved. Choose another.")
        if self.attribute in _METHODS:
            raise FlowDefinitionError(
                f"{self.place(flow_name)}: every flow has an attribute {self.attribute!r}. Assign it to another one."
            )
        if self.separator is not None and self.type is not str:
            raise FlowDefinitionError(f"{self.place(flow_name)}: only a parameter of type str can have a separator.")
        if self.type not in _CHECKS and self.type not in _JSON_TYPES:
            raise FlowDefinitionError(
                f"{self.place(flow_name)}: the type {self.type!r} isn't one of str, int, float, bool, JSONType."
            )
        unknown = sorted(self.options.keys() - _IGNORED)
        if unknown:
            raise FlowDefinitionError(
                f"{self.place(flow_name)}: unknown option {unknown[0]!r}. A parameter takes name, default, type, help, "
                "required, show_default, separator."
            )


# -- types -----------------------------------------------------------------------------------------


def _type_of(default: object) -> Type:
    if isinstance(default, bool | int | float | str):
        return type(default)
    return JSONType if isinstance(default, dict | list | tuple) else str


_TRUE = frozenset({"true", "t", "1", "yes", "y", "on"})
_FALSE = frozenset({"false", "f", "0", "no", "n", "off"})


def _bool(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(text)


def _json(text: str, kind: Type) -> Any:
    import json

    return _of_kind(json.loads(text), kind)


def _checked_json(value: Any, kind: Type) -> Any:
    import json

    json.dumps(value)
    return _of_kind(value, kind)


def _of_kind(value: Any, kind: Type) -> Any:
    if isinstance(kind, type) and not isinstance(value, kind):
        raise ValueError(value)
    return value


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(text, str) for text in cast("list[object]", value))


def _checked_bool(value: Any) -> bool:
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):  # numpy's own
        return bool(value)
    raise TypeError


def _checked_int(value: Any) -> int:
    from operator import index

    if isinstance(value, bool):
        raise TypeError
    return index(value)


def _checked_float(value: Any) -> float:
    if isinstance(value, bool | str | bytes):
        raise TypeError
    return float(value)


def _checked_str(_: Any) -> str:
    raise TypeError  # a str has been dealt with


_PARSERS: dict[Any, Callable[[str], Any]] = {str: str, int: int, float: float, bool: _bool}
_CHECKS: dict[Any, Callable[[Any], Any]] = {
    str: _checked_str,
    int: _checked_int,
    float: _checked_float,
    bool: _checked_bool,
}
_JSON_TYPES = (JSONType, list, dict)
_IGNORED = frozenset({"hidden", "metavar"})
"""What Metaflow hands on to its command line and has no meaning here."""
_TAKES: dict[Any, str] = {
    list: "a JSON list",
    dict: "a JSON object",
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false (also yes/no, on/off, 1/0)",
}
_TYPE_NAMES: dict[Any, str] = {str: "TEXT", int: "INTEGER", float: "FLOAT", bool: "BOOLEAN"}


# -- files -----------------------------------------------------------------------------------------


class IncludeFile(Parameter):
    """A file that travels with the run: the value that is given is its path, in steps it is its content.

    Text (of ``encoding``, UTF-8 unless given) or, with ``is_text=False``, bytes. ``parser``, a function or its
    dotted name, is applied to the content where a step reads it.
    """

    def __init__(
        self,
        name: str,
        default: Any = None,
        is_text: bool | None = None,
        encoding: str | None = None,
        required: bool | None = None,
        help: str | None = None,  # noqa: A002 - Metaflow's name
        show_default: bool | None = None,
        parser: str | Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, default, str, help, required, show_default, **options)
        self.is_text = is_text is not False
        self.encoding = encoding or "utf-8"
        self.parser = parser

    @property
    def type_name(self) -> str:
        return "FILE"

    def from_text(self, text: str) -> str | bytes:
        return self._read(text)

    def from_value(self, value: Any) -> str | bytes:
        import os

        if isinstance(value, str | os.PathLike):
            return self._read(os.fspath(cast("str | os.PathLike[str]", value)))
        raise self.wrong(f"{value!r} of type {type(value).__name__}")

    def _read(self, path: str) -> str | bytes:
        from pathlib import Path

        try:
            content = Path(path).expanduser().read_bytes()
        except OSError as error:
            raise ParameterError(
                f"Parameter {self.name!r}: the file {path!r} can't be read: {error.strerror}."
            ) from error
        if not self.is_text:
            return content
        try:
            return content.decode(self.encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise ParameterError(
                f"Parameter {self.name!r}: the file {path!r} isn't text in {self.encoding}: {error}. "
                "IncludeFile takes encoding=... for other texts and is_text=False for bytes."
            ) from error

    def default_value(self, context: ParameterContext) -> Any:
        path = self._call(self.default, context) if callable(self.default) else self.default
        # A default file that isn't there is as if the user had named it: the run can't start.
        return None if path is None else self.from_value(path)

    def _takes(self) -> str:
        return "the path of a file"

    @overload
    def __get__(self, flow: None, owner: type) -> Self: ...
    @overload
    def __get__(self, flow: FlowSpec, owner: type) -> Any: ...
    def __get__(self, flow: FlowSpec | None, owner: type) -> Any:
        content = super().__get__(flow, owner)
        if flow is None or self.parser is None or content is self or content is None:
            return content
        parsed = flow._asyncflow.parsed
        if self.attribute not in parsed:
            parsed[self.attribute] = self._parser()(content)
        return parsed[self.attribute]

    def _parser(self) -> Callable[[Any], Any]:
        if callable(self.parser):
            return self.parser
        from importlib import import_module

        module, _, function = str(self.parser).rpartition(".")
        return cast("Callable[[Any], Any]", getattr(import_module(module or "builtins"), function))


# -- a flow's parameters ---------------------------------------------------------------------------


def flow_parameters(flow_class: type) -> dict[str, Parameter]:
    """The parameters of a flow by attribute, those of base classes first, each where it is defined first.

    Attributes that begin with ``_`` are none. Raises ``FlowDefinitionError`` for one that can't work and for
    two of one name (upper and lower case are the same here).
    """
    found: dict[str, Parameter] = {}
    for owner in reversed(flow_class.__mro__):
        for attribute, value in vars(owner).items():
            if isinstance(value, Parameter) and not attribute.startswith("_"):
                found[attribute] = value
            else:
                found.pop(attribute, None)
    names: dict[str, Parameter] = {}
    for parameter in found.values():
        parameter.check(flow_class.__name__)
        other = names.setdefault(parameter.name.lower(), parameter)
        if other is not parameter:
            raise FlowDefinitionError(
                f"{parameter.place(flow_class.__name__)} has the name of {other.place(flow_class.__name__)}; names of "
                "parameters are unique, and upper and lower case are the same. Rename one."
            )
    return found


def resolve_parameters(
    flow_class: type[FlowSpec],
    given: Mapping[str, Any],
    *,
    from_strings: bool = False,
    user_name: str | None = None,
    logger: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The values that a run starts with, by attribute.

    ``given`` has values by parameter name, an underscore for a ``-`` allowed: texts of a command line with
    ``from_strings``, else Python values. What isn't given (or is None) comes from the environment, then from
    the default.

    Raises ``ParameterError`` for an unknown name, a wrong type or a missing value.
    """
    parameters = flow_parameters(flow_class)
    values = _by_attribute(flow_class, parameters, given)
    missing = [name for name in parameters if values.get(name) is None and _environment(parameters[name]) is None]
    required = [parameters[name].name for name in missing if parameters[name].required]
    if required:
        options = ", ".join(f"--{name}" for name in required)
        raise ParameterError(f"{flow_class.__name__} needs a value for {options}.")
    for name, parameter in parameters.items():
        value = values.get(name)
        if value is not None:
            values[name] = parameter.from_text(value) if from_strings else parameter.from_value(value)
        elif name not in missing:
            values[name] = _from_environment(parameter)
        else:
            values[name] = parameter.default_value(_context(flow_class, parameter, user_name, logger))
    return {name: values[name] for name in parameters}


def _by_attribute(flow_class: type, parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    names = {attribute: attribute for attribute in parameters}
    names.update({parameter.name.replace("-", "_"): attribute for attribute, parameter in parameters.items()})
    names.update({parameter.name: attribute for attribute, parameter in parameters.items()})
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in names:
            raise ParameterError(_unknown(flow_class.__name__, name, [each.name for each in parameters.values()]))
        values[names[name]] = value
    return values


def _unknown(flow_name: str, name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    if not known:
        return f"{flow_name} has no parameter {name!r}; it has none at all."
    close = get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"It has {', '.join(known)}."
    return f"{flow_name} has no parameter {name!r}. {hint}"


def _environment(parameter: Parameter) -> str | None:
    from asyncflow.settings import run_parameter

    return run_parameter(parameter.name)


def _from_environment(parameter: Parameter) -> Any:
    text = _environment(parameter) or ""
    try:
        return parameter.from_text(text)
    except ParameterError as error:
        variable = "ASYNCFLOW_RUN_" + parameter.name.upper().replace("-", "_")
        raise ParameterError(f"{error.message} The value comes from the variable {variable}.") from error


def _context(
    flow_class: type, parameter: Parameter, user_name: str | None, logger: Callable[[str], None] | None
) -> ParameterContext:
    from asyncflow.settings import username

    return ParameterContext(
        flow_name=flow_class.__name__,
        user_name=user_name or username(),
        parameter_name=parameter.name,
        logger=logger or print,
    )
