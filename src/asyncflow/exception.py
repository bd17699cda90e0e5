"""The errors under the names, and at the address, that flows written for Metaflow know."""

from asyncflow.errors import (
    AsyncflowError,
    FlowDefinitionError,
    InvalidForeach,
    InvalidNextException,
    MetaflowExceptionWrapper,
    MetaflowInvalidPathspec,
    MetaflowNamespaceMismatch,
    MetaflowNotFound,
    MetaflowTaggingError,
    MissingInMergeArtifactsException,
    ParameterError,
    UnhandledInMergeArtifactsException,
)

MetaflowException = AsyncflowError


class ExternalCommandFailed(AsyncflowError):
    """For steps that run a command: it ended with an error."""

    headline = "External command failed"


__all__ = [
    "AsyncflowError",
    "ExternalCommandFailed",
    "FlowDefinitionError",
    "InvalidForeach",
    "InvalidNextException",
    "MetaflowException",
    "MetaflowExceptionWrapper",
    "MetaflowInvalidPathspec",
    "MetaflowNamespaceMismatch",
    "MetaflowNotFound",
    "MetaflowTaggingError",
    "MissingInMergeArtifactsException",
    "ParameterError",
    "UnhandledInMergeArtifactsException",
]
