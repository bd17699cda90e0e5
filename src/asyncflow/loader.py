"""Flow classes from files, modules and pickles, and back to where they came from.

A flow file is imported under its stem, with its directory first on the path, wherever it is run: so what a step
pickles is found again by the next one.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeGuard

from asyncflow.errors import FlowNotFound
from asyncflow.events import FlowSource, SourceKind
from asyncflow.flow import FlowSpec, without_command_line

if TYPE_CHECKING:
    from types import ModuleType

    from asyncflow.graph import FlowGraph

_GRAPH = "_asyncflow_graph"
_files: dict[str, str] = {}
"""The flow files that were imported here, by their stems."""


def load_flow(source: FlowSource) -> type[FlowSpec]:
    """The flow class that ``source`` names; what was imported before isn't imported again.

    Raises ``FlowNotFound``, and what importing raises.
    """
    sys.path.extend(folder for folder in source.search_path if folder not in sys.path)
    with without_command_line():
        if source.kind is SourceKind.PICKLE:
            import pickle

            found: object = pickle.loads(source.payload)
        elif source.kind is SourceKind.FILE:
            found = _attribute(_import_file(source.location), source.qualname)
        else:
            found = _attribute(import_module(source.location), source.qualname)
    if not _is_flow(found):
        raise FlowNotFound(f"{source.location} has no flow {source.qualname}.")
    return found


def graph_of(flow_class: type[FlowSpec]) -> FlowGraph:
    """The graph of a loaded flow. With a class that travelled as a pickle, whose source may not be here, it came along.

    Raises ``GraphError`` where there is no source to read.
    """
    from asyncflow.graph import FlowGraph

    encoded = vars(flow_class).get(_GRAPH)
    return FlowGraph.of(flow_class) if encoded is None else FlowGraph.from_json(encoded)


def source_of(flow_class: type[FlowSpec]) -> FlowSource:
    """Where another process finds ``flow_class``.

    A class of a script is found in that file, one of a package under its name; one of a notebook, or one that a
    function made, travels as a pickle.
    """
    name, qualname = flow_class.__module__, flow_class.__qualname__
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    if "<locals>" in qualname or not _is_file(path) or _attribute(module, qualname) is not flow_class:
        return _pickled(flow_class)
    spec = getattr(module, "__spec__", None)
    if name == "__main__" and spec is not None:
        # python -m package.flow: relative imports work under the module's own name only.
        return FlowSource(SourceKind.MODULE, str(spec.name), qualname, _search_path())
    path = _absolute(path)
    if name in ("__main__", _stem(path)):
        return FlowSource(SourceKind.FILE, path, qualname, _search_path())
    return FlowSource(SourceKind.MODULE, name, qualname, _search_path())


def _is_file(path: object) -> TypeGuard[str]:
    return isinstance(path, str) and os.path.isfile(path)  # noqa: PTH113 - pathlib is an import more


def _pickled(flow_class: type[FlowSpec]) -> FlowSource:
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    setattr(flow_class, _GRAPH, graph_of(flow_class).to_json())
    payload: bytes = cloudpickle.dumps(flow_class, 5)  # pyright: ignore[reportUnknownMemberType]
    return FlowSource(SourceKind.PICKLE, flow_class.__module__, flow_class.__qualname__, _search_path(), payload)


def _search_path() -> tuple[str, ...]:
    return tuple(_absolute(entry) for entry in sys.path if os.path.exists(entry or "."))  # noqa: PTH110 - an import less


def _attribute(module: ModuleType | None, qualname: str) -> object:
    found: object = module
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def _is_flow(candidate: object) -> TypeGuard[type[FlowSpec]]:
    return isinstance(candidate, type) and issubclass(candidate, FlowSpec) and candidate is not FlowSpec


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - symlinks stay as the user wrote them


def _stem(path: str) -> str:
    return os.path.basename(path).removesuffix(".py")  # noqa: PTH119 - an import less


# -- the file that a user names --------------------------------------------------------------------


def find_flow(path: str, class_name: str | None = None) -> type[FlowSpec]:
    """The flow in the file ``path``: its only one, or the one called ``class_name``.

    A class that another flow of the file inherits from counts only when it is named.
    Raises ``FlowNotFound``, whose message says what to do.
    """
    full = _absolute(path)
    if os.path.isdir(full):  # noqa: PTH112 - an import less
        raise FlowNotFound(f"{path} is a directory. Name the file of a flow.")
    if not os.path.isfile(full):  # noqa: PTH113 - likewise
        if os.path.exists(full):  # noqa: PTH110 - likewise
            raise FlowNotFound(
                f"{path} is a pipe or a device, not a regular file. The workers read the flow's file too."
            )
        raise FlowNotFound(f"There is no file {path}.{_meant(full)}")
    module = _import_reporting(path, full)
    flows = _flows(module)
    if class_name is not None:
        chosen: Any = getattr(module, class_name, None)
        if not _is_flow(chosen):
            there = f"It has {', '.join(flows)}." if flows else "It has no flow at all."
            raise FlowNotFound(f"{path} has no flow {class_name}. {there}")
        return chosen
    if not flows:
        raise FlowNotFound(f"{path} has no flow: no class in it is a subclass of asyncflow.FlowSpec.")
    if len(flows) > 1:
        raise FlowNotFound(f"{path} has several flows: {', '.join(flows)}. Name one, as in {path}:{next(iter(flows))}.")
    return next(iter(flows.values()))


def _flows(module: ModuleType) -> dict[str, type[FlowSpec]]:
    """The flows that are defined in ``module``, or, where there are none, those that it imports."""
    every = {name: flow for name, flow in vars(module).items() if _is_flow(flow)}
    own = {name: flow for name, flow in every.items() if flow.__module__ == module.__name__}
    flows = own or every
    bases = {base for flow in flows.values() for base in flow.__mro__[1:]}
    return {name: flow for name, flow in flows.items() if flow not in bases}


def _meant(full: str) -> str:
    from difflib import get_close_matches

    folder, name = os.path.split(full)
    try:
        files = [each for each in os.listdir(folder) if each.endswith(".py")]  # noqa: PTH208 - likewise
    except OSError:
        return ""
    close = get_close_matches(name, files, n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _import_reporting(path: str, full: str) -> ModuleType:
    try:
        return _import_file(full)
    except (FlowNotFound, KeyboardInterrupt):
        raise
    except BaseException as error:
        from asyncflow.tracebacks import traceback_text

        raise FlowNotFound(f"{path} can't be imported:\n\n{traceback_text(error).rstrip()}") from error


def _import_file(full: str) -> ModuleType:
    """The module of a file, under its stem, with its directory first on the path: as if it had been run."""
    folder, stem = os.path.dirname(full), _stem(full)  # noqa: PTH120 - an import less
    if folder not in sys.path:
        sys.path.insert(0, folder)
    known = sys.modules.get(stem)
    for module in (known, sys.modules.get("__main__")):
        if module is not None and _is_of(module, full):
            return module
    if known is not None and stem not in _files:
        place = getattr(known, "__file__", None) or "Python itself"
        raise FlowNotFound(f"{full} has the name of a module that is in use, that of {place}. Rename the file.")
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(stem, full)
    if spec is None or spec.loader is None:
        raise FlowNotFound(f"{full} is not a Python file.")
    module = sys.modules[stem] = module_from_spec(spec)
    try:
        with without_command_line():
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[stem]
        if known is not None:
            sys.modules[stem] = known
        raise
    _files[stem] = full
    return module


def _is_of(module: ModuleType, full: str) -> bool:
    path = getattr(module, "__file__", None)
    return isinstance(path, str) and _absolute(path) == full
