"""``IncludeFile``."""

# The modules of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, overload

from asyncflow.errors import ParameterError
from asyncflow.parameters.parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from asyncflow.flow import FlowSpec
    from asyncflow.parameters.parameter import ParameterContext


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
        path = self._called(self.default, context) if callable(self.default) else self.default
        # A default file that isn't there is as if the user had named it: the run can't start.
        return None if path is None else self.from_value(path)

    @property
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
            parsed[self.attribute] = self._parser(type(flow))(content)
        return parsed[self.attribute]

    def _parser(self, flow_class: type) -> Callable[[Any], Any]:
        if callable(self.parser):
            return self.parser
        import builtins
        from importlib import import_module

        place, _, function = str(self.parser).rpartition(".")
        # A name without a module is one of the flow's file, or a built-in.
        found = getattr(import_module(place or flow_class.__module__), function, None)
        return cast("Callable[[Any], Any]", found or getattr(builtins, function))
