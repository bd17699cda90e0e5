"""Metaflow's names that aren't here: what to say of them."""

from __future__ import annotations

_DECORATORS = frozenset(
    {
        *(
            "batch",
            "card",
            "catch",
            "conda",
            "conda_base",
            "environment",
            "exit_hook",
            "kubernetes",
            "parallel",
            "project",
        ),
        *("pypi", "pypi_base", "resources", "retry", "schedule", "secrets", "timeout", "trigger", "trigger_on_finish"),
    }
)
_OTHERS = frozenset(
    {
        *("Config", "ConfigValue", "Deployer", "FlowMutator", "MutableFlow", "MutableStep", "NBDeployer", "NBRunner"),
        *("Runner", "S3", "StepMutator", "UserStepDecorator", "config_expr", "parallel_map", "user_step_decorator"),
    }
)


def missing(name: str) -> Exception:
    """The error for ``asyncflow.name``.

    Of a name that Metaflow has it is an ImportError: of an AttributeError, ``from asyncflow import name`` would
    drop the text.
    """
    if name in _DECORATORS or name in _OTHERS:
        what = f"@{name}" if name in _DECORATORS else name
        return ImportError(f"asyncflow has no {what} yet: this version can't run flows that use it.", name="asyncflow")
    return AttributeError(f"module 'asyncflow' has no attribute {name!r}", name=name)
