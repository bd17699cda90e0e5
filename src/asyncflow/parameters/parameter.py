"""``Parameter``."""

# The modules of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, overload

from msgspec import Struct

from asyncflow.errors import FlowDefinitionError, ParameterError
from asyncflow.parameters.types import EXACT, KINDS, Kind, Type, is_texts, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from asyncflow.flow import FlowSpec

RESERVED = frozenset(
    {
        *("params", "with", "tag", "tags", "namespace", "obj", "decospecs", "run_id", "task_id", "run_id_file"),
        *("max_workers", "max_num_splits", "max_log_size", "user_namespace", "runner_attribute_file"),
    }
)
"""Names that no parameter can have, nor their spellings with dashes: options of every flow's command line."""
_PARTS = frozenset({"next", "index", "input", "foreach_stack", "merge_artifacts"})
_WITHOUT_MEANING = frozenset({"hidden", "metavar"})
"""What flows hand on to Metaflow's command line and has no meaning here."""


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
    """The class that defines it, for messages."""

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
        self.type: Type = type if type is not None else type_of(default)

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
        raise AttributeError(f"{self.attribute!r} is a parameter and can't be assigned.")

    # -- for the command line ----------------------------------------------------------------------

    @property
    def type_name(self) -> str:
        """As the help shows it: ``TEXT INTEGER FLOAT BOOLEAN JSON FILE``."""
        return self._kind.label

    @property
    def default_text(self) -> str | None:
        """The default as the help shows it, None where there is none to show or it is a function."""
        if self.default is None or not self.show_default or callable(self.default):
            return None
        return str(self.default)

    # -- values ------------------------------------------------------------------------------------

    def from_text(self, text: str) -> Any:
        """The value of what was written on a command line. Raises ``ParameterError``."""
        if self.separator is not None and text:
            return text.split(self.separator)
        try:
            return self._kind.read(text)
        except (TypeError, ValueError):
            raise self.wrong(repr(text)) from None

    def from_value(self, value: Any) -> Any:
        """The value of what was given in Python. Raises ``ParameterError``."""
        if self.separator is not None:
            if is_texts(value):
                return list(value)
            if isinstance(value, str):
                return self.from_text(value)
        try:
            return self._kind.check(value)
        except (TypeError, ValueError, OverflowError):
            raise self.wrong(f"{value!r} of type {type(value).__name__}") from None

    def default_value(self, context: ParameterContext) -> Any:
        """Raises ``FlowDefinitionError`` where the default isn't of the parameter's type."""
        if callable(self.default):
            return self._called(self.default, context)
        try:
            return self._plain(self.default)
        except ParameterError as error:
            raise self._wrong_default(context, f"the default is {self.default!r}") from error

    def wrong(self, given: str) -> ParameterError:
        """The error for a value that was given."""
        return ParameterError(f"Parameter {self.name!r} takes {self._takes}, not {given}.")

    @property
    def _kind(self) -> Kind:
        return KINDS[self.type]

    @property
    def _takes(self) -> str:
        return self._kind.takes if self.separator is None else f"texts separated by {self.separator!r}"

    def _plain(self, default: Any) -> Any:
        if default is None:
            return None
        if isinstance(default, str):
            return self.from_text(default)
        if isinstance(default, bool) and self.type in (int, float):
            return cast("type[int]", self.type)(default)
        return self.from_value(default)

    def _called(self, function: Callable[[ParameterContext], Any], context: ParameterContext) -> Any:
        try:
            value = function(context)
        except Exception as error:
            raise FlowDefinitionError(
                f"{self.place(context.flow_name)}: the default function raised {type(error).__name__}: {error}"
            ) from error
        if value is None or (type(value) is self.type and self.separator is None):
            return value
        try:
            if self.type not in EXACT or self.separator is not None:
                return self.from_value(value)
        except ParameterError:
            pass
        raise self._wrong_default(context, f"the default function returned {value!r}")

    def _wrong_default(self, context: ParameterContext, what: str) -> FlowDefinitionError:
        return FlowDefinitionError(f"{self.place(context.flow_name)}: {what}, but the parameter takes {self._takes}.")

    # -- definition --------------------------------------------------------------------------------

    def place(self, flow_name: str) -> str:
        """Where it is defined, for messages."""
        return f"Parameter {self.name!r} of {self.owner or flow_name} (self.{self.attribute})"

    def check(self, flow_name: str) -> None:
        """Raises ``FlowDefinitionError`` for a definition that can't work."""
        problem = self._problem()
        if problem:
            raise FlowDefinitionError(f"{self.place(flow_name)}: {problem}.")

    def _problem(self) -> str:
        plain = self.name.replace("-", "_") if isinstance(cast("object", self.name), str) else ""
        if not plain.isidentifier():
            return "its name must be made of letters, digits, '_' and '-', and not begin with a digit"
        if plain.lower() in RESERVED:
            return "its name is that of an option which every flow has. Choose another"
        if self.attribute in _PARTS:
            return f"every flow has an attribute {self.attribute!r} already. Assign the parameter to another one"
        if self.type not in KINDS:
            return f"its type {self.type!r} isn't one of str, int, float, bool, JSONType"
        if self.separator is not None and self.type is not str:
            return "only a parameter of type str can have a separator"
        unknown = sorted(self.options.keys() - _WITHOUT_MEANING)
        return f"it has an unknown option {unknown[0]!r}" if unknown else ""
