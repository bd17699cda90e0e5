"""Metaflow's names that aren't here: what to say of them."""

from __future__ import annotations

_DECORATORS = (
    "batch card catch conda conda_base environment exit_hook kubernetes parallel project pypi pypi_base resources "
    "retry schedule secrets timeout trigger trigger_on_finish"
)
_NOT_YET = frozenset(
    f"{_DECORATORS} Config ConfigValue config_expr FlowMutator StepMutator UserStepDecorator user_step_decorator "
    "MutableFlow MutableStep Runner NBRunner parallel_map S3 Deployer NBDeployer".split()
)


def reason(name: str) -> str:
    """The message of the error for ``asyncflow.name``."""
    if name in _NOT_YET:
        what = f"@{name}" if name in _DECORATORS.split() else name
        return f"asyncflow has no {what} yet: this version can't run flows that use it."
    return f"module 'asyncflow' has no attribute {name!r}"
