"""Executors: where task specs are run."""
