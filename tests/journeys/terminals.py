"""Run the command line as a user does: in terminals, with collected output and Ctrl-C.

A terminal is a process. Short commands beside it run in the test's own process, which takes a tenth of the time.
"""

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
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Ran

CONSOLE = (sys.executable, "-m", "queuectl_nb")


def environment(queue: Path) -> dict[str, str]:
    """Return the environment of a user of ``queue``."""
    return {
        **os.environ,
        "QUEUECTL_DB": str(queue),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }


@contextlib.contextmanager
def unread(queue: Path, *words: str, stderr: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command that writes into a full pipe; yields it, and the end of the pipe from which nobody reads."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, bytes(size))
    os.set_blocking(write, True)
    process = subprocess.Popen([*CONSOLE, *words], env=environment(queue), stdout=write, stderr=stderr)
    os.close(write)
    try:
        yield process, read
    finally:
        process.kill()
        process.wait()
        os.close(read)


@contextlib.contextmanager
def in_terminal(path: Path, *words: str) -> Iterator[tuple[Callable[[str], None], Callable[[str], object]]]:
    """Run a command in a pseudo-terminal, to be interrupted.

    Yields a function that reads until a text, and one that types keys.
    """
    spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    with subprocess.Popen(
        [sys.executable, "-c", spawn, *CONSOLE, *words],
        env=environment(path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        seen = bytearray()
        assert process.stdin is not None
        assert process.stdout is not None
        screen, keyboard = process.stdout.fileno(), process.stdin.fileno()

        def read_until(text: str) -> None:
            while text.encode() not in seen:
                piece = os.read(screen, 4096)
                assert piece, seen.decode()
                seen.extend(piece)

        try:
            yield read_until, lambda keys: os.write(keyboard, keys.encode())
            assert process.wait(60) == 130
        finally:
            process.kill()


@dataclass
class Terminal:
    """A terminal with a running command; collects its output lines."""

    words: tuple[str, ...]
    queue: Path
    prefix: tuple[str, ...] = ()
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [*self.prefix, *CONSOLE, *self.words],
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

    def wait_for_line(self, *parts: str, timeout: float = 30) -> str:
        """Wait for a line that contains all ``parts`` and return it."""

        def found() -> str | None:
            return next((line for line in list(self.lines) if all(part in line for part in parts)), None)

        try:
            return str(until(found, timeout))
        except AssertionError:
            shown = "\n".join(self.lines)
            msg = f"no line with {parts} in:\n{shown}"
            raise AssertionError(msg) from None

    def interrupt(self) -> None:
        """Send SIGINT to the process group, as Ctrl-C does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, timeout: float = 30) -> int:
        """Wait until the command ends and return its exit code."""
        code = self.process.wait(timeout)
        self._reader.join(60)
        return code

    def close(self) -> None:
        """Terminate the command."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)


@dataclass
class Terminals:
    """One queue and any number of terminals; ``call`` runs a command in this process."""

    queue: Path
    call: Callable[..., Ran]
    terminals: list[Terminal] = field(default_factory=list)

    def open(self, *words: str, prefix: tuple[str, ...] = ()) -> Terminal:
        """Start a command, run by ``prefix``, in a terminal of its own."""
        terminal = Terminal(words, self.queue, prefix)
        self.terminals.append(terminal)
        return terminal

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command in this process, check its exit code and return its output."""
        ran = self.call(*words)
        assert ran.exit_code == code, f"{words}: {ran.exit_code}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def run_process(self, *words: str, code: int = 0) -> str:
        """Run a command as a process, check its exit code and return its output."""
        ran = subprocess.run(
            [*CONSOLE, *words], env=environment(self.queue), capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.returncode == code, f"{words}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def run_json(self, *words: str) -> Any:
        """Run a command with ``--json`` and return the parsed value."""
        return json.loads(self.run(*words, "--json"))

    def close(self) -> None:
        """Close every terminal."""
        for terminal in self.terminals:
            terminal.close()
