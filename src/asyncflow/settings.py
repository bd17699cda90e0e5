"""The only reader of environment variables.

``ASYNCFLOW_STORE`` names the store's directory, ``ASYNCFLOW_USER`` the user, ``ASYNCFLOW_<OPTION>`` the
value of a command-line option and ``ASYNCFLOW_RUN_<NAME>`` that of a flow's parameter.
"""

from __future__ import annotations

import os
from pathlib import Path

from asyncflow.errors import UsageError

STORE_DIRECTORY = ".asyncflow"


def find_store(cwd: str | os.PathLike[str] | None = None, given: str | os.PathLike[str] | None = None) -> Path:
    """The absolute path of the store's directory, which need not be there yet.

    ``given`` (a command-line option) comes first, then ``ASYNCFLOW_STORE``, then the ``.asyncflow/`` of
    ``cwd`` or of its nearest parent that has one, then ``.asyncflow/`` in ``cwd``. Relative paths are
    relative to ``cwd``; a leading ``~`` is the home directory. Raises ``UsageError`` where the working
    directory counts and was deleted.
    """
    named = given if given is not None else option("store")
    if named is not None:
        path = Path(named).expanduser()
        return Path(os.path.abspath(path if path.is_absolute() else _here(cwd) / path))  # noqa: PTH100 -- no symlink resolved
    here = _here(cwd)
    for directory in (here, *here.parents):
        store = directory / STORE_DIRECTORY
        if store.is_dir():
            return store
    return here / STORE_DIRECTORY


def _here(cwd: str | os.PathLike[str] | None) -> Path:
    try:
        return Path(os.path.abspath(cwd) if cwd is not None else os.getcwd())  # noqa: PTH100, PTH109 -- likewise
    except FileNotFoundError:
        raise UsageError("The working directory no longer exists: cd to one that does.") from None


def option(name: str) -> str | None:
    """The value of option ``--name`` from the environment: ``ASYNCFLOW_NAME``. None where unset or empty."""
    return os.environ.get("ASYNCFLOW_" + name.upper().replace("-", "_")) or None


def run_parameter(name: str) -> str | None:
    """The value of a flow's parameter from the environment, ``ASYNCFLOW_RUN_NAME``; an empty one counts."""
    return os.environ.get("ASYNCFLOW_RUN_" + name.upper().replace("-", "_"))


def username() -> str:
    """Who runs: ``ASYNCFLOW_USER``, ``SUDO_USER``, ``USERNAME``, ``USER``, else the account's name."""
    for variable in ("ASYNCFLOW_USER", "SUDO_USER", "USERNAME", "USER"):
        name = os.environ.get(variable)
        # sudo from root to root says nothing about the person.
        if name and not (variable == "SUDO_USER" and name == "root"):
            return name
    return _account()


def _account() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # no such module on this system; a container's user without an account
        return "unknown"


def default_namespace() -> str:
    """The namespace that runs belong to and that readers look at, unless told otherwise: ``user:NAME``."""
    return option("namespace") or f"user:{username()}"


def verify_always() -> bool:
    """Whether ``ASYNCFLOW_VERIFY=always`` asks for the hash of every blob read, memory-mapped ones too."""
    return (option("verify") or "").lower() == "always"
