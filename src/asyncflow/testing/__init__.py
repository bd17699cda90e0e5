"""For tests of flows, and of what is built around them.

``run_step`` runs one step without a run. ``FakeExecutor`` runs none: its tasks end as the test says.
``ManualClock`` stands still until the test moves it.
"""

from asyncflow.testing.clock import ManualClock
from asyncflow.testing.fake import FakeExecutor, FakeSession
from asyncflow.testing.steps import StepResult, run_step

__all__ = ["FakeExecutor", "FakeSession", "ManualClock", "StepResult", "run_step"]
