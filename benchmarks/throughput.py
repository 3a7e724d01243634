"""Short jobs a second: 2,000 of `true` through two workers, against a C loop, xargs and huey.

Ours is the whole way: claimed, started in a session of its own, output and attempt recorded, synchronous=FULL. The
clock runs from ``resume`` of a paused queue until the last job is seen as completed by another process, so that the
start of interpreters is in nobody's time.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

WORKERS = 2
COMMAND = "true"
BARS = {"c": 0.65, "xargs": 1.0, "huey": 1.2}
NAMES = {"c": "C, posix_spawn and wait", "xargs": "xargs -P 2", "huey": "huey, 2 processes"}


def ours(jobs: int) -> float:
    """Return our jobs a second."""
    with measure.idle_queue(WORKERS, jobs, COMMAND) as queue:
        began = time.perf_counter()
        queue.resume()
        measure.until_completed(queue, jobs)
        return jobs / (time.perf_counter() - began)


def c_side(jobs: int, program: Path) -> float:
    """Return the C program's."""
    done = subprocess.run([program, str(jobs), str(WORKERS), COMMAND], check=True, capture_output=True, text=True)
    return jobs / float(done.stdout)


def xargs_side(jobs: int) -> float:
    """Return those of xargs, one `sh` a job."""
    numbers = "".join(f"{number}\n" for number in range(jobs))
    began = time.perf_counter()
    subprocess.run(["xargs", "-P", str(WORKERS), "-I{}", "sh", "-c", COMMAND], input=numbers, text=True, check=True)
    return jobs / (time.perf_counter() - began)


def huey_side(jobs: int) -> float:
    """Return huey's: its workers are held by a task each until the clock starts, and keep each exit code."""
    with measure.scratch() as folder:
        file = Path(folder) / "huey.db"
        base = [sys.executable, str(Path(__file__).with_name("huey_side.py")), str(file), str(WORKERS)]
        subprocess.run([*base, str(jobs), COMMAND], check=True)
        consumer = subprocess.Popen(base, stderr=subprocess.DEVNULL)
        try:
            while not all(file.with_suffix(f".{number}").exists() for number in range(WORKERS)):
                time.sleep(0.01)
            results = _huey_results(file)
            began = time.perf_counter()
            file.with_suffix(".go").touch()
            while results() < jobs + WORKERS:
                time.sleep(0.004)
            return jobs / (time.perf_counter() - began)
        finally:
            consumer.terminate()
            consumer.wait()


def _huey_results(file: Path) -> Callable[[], int]:
    from huey.storage import SqliteStorage

    storage = SqliteStorage(filename=str(file))
    return storage.result_store_size


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure against each opponent asked for."""
    rows = []
    for opponent in args.against or list(BARS):
        what = f"{args.jobs} jobs of `{COMMAND}`, 2 workers, against {NAMES[opponent]}"
        with measure.scratch() as folder:
            try:
                theirs = _side(opponent, args.jobs, Path(folder))
            except measure.Skipped as lacking:
                rows.append(measure.Row(what, "-", f"≥ {BARS[opponent]:g}", None, str(lacking)))
                continue
            found = measure.in_turn(args.rounds, lambda: ours(args.jobs), theirs)
        rows.append(measure.versus(what, "jobs/s", *found, BARS[opponent], at_least=True))
    return rows


def _side(opponent: str, jobs: int, folder: Path) -> Callable[[], float]:
    """Return the other side, ready to run."""
    if opponent == "c":
        program = measure.build_c(folder)
        return lambda: c_side(jobs, program)
    if opponent == "huey":
        try:
            import huey as _  # noqa: F401
        except ImportError:
            msg = "huey is not installed (pip install huey)"
            raise measure.Skipped(msg) from None
        return lambda: huey_side(jobs)
    return lambda: xargs_side(jobs)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = measure.options(__doc__, jobs=2000, rounds=5)
    made.add_argument("--against", action="append", choices=list(BARS), help="one opponent (repeatable); default: all")
    return made


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
