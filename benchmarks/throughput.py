"""Short jobs per second: 2,000 jobs of `true` with two workers, compared with a C loop, xargs and huey.

The jobs of queuectl are claimed, started in their own sessions, and recorded with their output, with synchronous=FULL.
The clock runs from ``resume`` of a paused queue until another process sees the last job as completed, so that the start
of interpreters is not included.
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

    from queuectl_nb import Queue

WORKERS = 2
COMMAND = "true"
TARGETS = {"c": 0.65, "xargs": 1.0, "huey": 1.2}
NAMES = {"c": "C, posix_spawn and wait", "xargs": "xargs -P 2", "huey": "huey, 2 processes"}


def run_queuectl(jobs: int) -> float:
    """Return the jobs per second of queuectl."""
    with measure.idle_queue(WORKERS, jobs, COMMAND) as queue:
        return run_jobs(queue, jobs)


def run_jobs(queue: Queue, jobs: int) -> float:
    """Resume a paused queue and return the jobs per second until all ``jobs`` are completed."""
    began = time.perf_counter()
    queue.resume()
    measure.until_completed(queue, jobs)
    return jobs / (time.perf_counter() - began)


def run_c(jobs: int, program: Path) -> float:
    """Return the jobs per second of the C program."""
    done = subprocess.run([program, str(jobs), str(WORKERS), COMMAND], check=True, capture_output=True, text=True)
    return jobs / float(done.stdout)


def run_xargs(jobs: int, workers: int = WORKERS) -> float:
    """Return the jobs per second of xargs with one `sh` per job."""
    numbers = "".join(f"{number}\n" for number in range(jobs))
    began = time.perf_counter()
    subprocess.run(["xargs", "-P", str(workers), "-I{}", "sh", "-c", COMMAND], input=numbers, text=True, check=True)
    return jobs / (time.perf_counter() - began)


def run_huey(jobs: int) -> float:
    """Return the jobs per second of huey, whose workers are held by a task each until the clock starts."""
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
    """Compare with each reference in ``--against``."""
    rows = []
    for reference in args.against or list(TARGETS):
        what = f"{args.jobs} jobs of `{COMMAND}`, 2 workers, against {NAMES[reference]}"
        with measure.scratch() as folder:
            try:
                run_reference = _prepare(reference, args.jobs, Path(folder))
            except measure.Skipped as lacking:
                rows.append(measure.Row(what, "-", f"≥ {TARGETS[reference]:g}", None, str(lacking)))
                continue
            found = measure.alternate(args.rounds, lambda: run_queuectl(args.jobs), run_reference)
        rows.append(measure.compare(what, "jobs/s", *found, TARGETS[reference], at_least=True))
    return rows


def _prepare(reference: str, jobs: int, folder: Path) -> Callable[[], float]:
    """Return a function that runs the reference."""
    if reference == "c":
        program = measure.build_c(folder)
        return lambda: run_c(jobs, program)
    if reference == "huey":
        try:
            import huey as _  # noqa: F401
        except ImportError:
            msg = "huey is not installed (pip install huey)"
            raise measure.Skipped(msg) from None
        return lambda: run_huey(jobs)
    return lambda: run_xargs(jobs)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = measure.options(__doc__, jobs=2000, rounds=5)
    made.add_argument(
        "--against", action="append", choices=list(TARGETS), help="one reference (repeatable); default: all"
    )
    return made


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
