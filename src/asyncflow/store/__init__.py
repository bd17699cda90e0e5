"""Stores: artifacts and blobs, and the metadata that readers see."""
