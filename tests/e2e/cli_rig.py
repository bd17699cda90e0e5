"""The real command line in processes of its own, with and without a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE = 60
"""Seconds after which something that hangs is given up; nothing takes a tenth of it."""
TROUBLE = Path(__file__).parents[1] / "flows/trouble.py"


def until(condition: Callable[[], object], what: str, story: Callable[[], str] = str) -> None:
    """Wait for ``condition``, or fail and tell the ``story``."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}\n{story()}"
        time.sleep(0.01)


class Asyncflow:
    """``asyncflow`` in ``folder``, whose store is there too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ASYNCFLOW_")}
        self.environment = inherited | {"ASYNCFLOW_USER": "ann", "TERM": "xterm-256color"}
        self.environment.pop("NO_COLOR", None)
        self.environment.pop("PYTHONUNBUFFERED", None)
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "asyncflow", *map(str, words)]

    def __call__(self, *words: object, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and see that it ends with ``code`` and without a traceback of ours."""
        return self.execute(self.command(*words), code=code, **variables)

    def execute(self, command: list[str], *, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment | variables, capture_output=True, text=True,
            errors="surrogateescape", stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "asyncflow/cli/" not in done.stderr
        assert "bug in asyncflow" not in done.stderr
        return done

    def start(self, *words: object, **variables: str) -> subprocess.Popen[str]:
        """Start a command; whoever starts it waits for it."""
        return subprocess.Popen(
            self.command(*words), cwd=self.folder, env=self.environment | variables, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def flow(self, source: str, name: str = "flow.py") -> Path:
        """A file with ``source`` in the folder."""
        path = self.folder / name
        path.write_text(source)
        return path

    def last_run(self) -> str:
        """The pathspec of the newest run."""
        return self("list", "--limit", "1").stdout.splitlines()[1].split()[0]

    def last_state(self) -> str:
        return self("list", "--limit", "1").stdout.splitlines()[1].split()[1]


@dataclass(frozen=True)
class Said:
    stdout: str
    stderr: str


class Inside:
    """The commands that only look, in the test's own process: most of a process's time goes into its start."""

    def __init__(self, asyncflow: Asyncflow, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capture = capture
        self._patch = patch
        patch.chdir(asyncflow.folder)
        for name in [*os.environ]:
            if name.startswith("ASYNCFLOW_"):
                patch.delenv(name)
        patch.setenv("COLUMNS", "100")

    def __call__(self, *words: object, code: int = 0, **variables: str) -> Said:
        from asyncflow.cli import main

        for name, value in variables.items():
            self._patch.setenv(name, value)
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        for name in variables:
            self._patch.delenv(name)
        said = Said(*self._capture.readouterr())
        assert ended.value.code == code, said
        assert "Traceback" not in said.stderr
        assert "bug in asyncflow" not in said.stderr
        return said


class Terminal:
    """A command in a terminal of its own, and what it has shown there."""

    def __init__(self, asyncflow: Asyncflow, *words: object, rows: int = 24, columns: int = 100) -> None:
        self._screen, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(inner)
        self._inner = inner
        self.process = subprocess.Popen(
            asyncflow.command(*words), cwd=asyncflow.folder, env=asyncflow.environment,
            stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - there are no other threads here
        )  # fmt: skip
        self.raw = b""

    def read(self) -> bool:
        """Take what has been shown; False when there was nothing new for a moment."""
        ready, _, _ = select.select([self._screen], [], [], 0.05)
        if ready:
            self.raw += os.read(self._screen, 65536)
        return bool(ready)

    def press(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def wait_for(self, text: str) -> None:
        until(lambda: (self.read() and text in self.text) or text in self.text, f"shown {text!r}\n{self.text}")

    def finish(self) -> int:
        """Read until the command has ended; returns its exit code."""
        until(lambda: (self.read(), self.process.poll() is not None)[1], "ended", lambda: self.text)
        while self.read():
            pass
        return self.process.returncode

    @property
    def settings(self) -> list:
        return termios.tcgetattr(self._inner)

    @property
    def text(self) -> str:
        """What was shown, without control sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.raw.decode("utf-8", "replace"))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._screen)
        os.close(self._inner)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
