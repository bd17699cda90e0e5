import pytest

from asyncflow.client import default_metadata, default_namespace


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The store's directory, not yet made; readers are ann, and find it."""
    monkeypatch.setenv("ASYNCFLOW_STORE", str(tmp_path / ".asyncflow"))
    monkeypatch.setenv("ASYNCFLOW_USER", "ann")
    monkeypatch.delenv("ASYNCFLOW_NAMESPACE", raising=False)
    default_namespace()
    default_metadata()
    yield tmp_path / ".asyncflow"
    default_namespace()
    default_metadata()
