"""Metadata stores: the journal, and the rows derived from it."""
