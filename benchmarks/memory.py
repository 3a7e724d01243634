"""A worker's resident memory: at rest, over thousands of jobs, and beside a job that prints a gigabyte."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import measure
import psutil

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

MIB = 1024 * 1024
BAR = 25.0
FLAT = 1.0
"""MiB that a worker may grow over all those jobs."""
WARM = 3000
"""Jobs after which everything has been loaded, and SQLite's page cache is full."""


def peak(process: psutil.Process, work: Callable[[], object]) -> float:
    """Return the largest resident memory, in MiB, that ``process`` has while ``work`` is done."""
    done = threading.Event()
    found = [process.memory_info().rss]

    def look() -> None:
        while not done.wait(0.02):
            found.append(process.memory_info().rss)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return max(found) / MIB


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure one worker through its day."""
    with measure.idle_queue(1) as queue:
        queue.resume()
        queue.set("timeout", 600)
        worker = psutil.Process(queue.worker_list()[0]["pid"])

        def jobs(many: int) -> None:
            queue.enqueue_specs([measure.JobSpec("true")] * many)
            queue.wait()

        atrest = worker.memory_info().rss / MIB
        jobs(WARM)
        warm = worker.memory_info().rss / MIB
        busy = peak(worker, lambda: jobs(args.jobs))
        after = worker.memory_info().rss / MIB

        def talk() -> None:
            queue.enqueue_specs([measure.JobSpec(f"head -c {args.megabytes}000000 /dev/zero | tr '\\0' x")])
            queue.wait(timeout=600, check=True)

        loud = peak(worker, talk)
    most, growth = max(atrest, busy, loud), after - warm
    meanwhile = f"{warm:.1f} after {WARM}, {after:.1f} after all, at most {busy:.1f} meanwhile"
    return [
        measure.Row("a worker's resident memory, at most", *_bounded(most, BAR), f"{atrest:.1f} at rest"),
        measure.Row(f"its growth over {args.jobs:,} jobs", *_bounded(growth, FLAT), meanwhile),
        measure.Row(f"it, beside a job that prints {args.megabytes:,} MB", *_bounded(loud, BAR), ""),
    ]


def _bounded(mebibytes: float, bar: float) -> tuple[str, str, bool]:
    return f"{mebibytes:.2f} MiB", f"≤ {bar:g} MiB", mebibytes <= bar


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=10_000, megabytes=1000)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
