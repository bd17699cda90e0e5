"""Errors in the flow file that a linter finds without running it.

ruff where it is installed, for it takes some 15 ms; else pylint, which takes a second or two. Only what is certain
to go wrong when the line is reached: a name that isn't defined, a syntax error. A file without errors isn't
looked at again until it changes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

_RUFF = ("E9", "F633", "F7", "F82")
_RUFF_DOUBTFUL = ("E902", "F722")
"""A file that ruff can't read may be fine for Python, which knows other encodings than UTF-8; forward annotations that
aren't Python are fine for those who never evaluate them."""
_PYLINT = (
    "syntax-error",
    "undefined-variable",
    "used-before-assignment",
    "undefined-all-variable",
    "return-outside-function",
    "yield-outside-function",
    "not-in-loop",
    "nonlocal-without-binding",
    "duplicate-argument-name",
)
PATIENCE = 60.0
"""Seconds after which a linter that hangs is given up."""


def _installed(program: str) -> str | None:
    """Where ``program`` is: beside this Python, else on the search path. (``shutil.which`` imports five decompressors.)"""
    for folder in (os.path.dirname(sys.executable), *os.get_exec_path()):  # noqa: PTH120 - pathlib takes longer
        path = os.path.join(folder, program)  # noqa: PTH118 - likewise
        if os.access(path, os.X_OK) and os.path.isfile(path):  # noqa: PTH113 - likewise
            return path
    return None


class Precheck:
    """Looks at one file, in a process beside this one: ``start`` it early, ask for ``problems`` late."""

    def __init__(self, file: str, store: Path) -> None:
        """``store`` is the store's directory, where it is noted that a file has no errors."""
        self._file = file
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None
        self._mark = ""
        self.tool: str | None = None
        """What looks: ``ruff``, ``pylint``, or None where neither is installed."""

    def start(self) -> Precheck:
        command = self._command()
        if command is None:
            return self
        self._mark = self._fingerprint(command)
        if self._known_good():
            return self
        with suppress(OSError):
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self

    def problems(self) -> list[str]:
        """One line for each error; waits for the linter. None at all where it can't say."""
        process, self._process = self._process, None
        if process is None:
            return []
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return []
        found = self._read(output.decode("utf-8", "replace"))
        if process.returncode == 0 and not found:
            self._note_good()
        return found

    def _read(self, output: str) -> list[str]:
        if self.tool == "pylint":
            return [line for line in output.splitlines() if line.startswith(self._file)]
        import json

        try:
            found = json.loads(output or "[]")
            places = [(each["location"]["row"], each["code"] or "", each["message"]) for each in found]
        except (ValueError, TypeError, KeyError):
            return []  # not what ruff says: it has failed in a way of its own
        return [f"{self._file}:{line}: {message} [{code}]" for line, code, message in places]

    def abandon(self) -> None:
        """The run ends before it was asked."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _command(self) -> list[str] | None:
        ruff = _installed("ruff")
        if ruff is not None:
            self.tool = "ruff"
            return [
                ruff, "check", "--isolated", "--no-cache", "--quiet", "--output-format=json",
                f"--target-version=py3{sys.version_info.minor}",
                f"--select={','.join(_RUFF)}", f"--ignore={','.join(_RUFF_DOUBTFUL)}", "--", self._file,
            ]  # fmt: skip
        from importlib.util import find_spec

        if find_spec("pylint") is None:
            return None
        self.tool = "pylint"
        return [
            sys.executable, "-m", "pylint", "--rcfile=", "--score=n", "--disable=all", f"--enable={','.join(_PYLINT)}",
            "--msg-template={abspath}:{line}: {msg} [{msg_id}]", "--", self._file,
        ]  # fmt: skip

    def _fingerprint(self, command: list[str]) -> str:
        """Of the file's content and of what looks at it."""
        try:
            content = Path(self._file).read_bytes()
            status = os.stat(command[0])  # noqa: PTH116 - one call
        except OSError:
            return ""
        tool = repr((command, status.st_size, status.st_mtime_ns)).encode()
        return sha256(tool + b"\0" + content).hexdigest()

    @property
    def _note(self) -> Path:
        return self._store / "checks" / sha256(os.fsencode(self._file)).hexdigest()[:32]

    def _known_good(self) -> bool:
        try:
            return bool(self._mark) and self._note.read_text() == self._mark
        except OSError:
            return False

    def _note_good(self) -> None:
        """Only a store that is there is written to; that it can't be written is somebody else's to say."""
        if not self._mark or not self._store.is_dir():
            return
        with suppress(OSError):
            self._note.parent.mkdir(exist_ok=True)
            new = self._note.with_suffix(f".{os.getpid()}")
            new.write_text(self._mark)
            new.replace(self._note)
