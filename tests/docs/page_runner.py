"""Run the code blocks of a page in a temporary home directory: in a shell, further terminals and a notebook."""

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

__all__ = ["PageRunner", "outputs_match"]

COMMAND_TIMEOUT_S = 60.0
NOTEBOOK = Path(__file__).with_name("run_cells.py")
HOME = "/home/you"
HOST = "laptop"
_VARIABLE_PARTS = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "TIME"),
    (re.compile(r"\d+(\.\d+)? [KMG]?i?B\b"), "SIZE"),
    (re.compile(r"\d+\.\d+( seconds| completed per minute)"), "N"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "TOKEN"),
    (re.compile(r"\bworker-\d+\b"), "WORKER"),
    (re.compile(r"\b\d{3,7}\b"), "N"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" *\n"), "\n"),
]
"""Parts of outputs that differ between runs: times, sizes, durations, tokens, workers, process ids, alignment."""


def outputs_match(shown: str, real: str) -> bool:
    """Compare an output with the one on the page. ``...`` matches anything, on a line of its own any lines."""
    for pattern, word in _VARIABLE_PARTS:
        shown, real = pattern.sub(word, shown), pattern.sub(word, real)
    # match parts from the left; one regular expression with many gaps would backtrack
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


class PageRunner:
    """Runs blocks in order. :meth:`close` ends all processes started in its home directory."""

    def __init__(self, home: Path) -> None:
        """Use ``home`` as home directory, and ``home/project`` as working directory."""
        self.home = home
        self.project = home / "project"
        self.project.mkdir(parents=True)
        inherited = {key: os.environ[key] for key in ("LANG", "TMPDIR") if key in os.environ}
        self.environ = {
            **inherited,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "HOME": str(home),
            "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            "IPYTHONDIR": str(home / ".ipython"),
        }
        self.last_output = ""
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

    def run(self, block: Block) -> None:
        """Run a block, or compare it with what was printed."""
        if "not run" in block.marks:
            assert len(block.marks["not run"]) > 10, f"{block.where}: give a reason for not running it"
        elif "file" in block.marks:
            (self.project / block.marks["file"]).write_text(block.text, "utf-8")
        elif "output" in block.marks:
            self.assert_output(block, block.text, self.last_output)
        elif "terminal shows" in block.marks:
            self.wait_for_terminal(block, f"...{block.text.strip()}...")
        elif "terminal" in block.marks:
            self.open_terminal(block)
        else:
            self._run_commands(block)

    def _run_commands(self, block: Block) -> None:
        if block.language in ("python", "ipython"):
            self.last_output = self.run_cell(block)
        elif block.language == "bash":
            self.last_output = self.run_in_shell(block, block.text, self.expected_exit_code(block))
        elif block.language == "console":
            commands = commands_of(block)
            for command in commands:
                code = self.expected_exit_code(block) if command is commands[-1] else 0
                self.last_output = self.run_in_shell(block, command.text, code)
                if command.shown.strip():
                    self.assert_output(block, command.shown, self.last_output)

    @staticmethod
    def expected_exit_code(block: Block) -> int:
        """Return the expected exit code of the last command of a block."""
        return int(block.marks.get("exit code", "0"))

    def assert_output(self, block: Block, shown: str, real: str) -> None:
        """Check that the page shows the real output."""
        output = real.replace(str(self.home), HOME).replace(socket.gethostname(), HOST)
        assert outputs_match(shown, output), f"{block.where} shows\n{shown}\nbut the output is\n{output}"

    def run_in_shell(self, block: Block, command: str, code: int = 0) -> str:
        """Run a command in the shell and return its output; check its exit code."""
        self._count += 1
        end = f"--- end of {self._count}: "
        script = self.home / f".typed-{self._count}"
        script.write_text(self._keep_in_home(command) + "\n", "utf-8")
        assert self._shell.stdin is not None
        self._shell.stdin.write(f". {script} </dev/null\nprintf '\\n{end}%d\\n' $?\n".encode())
        output, exit_code = self._read_until(block, command, re.compile(rf"\n{re.escape(end)}(\d+)\n".encode()))
        text = output.decode("utf-8", "replace")
        assert int(exit_code) == code, f"{block.where}: {command!r} exited with {int(exit_code)}, not {code}:\n{text}"
        return text

    def _keep_in_home(self, text: str) -> str:
        """Return commands or code with directories in ``/tmp`` moved into the home directory."""
        return text.replace("/tmp/queue-of-", f"{self.home}/queue-of-")

    def _read_until(self, block: Block, command: str, end: re.Pattern[bytes]) -> tuple[bytes, bytes]:
        assert self._shell.stdout is not None
        handle, seen, deadline = self._shell.stdout.fileno(), b"", time.monotonic() + COMMAND_TIMEOUT_S
        while not (found := end.search(seen)):
            left = deadline - time.monotonic()
            ready = select.select([handle], [], [], max(0.0, left))[0]
            assert ready, f"{block.where}: {command!r} took over {COMMAND_TIMEOUT_S:g} seconds:\n{seen.decode()}"
            piece = os.read(handle, 65536)
            assert piece, f"{block.where}: {command!r} ended the shell:\n{seen.decode()}"
            seen += piece
        return seen[: found.start()], found[1]

    def open_terminal(self, block: Block) -> None:
        """Run the only command of a transcript in a new terminal, and wait for the output on the page."""
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
        self.wait_for_terminal(block, command.shown.strip() + "...")

    def wait_for_terminal(self, block: Block, shown: str) -> None:
        """Wait until the latest terminal shows this output."""
        log = self.home / f".terminal-{len(self.terminals) - 1}"
        deadline = time.monotonic() + COMMAND_TIMEOUT_S
        while not outputs_match(shown, log.read_text("utf-8")):
            if time.monotonic() > deadline or self.terminals[-1].poll():
                self.assert_output(block, shown, log.read_text("utf-8"))
            time.sleep(0.05)

    def run_cell(self, block: Block) -> str:
        """Run a block as a notebook cell and return what it printed."""
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
        self._notebook.stdin.write(json.dumps(self._keep_in_home(block.text)) + "\n")
        self._notebook.stdin.flush()
        line = self._notebook.stdout.readline()  # the timeout of the test ends a cell that hangs
        assert line, f"{block.where}: the cell ended its process"
        answer = json.loads(line)
        assert answer["ok"], f"{block.where}: the cell failed:\n{answer['printed']}"
        return str(answer["printed"])

    def close(self) -> None:
        """Kill all processes whose ``HOME`` is the home directory of this page."""
        self._shell.kill()
        for each in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if each.environ().get("HOME") == str(self.home):
                    each.kill()
        for process in (self._shell, self._notebook, *self.terminals):
            if process is not None:
                process.wait(60)
                for stream in (process.stdin, process.stdout):
                    if stream is not None:
                        stream.close()
