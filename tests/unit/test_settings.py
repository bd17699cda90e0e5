"""Where the store is, who runs, and what comes from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncflow import settings
from asyncflow.errors import UsageError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith("ASYNCFLOW_") or name in {"SUDO_USER", "USERNAME", "USER"}:
            monkeypatch.delenv(name)


def test_the_store_is_that_of_the_nearest_parent_that_has_one(tmp_path):
    (tmp_path / "a/.asyncflow").mkdir(parents=True)
    deep = tmp_path / "a/b/c"
    deep.mkdir(parents=True)
    assert settings.find_store(deep) == tmp_path / "a/.asyncflow"
    (deep / ".asyncflow").mkdir()
    assert settings.find_store(deep) == deep / ".asyncflow"


def test_a_file_of_that_name_is_no_store(tmp_path):
    (tmp_path / ".asyncflow").mkdir()
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / ".asyncflow").write_text("")
    assert settings.find_store(inner) == tmp_path / ".asyncflow"


def test_without_one_it_is_in_the_working_directory_and_is_not_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert settings.find_store() == tmp_path / ".asyncflow"
    assert list(tmp_path.iterdir()) == []


def test_the_variable_comes_before_the_directory_and_the_option_before_the_variable(tmp_path, monkeypatch):
    (tmp_path / ".asyncflow").mkdir()
    monkeypatch.setenv("ASYNCFLOW_STORE", "elsewhere")
    assert settings.find_store(tmp_path) == tmp_path / "elsewhere"
    assert settings.find_store(tmp_path, given="/third") == Path("/third")
    monkeypatch.setenv("ASYNCFLOW_STORE", "~/store")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert settings.find_store(tmp_path) == tmp_path / "home/store"
    monkeypatch.setenv("ASYNCFLOW_STORE", "")
    assert settings.find_store(tmp_path) == tmp_path / ".asyncflow"


def test_the_user_is_the_first_that_is_named(monkeypatch):
    for variable in ("USER", "USERNAME", "SUDO_USER", "ASYNCFLOW_USER"):
        monkeypatch.setenv(variable, variable.lower())
        assert settings.username() == variable.lower()
    assert settings.default_namespace() == "user:asyncflow_user"


def test_sudo_from_root_is_no_person(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "root")
    monkeypatch.setenv("USER", "ann")
    assert settings.username() == "ann"


def test_without_variables_the_account_has_a_name():
    assert settings.username()


def test_options_and_parameters_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ASYNCFLOW_MAX_WORKERS", "4")
    monkeypatch.setenv("ASYNCFLOW_RUN_ALPHA", "")
    monkeypatch.setenv("ASYNCFLOW_TAG", "")
    monkeypatch.setenv("ASYNCFLOW_NAMESPACE", "user:bob")
    assert settings.option("max-workers") == "4"
    assert settings.option("tag") is None
    assert settings.option("isolation") is None
    assert settings.run_parameter("alpha") == ""
    assert settings.run_parameter("beta") is None
    assert settings.default_namespace() == "user:bob"


@pytest.mark.parametrize(("value", "always"), [("always", True), ("Always", True), ("never", False), ("", False)])
def test_hashing_of_mappings_is_on_request(monkeypatch, value, always):
    monkeypatch.setenv("ASYNCFLOW_VERIFY", value)
    assert settings.verify_always() is always


def test_a_deleted_working_directory_is_said_where_it_counts(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for options in ({}, {"given": "relative"}, {"cwd": "relative"}):
        with pytest.raises(UsageError, match="The working directory no longer exists: cd to one that does"):
            settings.find_store(**options)
    assert settings.find_store(given=tmp_path / "store") == tmp_path / "store"
    monkeypatch.setenv("ASYNCFLOW_STORE", str(tmp_path / "other"))
    assert settings.find_store() == tmp_path / "other"
