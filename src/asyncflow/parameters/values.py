"""A flow's parameters, and the values that a run starts with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from asyncflow.errors import FlowDefinitionError, ParameterError
from asyncflow.parameters.parameter import Parameter, ParameterContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncflow.flow import FlowSpec


def flow_parameters(flow_class: type) -> dict[str, Parameter]:
    """The parameters of a flow by attribute, those of base classes first, each class's in the order of its source.

    Attributes that begin with ``_`` are none. Raises ``FlowDefinitionError`` for one that can't work and for
    two of one name (upper and lower case are the same here).
    """
    flow_name = flow_class.__name__
    found: dict[str, Parameter] = {}
    for owner in reversed(flow_class.__mro__):
        for attribute, value in vars(owner).items():
            if isinstance(value, Parameter) and not attribute.startswith("_"):
                found[attribute] = value
            else:
                found.pop(attribute, None)
    names: dict[str, Parameter] = {}
    for parameter in found.values():
        parameter.check(flow_name)
        other = names.setdefault(_plain(parameter.name).lower(), parameter)
        if other is not parameter:
            raise FlowDefinitionError(
                f"{parameter.place(flow_name)} has the name of {other.place(flow_name)}: names of parameters are "
                "unique, and upper and lower case are the same. Rename one."
            )
    return found


def resolve_parameters(
    flow_class: type[FlowSpec],
    given: Mapping[str, Any],
    *,
    from_strings: bool = False,
    user_name: str | None = None,
    logger: Callable[[str], None] = print,
) -> dict[str, Any]:
    """The values that a run starts with, by attribute.

    ``given`` has values by parameter name (where that has a ``-``, an ``_`` will do): texts of a command line
    with ``from_strings``, else Python values. What isn't given, or is None, comes from the environment, then
    from the default. ``logger`` is for default functions.

    Raises ``ParameterError`` for an unknown name, a wrong type or a missing value.
    """
    parameters = flow_parameters(flow_class)
    chosen = _by_attribute(flow_class.__name__, parameters, given)
    values: dict[str, Any] = {}
    missing: list[str] = []
    for attribute, parameter in parameters.items():
        value = chosen.get(attribute)
        if value is not None:
            values[attribute] = parameter.from_text(value) if from_strings else parameter.from_value(value)
        elif (text := _environment(parameter)) is not None:
            values[attribute] = _from_environment(parameter, text)
        elif parameter.required:
            missing.append(f"--{parameter.name}")
        else:
            context = _context(flow_class.__name__, parameter, user_name, logger)
            values[attribute] = parameter.default_value(context)
    if missing:
        raise ParameterError(f"{flow_class.__name__} needs a value for {', '.join(missing)}.")
    return values


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _by_attribute(flow_name: str, parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    # A name as it is written goes before one that only sounds like it.
    names = {attribute: attribute for attribute in parameters}
    names.update({_plain(parameter.name): attribute for attribute, parameter in parameters.items()})
    names.update({parameter.name: attribute for attribute, parameter in parameters.items()})
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in names:
            _refuse(flow_name, name, [parameter.name for parameter in parameters.values()])
        values[names[name]] = value
    return values


def _refuse(flow_name: str, name: str, known: list[str]) -> NoReturn:
    from difflib import get_close_matches

    if not known:
        raise ParameterError(f"{flow_name} has no parameter {name!r}; it has none at all.")
    close = get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"It has {', '.join(known)}."
    raise ParameterError(f"{flow_name} has no parameter {name!r}. {hint}")


def _environment(parameter: Parameter) -> str | None:
    from asyncflow.settings import run_parameter

    return run_parameter(parameter.name)


def _from_environment(parameter: Parameter, text: str) -> Any:
    try:
        return parameter.from_text(text)
    except ParameterError as error:
        variable = "ASYNCFLOW_RUN_" + _plain(parameter.name).upper()
        raise ParameterError(f"{error.message} The value comes from the variable {variable}.") from error


def _context(
    flow_name: str, parameter: Parameter, user_name: str | None, logger: Callable[[str], None]
) -> ParameterContext:
    from asyncflow.settings import username

    return ParameterContext(
        flow_name=flow_name, user_name=user_name or username(), parameter_name=parameter.name, logger=logger
    )
