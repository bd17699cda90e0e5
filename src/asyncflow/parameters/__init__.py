"""``Parameter``, ``IncludeFile``, ``JSONType``, and where a run's values come from.

A value is what the command line or ``Engine.run`` gives, else the variable ``ASYNCFLOW_RUN_<NAME>``, else
the default. It is settled once, before the run starts, and is then an artifact that nothing can change.
"""

from asyncflow.parameters.files import IncludeFile
from asyncflow.parameters.parameter import Parameter, ParameterContext
from asyncflow.parameters.types import JSONType
from asyncflow.parameters.values import flow_parameters, resolve_parameters

__all__ = ["IncludeFile", "JSONType", "Parameter", "ParameterContext", "flow_parameters", "resolve_parameters"]
