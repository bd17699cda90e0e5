"""The worker: runs one task from its spec to its ending; the same for every executor."""
