"""``queuectl enqueue`` as a process, compared with an interpreter that only imports click and sqlite3."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

TARGET = 1.6
REFERENCE = (sys.executable, "-c", "import click, sqlite3")
COMPILED = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
"""Both use bytecode, as after an installation with pip; a checkout writes it at the first run."""


def console() -> list[str]:
    """Return the console command: the script beside this interpreter, or ``python -m``."""
    script = shutil.which("queuectl", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-m", "queuectl_nb"]


def seconds(words: Sequence[str]) -> float:
    """Return the duration of a program."""
    began = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=COMPILED)
    return time.perf_counter() - began


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure with an existing queue; both run once before, so that they are in the page cache."""
    with measure.scratch() as folder:
        command = [*console(), "enqueue", "--db", f"{folder}/queue.db", "--command", "true"]
        what = f"`{Path(command[0]).name}{' -m queuectl_nb' if len(command) > 6 else ''} enqueue` as a process"
        try:
            seconds(command)
        except subprocess.CalledProcessError:
            return [measure.Row(what, "-", f"≤ {TARGET:g}", None, "the console command does not run here")]
        seconds(REFERENCE)
        found = measure.alternate(args.rounds, lambda: seconds(command), lambda: seconds(REFERENCE))
    what += ', against `python -c "import click, sqlite3"`'
    return [measure.compare(what, "s", *found, TARGET, at_least=False)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, rounds=25)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
