"""``queuectl enqueue`` as a process, against an interpreter that only imports what every click program needs."""

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

BAR = 1.6
THEIRS = (sys.executable, "-c", "import click, sqlite3")
COMPILED = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
"""Both sides run from bytecode, as pip leaves a package: a checkout writes its own at the first run."""


def console() -> list[str]:
    """Return the console command: the script beside this interpreter, or ``python -m``."""
    script = shutil.which("queuectl", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-m", "queuectl_nb"]


def seconds(words: Sequence[str]) -> float:
    """Return how long a program takes from its start to its end."""
    began = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=COMPILED)
    return time.perf_counter() - began


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure on a queue that exists; each side runs once beforehand, so that both are in the page cache."""
    with measure.scratch() as folder:
        ours = [*console(), "enqueue", "--db", f"{folder}/queue.db", "--command", "true"]
        what = f"`{Path(ours[0]).name}{' -m queuectl_nb' if len(ours) > 6 else ''} enqueue` as a process"
        try:
            seconds(ours)
        except subprocess.CalledProcessError:
            return [measure.Row(what, "-", f"≤ {BAR:g}", None, "the console command does not run here")]
        seconds(THEIRS)
        found = measure.in_turn(args.rounds, lambda: seconds(ours), lambda: seconds(THEIRS))
    what += ', against `python -c "import click, sqlite3"`'
    return [measure.versus(what, "s", *found, BAR, at_least=False)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, rounds=25)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
