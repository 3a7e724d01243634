"""The console as its user has it: processes, terminals that are watched, keys that are pressed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.engine.harness import until

if TYPE_CHECKING:
    from pathlib import Path

CONSOLE = (sys.executable, "-m", "queuectl_nb")


def environment(queue: Path) -> dict[str, str]:
    """Return the environment of a user who works on ``queue``."""
    return {
        **os.environ,
        "QUEUECTL_DB": str(queue),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }


@dataclass
class Terminal:
    """A terminal with a command that runs on, its lines collected."""

    words: tuple[str, ...]
    queue: Path
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [*CONSOLE, *self.words],
            env=environment(self.queue),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def sees(self, *parts: str, timeout: float = 30) -> str:
        """Wait for a line that has all ``parts`` and return it."""

        def found() -> str | None:
            return next((line for line in list(self.lines) if all(part in line for part in parts)), None)

        try:
            return str(until(found, timeout))
        except AssertionError:
            shown = "\n".join(self.lines)
            msg = f"no line with {parts} in:\n{shown}"
            raise AssertionError(msg) from None

    def press_ctrl_c(self) -> None:
        """Interrupt the foreground process group, as the terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ends(self, timeout: float = 30) -> int:
        """Wait for the end and return the exit code."""
        code = self.process.wait(timeout)
        self._reader.join(10)
        return code

    def close(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)


@dataclass
class Terminals:
    """A user's desk: one queue, any number of terminals."""

    queue: Path
    terminals: list[Terminal] = field(default_factory=list)

    def open(self, *words: str) -> Terminal:
        """Run a command that goes on in a terminal of its own."""
        terminal = Terminal(words, self.queue)
        self.terminals.append(terminal)
        return terminal

    def type(self, *words: str, code: int = 0) -> str:
        """Run a command and return what it answers; its exit code must be ``code``."""
        ran = subprocess.run(
            [*CONSOLE, *words], env=environment(self.queue), capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.returncode == code, f"{words}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def data(self, *words: str) -> Any:
        """Run a command with ``--json`` and return the value."""
        return json.loads(self.type(*words, "--json"))

    def close(self) -> None:
        """Close every terminal."""
        for terminal in self.terminals:
            terminal.close()
