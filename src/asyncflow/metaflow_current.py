"""Metaflow's address of ``current``."""

from asyncflow.current import Current, current

__all__ = ["Current", "current"]
