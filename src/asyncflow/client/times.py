"""Times as readers see them."""

from __future__ import annotations

from datetime import datetime


def local_time(seconds: float) -> datetime:
    """Seconds since the epoch as a naive datetime in this machine's time zone, as Metaflow's client gives them."""
    return datetime.fromtimestamp(seconds)  # noqa: DTZ006 - naive on purpose


def local_time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else local_time(seconds)
