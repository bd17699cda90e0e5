"""Flows that tests run; importable, so that workers find them."""
