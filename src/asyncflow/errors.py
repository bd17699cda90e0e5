"""The whole exception tree.

An error message says what happened, where (flow, step, task, ``file:line``), and what to do now.
``AsyncflowError`` is the root; flows that were written for Metaflow know it as ``MetaflowException``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncflow.events import Failure


class AsyncflowError(Exception):
    """Root of all errors that asyncflow raises on purpose."""

    headline = "Flow failed"

    def __init__(self, message: str = "", lineno: int | None = None) -> None:
        self.message = str(message)
        self.line_no = lineno
        super().__init__(message)


# -- said before a run starts ----------------------------------------------------------------------


class UsageError(AsyncflowError):
    """What the user asked for can't be done as asked; the command line exits with 2."""

    headline = "Usage error"


class FlowNotFound(UsageError):
    """The file has no flow, several flows, or doesn't import."""


class ParameterError(UsageError):
    """A value for a parameter is missing or has the wrong type."""


class FlowDefinitionError(AsyncflowError):
    """A parameter, decorator or class is defined in a way that can't work."""

    headline = "Invalid flow"


class GraphError(FlowDefinitionError):
    """The step graph has problems; ``problems`` holds all of them."""

    headline = "Validity checks failed"

    def __init__(self, message: str, problems: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


# -- raised inside steps ---------------------------------------------------------------------------


class InvalidNextException(AsyncflowError):
    """``self.next`` was called in a way that doesn't agree with the graph."""

    headline = "Invalid self.next() transition detected"


class InvalidForeach(AsyncflowError):
    """The foreach variable is missing, empty, not iterable, or too wide."""

    headline = "Invalid foreach"


class UnserializableArtifact(AsyncflowError):
    """An artifact can't be pickled; the message names it, its type and the member at fault."""

    headline = "Artifact can't be persisted"


class _MergeError(AsyncflowError):
    headline = "Merge artifacts"

    def __init__(self, message: str, artifact_names: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.artifact_names = list(artifact_names)


class UnhandledInMergeArtifactsException(_MergeError):
    """Branches disagree about artifacts that the join neither set nor excluded."""

    headline = "Unhandled artifacts in merge"


class MissingInMergeArtifactsException(_MergeError):
    """``include`` names artifacts that no branch has."""

    headline = "Missing artifacts in merge"


class MetaflowExceptionWrapper(Exception):
    """An exception that a step raised, as text: it can be read where its class can't be imported.

    ``str()`` is the traceback.
    """

    def __init__(self, exception: str, type: str = "", stacktrace: str = "") -> None:  # noqa: A002 - Metaflow's name
        self.exception = exception
        """What it said: ``no such carrier``."""
        self.type = type
        """Its class: ``builtins.ValueError``."""
        self.stacktrace = stacktrace
        super().__init__(exception, type, stacktrace)

    def __str__(self) -> str:
        return self.stacktrace or self.exception


# -- how a run ends --------------------------------------------------------------------------------


class RunFailed(AsyncflowError):
    """A run didn't succeed; ``pathspec`` names the run, ``failure`` what failed first."""

    headline = "Run failed"

    def __init__(self, message: str, pathspec: str, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.pathspec = pathspec
        self.failure = failure


class RunCancelled(RunFailed):
    """The run was cancelled before it ended."""

    headline = "Run cancelled"


class ExecutorError(AsyncflowError):
    """An executor can't start or go on."""

    headline = "Executor failed"


# -- stores ----------------------------------------------------------------------------------------


class StoreError(AsyncflowError):
    """The store can't be read or written: full, read-only, busy."""

    headline = "Store failed"


class StoreVersionError(StoreError):
    """The store was written by a newer asyncflow."""


class BlobNotFound(StoreError):
    """A blob that a manifest names isn't in the store."""


class BlobDamaged(StoreError):
    """A blob's content doesn't have the hash that its key says."""


class RunExists(StoreError):
    """There is a run of that id already: two engines started in the same microsecond. Take another id."""


class StaleEpoch(StoreError):
    """Another engine has taken over the run; this one must stop."""


# -- client ----------------------------------------------------------------------------------------


class MetaflowNotFound(AsyncflowError):
    """No such flow, run, step, task or artifact."""

    headline = "Object not found"


class MetaflowNamespaceMismatch(AsyncflowError):
    """The object exists in another namespace."""

    headline = "Object not in the current namespace"


class MetaflowInvalidPathspec(AsyncflowError):
    """A pathspec with the wrong number of parts."""

    headline = "Invalid pathspec"


class MetaflowTaggingError(AsyncflowError):
    """A tag that can't be added or removed."""

    headline = "Tagging error"


# -- bugs of ours ----------------------------------------------------------------------------------


class InvalidTransition(AsyncflowError):
    """An event came to a task in a state that doesn't allow it: a bug in asyncflow or in an executor."""

    headline = "Internal error"
