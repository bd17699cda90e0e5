"""Flow classes from files, modules and pickles, and back to where they came from."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from asyncflow.errors import FlowNotFound
from asyncflow.events import FlowSource, SourceKind
from asyncflow.flow import FlowSpec, without_command_line

if TYPE_CHECKING:
    from types import ModuleType

    from asyncflow.graph import FlowGraph

_GRAPH = "_asyncflow_graph"


def load_flow(source: FlowSource) -> type[FlowSpec]:
    """The flow class that ``source`` names; what was imported before isn't imported again.

    Raises ``FlowNotFound``, and what importing raises.
    """
    sys.path.extend(folder for folder in source.search_path if folder not in sys.path)
    if source.kind is SourceKind.PICKLE:
        import pickle

        with without_command_line():
            return cast("type[FlowSpec]", pickle.loads(source.payload))
    if source.kind is SourceKind.FILE:
        module = _import_file(source.location)
    else:
        with without_command_line():
            module = import_module(source.location)
    found = _at(module, source.qualname)
    if not _is_flow(found):
        raise FlowNotFound(f"{source.location} has no flow {source.qualname}.")
    return cast("type[FlowSpec]", found)


def graph_of(flow_class: type[FlowSpec]) -> FlowGraph:
    """The graph of a loaded flow. That of a class that travelled as a pickle, whose source isn't here, came along.

    Raises ``GraphError`` where there is no source to read.
    """
    from asyncflow.graph import FlowGraph

    encoded = vars(flow_class).get(_GRAPH)
    return FlowGraph.of(flow_class) if encoded is None else FlowGraph.from_json(encoded)


def source_of(flow_class: type[FlowSpec]) -> FlowSource:
    """Where another process finds ``flow_class``.

    A class of ``__main__`` with a file is found in that file; one of a notebook, or made in a function,
    travels as a pickle.
    """
    name, qualname = flow_class.__module__, flow_class.__qualname__
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    if "<locals>" in qualname or not isinstance(path, str) or _at(module, qualname) is not flow_class:
        return _pickled(flow_class)
    path = os.path.abspath(path)  # noqa: PTH100 - symlinks stay as the user wrote them
    if name == "__main__" or _stem(path) == name:
        if getattr(module, "__spec__", None) is not None and name == "__main__":
            # python -m package.flow: relative imports work under the module's own name only.
            spec_name = cast("str", module.__spec__.name)  # type: ignore[union-attr]
            return FlowSource(SourceKind.MODULE, spec_name, qualname, _search_path())
        return FlowSource(SourceKind.FILE, path, qualname, _search_path())
    return FlowSource(SourceKind.MODULE, name, qualname, _search_path())


def _at(module: ModuleType | None, qualname: str) -> object:
    found: Any = module
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def _search_path() -> tuple[str, ...]:
    return tuple(os.path.abspath(folder) for folder in sys.path if not folder or os.path.isdir(folder))  # noqa: PTH100, PTH112


def _pickled(flow_class: type[FlowSpec]) -> FlowSource:
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    setattr(flow_class, _GRAPH, graph_of(flow_class).to_json())
    try:
        payload: bytes = cloudpickle.dumps(flow_class, 5)  # pyright: ignore[reportUnknownMemberType]
    finally:
        delattr(flow_class, _GRAPH)
    return FlowSource(SourceKind.PICKLE, flow_class.__module__, flow_class.__qualname__, _search_path(), payload)


def _stem(path: str) -> str:
    return os.path.basename(path).removesuffix(".py")  # noqa: PTH119


def _is_flow(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, FlowSpec) and candidate is not FlowSpec


# -- files -----------------------------------------------------------------------------------------


def find_flow(path: str, class_name: str | None = None) -> type[FlowSpec]:
    """The flow in the file ``path``: its only one, or the one called ``class_name``.

    Raises ``FlowNotFound``, whose message says what to do.
    """
    full = os.path.abspath(path)  # noqa: PTH100 - symlinks stay as the user wrote them
    if os.path.isdir(full):  # noqa: PTH112
        raise FlowNotFound(f"{path} is a directory. Name the file of a flow.")
    if not os.path.isfile(full):  # noqa: PTH113
        raise FlowNotFound(f"There is no file {path}.{_meant(full)}")
    module = _import_reporting(path, full)
    flows = {
        name: flow
        for name, flow in vars(module).items()
        if _is_flow(flow) and flow.__module__ == module.__name__ and not name.startswith("_")
    }
    if class_name is not None:
        chosen = getattr(module, class_name, None)
        if not _is_flow(chosen):
            there = f"It has {', '.join(flows)}." if flows else "It has no flow at all."
            raise FlowNotFound(f"{path} has no flow {class_name}. {there}")
        return cast("type[FlowSpec]", chosen)
    if not flows:
        raise FlowNotFound(f"{path} has no flow: no class in it is a subclass of FlowSpec.")
    if len(flows) > 1:
        first = next(iter(flows))
        raise FlowNotFound(f"{path} has several flows: {', '.join(flows)}. Name one, as in {path}:{first}.")
    return next(iter(flows.values()))


def _meant(full: str) -> str:
    from difflib import get_close_matches

    folder, name = os.path.split(full)
    try:
        close = get_close_matches(name, [each for each in os.listdir(folder) if each.endswith(".py")], n=1)  # noqa: PTH208
    except OSError:
        return ""
    return f" Did you mean {close[0]}?" if close else ""


def _import_reporting(path: str, full: str) -> ModuleType:
    try:
        return _import_file(full)
    except FlowNotFound:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        from asyncflow.tracebacks import traceback_text

        raise FlowNotFound(f"{path} can't be imported.\n\n{traceback_text(error)}") from error


def _import_file(full: str) -> ModuleType:
    """The module of a file, under its stem, with its directory first on the path: as if it had been run."""
    folder, stem = os.path.dirname(full), _stem(full)  # noqa: PTH120
    if folder not in sys.path:
        sys.path.insert(0, folder)
    known = sys.modules.get(stem)
    if known is not None and _same_file(known, full):
        return known
    main = sys.modules.get("__main__")
    if main is not None and _same_file(main, full):
        return main
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(stem, full)
    if spec is None or spec.loader is None:
        raise FlowNotFound(f"{full} is no Python file.")
    module = module_from_spec(spec)
    sys.modules[stem] = module
    try:
        with without_command_line():
            spec.loader.exec_module(module)
    except BaseException:
        if known is None:
            del sys.modules[stem]
        else:
            sys.modules[stem] = known
        raise
    return module


def _same_file(module: ModuleType, full: str) -> bool:
    path = getattr(module, "__file__", None)
    return isinstance(path, str) and os.path.abspath(path) == full  # noqa: PTH100
