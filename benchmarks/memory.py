"""Resident memory of a worker: idle, over thousands of jobs, also functions, and while a job prints a gigabyte.

Then the memory of a process that reads output with ``job.log()``, which refuses the gigabyte.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import measure
import psutil

from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.client.workers import list_workers

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

MIB = 1024 * 1024
TARGET = 25.0
TARGET_GROWTH = 1.0
"""MiB that a worker may grow over all these jobs."""
WARM_UP_JOBS = 3000
"""Jobs after which everything is loaded, and SQLite's page cache is full."""


READ_LOG = """
import pathlib, sys
from queuectl_nb import BadInput, Queue
memory = lambda name: int(pathlib.Path('/proc/self/status').read_text().partition(name)[2].split()[0]) * 1024
job = Queue(sys.argv[1]).job(sys.argv[2])
job.log(tail=0)
before = memory('VmRSS:')
try:
    text = job.log()
except BadInput as error:
    print(error)
else:
    print((memory('VmHWM:') - before) / sys.getsizeof(text))
"""
TEXTS = {"ASCII": "x" * 100, "Latin-1": "é" * 50, "emoji": "😀" * 25}
"""100 bytes each."""
TARGET_LOG = 2.1
"""Peak memory of ``job.log()`` as a multiple of the text's: a subclass of ``str`` is made from a copy."""


def peak(process: psutil.Process, work: Callable[[], object]) -> float:
    """Return the maximum resident memory of ``process`` in MiB during ``work``."""
    done = threading.Event()
    found = [process.memory_info().rss]

    def sample() -> None:
        while not done.wait(0.02):
            found.append(process.memory_info().rss)

    watcher = threading.Thread(target=sample)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return max(found) / MIB


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure one worker."""
    with measure.idle_queue(1) as queue:
        queue.resume()
        queue.set("timeout", 600)
        worker = psutil.Process(list_workers(queue.store)[0]["pid"])

        def jobs(many: int) -> None:
            enqueue_specs(queue, [measure.JobSpec("true")] * many)
            queue.wait()

        idle = worker.memory_info().rss / MIB
        jobs(WARM_UP_JOBS)
        warm = worker.memory_info().rss / MIB
        busy = peak(worker, lambda: jobs(args.jobs))
        after = worker.memory_info().rss / MIB

        def print_much(megabytes: int = args.megabytes, text: str = TEXTS["ASCII"], end: str = "") -> str:
            command = f"yes {text} | tr -d '\\n' | head -c {megabytes}000000; printf '{end}'"
            return queue.enqueue(command).wait(timeout=600, check=True).id

        loud = peak(worker, print_much)
        calls = peak(worker, lambda: queue.map(abs, range(args.jobs), chunksize=10).results())
        logs = [_read_log(queue.path, print_much(), f"{args.megabytes:,} MB")]
        less = min(250, args.megabytes)
        for kind, text in TEXTS.items():
            logs.append(_read_log(queue.path, print_much(less, text), f"{less} MB of {kind}"))
        less = min(60, args.megabytes)
        logs.append(_read_log(queue.path, print_much(less, end=TEXTS["emoji"]), f"{less} MB of ASCII and an emoji"))
    most, growth = max(idle, busy, loud), after - warm
    meanwhile = f"{warm:.1f} after {WARM_UP_JOBS}, {after:.1f} after all, at most {busy:.1f}"
    return [
        measure.Row("maximum resident memory of a worker", *_bounded(most, TARGET), f"{idle:.1f} idle"),
        measure.Row(f"growth over {args.jobs:,} jobs", *_bounded(growth, TARGET_GROWTH), meanwhile),
        measure.Row(f"over {args.jobs:,} calls of functions, in chunks of 10", *_bounded(calls, TARGET), ""),
        measure.Row(f"while a job prints {args.megabytes:,} MB", *_bounded(loud, TARGET), ""),
        *logs,
    ]


def _read_log(path: Path, job_id: str, what: str) -> measure.Row:
    words = [sys.executable, "-c", READ_LOG, path, job_id]
    answer = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    refused = answer.startswith("the output of job")
    return measure.Row(
        f"memory of job.log() of {what}, against the text",
        "refused" if refused else f"{float(answer):.2f}",
        f"≤ {TARGET_LOG:g}, or refused",
        refused or float(answer) <= TARGET_LOG,
        answer if refused else "",
    )


def _bounded(mebibytes: float, target: float) -> tuple[str, str, bool]:
    return f"{mebibytes:.2f} MiB", f"≤ {target:g} MiB", mebibytes <= target


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=10_000, megabytes=1000)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
