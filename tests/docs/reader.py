"""A reader who types a page's blocks as they stand, in a home of their own: a shell, other terminals, a notebook."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.docs.blocks import commands_of

if TYPE_CHECKING:
    from tests.docs.blocks import Block

__all__ = ["Reader", "agrees"]

PATIENCE = 60.0
"""Seconds for a command; a loaded machine is slow."""
NOTEBOOK = Path(__file__).with_name("notebook.py")
HOME = "/home/you"
HOST = "laptop"
_CHANGING = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "TIME"),
    (re.compile(r"\d+(\.\d+)? [KMG]?i?B\b"), "SIZE"),
    (re.compile(r"\d+\.\d+( seconds| completed a minute)"), "N"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "TOKEN"),
    (re.compile(r"\bworker-\d+\b"), "WORKER"),
    (re.compile(r"\b\d{3,7}\b"), "N"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" *\n"), "\n"),
]
"""What is another at each run: times, sizes, durations, tokens, who took a job, process ids; blanks align all that."""


def agrees(shown: str, real: str) -> bool:
    """Tell whether an output is the one that is shown; ``...`` stands for anything, on a line of its own for lines."""
    for pattern, word in _CHANGING:
        shown, real = pattern.sub(word, shown), pattern.sub(word, real)
    # piece after piece from the left: a pattern with so many gaps would try them all
    first, *others = shown.strip().split("...")
    left = real.strip()
    if not others:
        return left == first
    if not left.startswith(first):
        return False
    left = left[len(first) :]
    for part in others[:-1]:
        _, found, left = left.partition(part) if part else ("", "", left)
        if not found and part:
            return False
    return left.endswith(others[-1])


class Reader:
    """Types blocks in order; everything that was started in this home ends with :meth:`leave`."""

    def __init__(self, home: Path) -> None:
        """Sit down in ``home``, in a folder ``project``."""
        self.home = home
        self.project = home / "project"
        self.project.mkdir(parents=True)
        kept = {key: os.environ[key] for key in ("LANG", "TZ", "TMPDIR") if key in os.environ}
        self.environ = {
            **kept,
            "LC_ALL": "C.UTF-8",
            "HOME": str(home),
            "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            "IPYTHONDIR": str(home / ".ipython"),
        }
        self.last = ""
        self.terminals: list[subprocess.Popen[bytes]] = []
        self._count = 0
        self._notebook: subprocess.Popen[str] | None = None
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            env=self.environ,
            cwd=self.project,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )

    def read(self, block: Block) -> None:
        """Do what a block shows."""
        if "given" in block.marks:
            name, _, text = block.marks["given"].partition(": ")
            (self.project / name).write_text(text + "\n", "utf-8")
        if "not run" in block.marks:
            assert len(block.marks["not run"]) > 10, f"{block.where}: say why it is not run"
        elif "file" in block.marks:
            (self.project / block.marks["file"]).write_text(block.text, "utf-8")
        elif "output" in block.marks:
            self.compare(block, block.text, self.last)
        elif "terminal shows" in block.marks:
            self.look(block, f"...{block.text.strip()}...")
        elif "terminal" in block.marks:
            self.open(block)
        else:
            self.run(block)

    def run(self, block: Block) -> None:
        """Type a block's commands, or run it as a cell."""
        if block.language in ("python", "ipython"):
            self.last = self.cell(block)
        elif block.language == "bash":
            self.last = self.type(block, block.text, self.expected(block))
        elif block.language == "console":
            commands = commands_of(block)
            for command in commands:
                code = self.expected(block) if command is commands[-1] else 0
                self.last = self.type(block, command.text, code)
                if command.shown.strip():
                    self.compare(block, command.shown, self.last)

    @staticmethod
    def expected(block: Block) -> int:
        """Return the exit code with which a block's last command ends."""
        return int(block.marks.get("exit code", "0"))

    def compare(self, block: Block, shown: str, real: str) -> None:
        """Compare what the page shows with what came."""
        told = real.replace(str(self.home), HOME).replace(socket.gethostname(), HOST)
        assert agrees(shown, told), f"{block.where} shows\n{shown}\nbut it is\n{told}"

    def type(self, block: Block, command: str, code: int = 0) -> str:
        """Type a command and return what it answers; its exit code must be ``code``."""
        self._count += 1
        end = f"--- end of {self._count}: "
        script = self.home / f".typed-{self._count}"
        script.write_text(command + "\n", "utf-8")
        assert self._shell.stdin is not None
        self._shell.stdin.write(f". {script} </dev/null\nprintf '\\n{end}%d\\n' $?\n".encode())
        answer = self._until(block, command, re.compile(rf"\n{re.escape(end)}(\d+)\n".encode()))
        real = int(answer[1])
        text = answer[0].decode("utf-8", "replace")
        assert real == code, f"{block.where}: {command!r} ended with {real}, not {code}:\n{text}"
        return text

    def _until(self, block: Block, command: str, end: re.Pattern[bytes]) -> tuple[bytes, bytes]:
        assert self._shell.stdout is not None
        handle, seen, deadline = self._shell.stdout.fileno(), b"", time.monotonic() + PATIENCE
        while not (found := end.search(seen)):
            left = deadline - time.monotonic()
            ready = select.select([handle], [], [], max(0.0, left))[0]
            assert ready, f"{block.where}: {command!r} has not ended after {PATIENCE:g} seconds:\n{seen.decode()}"
            piece = os.read(handle, 65536)
            assert piece, f"{block.where}: {command!r} ended the shell:\n{seen.decode()}"
            seen += piece
        return seen[: found.start()], found[1]

    def open(self, block: Block) -> None:
        """Run a transcript's only command in a terminal of its own, and wait until it shows what the page shows."""
        (command,) = commands_of(block)
        log = self.home / f".terminal-{len(self.terminals)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command.text}"],
                env=self.environ,
                cwd=self.project,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.terminals.append(process)
        self.look(block, command.shown.strip() + "...")

    def look(self, block: Block, shown: str) -> None:
        """Wait until the newest terminal shows this."""
        log = self.home / f".terminal-{len(self.terminals) - 1}"
        deadline = time.monotonic() + PATIENCE
        while not agrees(shown, log.read_text("utf-8")):
            if time.monotonic() > deadline or self.terminals[-1].poll():
                self.compare(block, shown, log.read_text("utf-8"))
            time.sleep(0.05)

    def cell(self, block: Block) -> str:
        """Run a block as a cell of the page's notebook; return what it printed."""
        if self._notebook is None:
            self._notebook = subprocess.Popen(
                [sys.executable, str(NOTEBOOK)],
                env=self.environ,
                cwd=self.project,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        assert self._notebook.stdin is not None
        assert self._notebook.stdout is not None
        self._notebook.stdin.write(json.dumps(block.text) + "\n")
        self._notebook.stdin.flush()
        line = self._notebook.stdout.readline()  # the test's own timeout ends a cell that hangs
        assert line, f"{block.where}: the cell ended its process"
        answer = json.loads(line)
        assert answer["ok"], f"{block.where}: the cell failed:\n{answer['printed']}"
        return str(answer["printed"])

    def leave(self) -> None:
        """End all that was started here: whoever has this home in its environment."""
        self._shell.kill()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("HOME") == str(self.home):
                    process.kill()
        for process in (self._shell, self._notebook, *self.terminals):
            if process is not None:
                process.wait(30)
                for stream in (process.stdin, process.stdout):
                    if stream is not None:
                        stream.close()
