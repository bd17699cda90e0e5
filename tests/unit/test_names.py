"""The names that users import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import asyncflow
from asyncflow import exception
from asyncflow._version import __version__
from asyncflow.errors import AsyncflowError


@pytest.mark.parametrize("name", asyncflow.__all__)
def test_every_public_name_is_there(name):
    assert getattr(asyncflow, name) is not None
    assert name in dir(asyncflow)


def test_the_version():
    assert asyncflow.__version__ == __version__


def test_editors_are_told_what_is_imported_lazily():
    from pathlib import Path

    text = Path(asyncflow.__file__).read_text(encoding="utf-8")
    told = text[text.index("if TYPE_CHECKING") : text.index("__all__")]
    assert [name for name in asyncflow.__all__ if name not in told] == ["__version__", "current"]


@pytest.mark.parametrize(("name", "what"), [("retry", "@retry"), ("Config", "Config"), ("S3", "S3")])
def test_what_is_not_there_yet_says_so(name, what):
    with pytest.raises(ImportError, match=f"asyncflow has no {what} yet"):
        exec(f"from asyncflow import {name}")


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        asyncflow.nosuch
    with pytest.raises(ImportError, match="cannot import name 'nosuch'"):
        exec("from asyncflow import nosuch")


def test_the_object_is_not_hidden_by_the_module_of_its_name():
    code = "import asyncflow.current, asyncflow.metaflow_current; from asyncflow import current; print(type(current))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "<class 'asyncflow.current.Current'>"


@pytest.mark.parametrize("name", exception.__all__)
def test_errors_under_metaflows_names(name):
    error = getattr(exception, name)
    assert issubclass(error, AsyncflowError) or name == "MetaflowExceptionWrapper"
    assert exception.MetaflowException is AsyncflowError
