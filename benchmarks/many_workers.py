"""Many workers on few cores: time to start, jobs of `true` per second compared with `xargs -P`, and memory.

The start ends when the last worker waits for work. The rate is measured as by ``throughput.py``. The memory is the sum
of the proportional set sizes (PSS) of supervisor and workers afterwards: memory that processes share counts once.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import psutil
import throughput

from queuectl_nb import Queue

if TYPE_CHECKING:
    import argparse

TARGET_RATE = 0.6
TARGET_START_S = 3.0
TARGET_MIB_PER_WORKER = 4.5
MIB = 1024 * 1024


def start_seconds(workers: int) -> float:
    """Return the seconds from the call that starts workers until all of them wait for work."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        began = time.perf_counter()
        with queue.start_workers(workers):
            measure.until_ready(queue, workers)
            seconds = time.perf_counter() - began
        queue.close()
    return seconds


def pool_memory(pid: int) -> float:
    """Return the memory of a supervisor and its workers in MiB."""
    supervisor = psutil.Process(pid)
    return sum(each.memory_full_info().pss for each in [supervisor, *supervisor.children()]) / MIB


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure start, rate and memory in each round."""
    starts: list[float] = []
    memory: list[float] = []

    def run_queuectl() -> float:
        starts.append(start_seconds(args.workers))
        with measure.idle_queue(args.workers, args.jobs, throughput.COMMAND) as queue:
            rate = throughput.run_jobs(queue, args.jobs)
            memory.append(pool_memory(queue.store.workers.list_all()[0].pool))
        return rate

    found = measure.alternate(args.rounds, run_queuectl, lambda: throughput.run_xargs(args.jobs, args.workers))
    what = f"{args.jobs} jobs of `{throughput.COMMAND}`, {args.workers} workers, against xargs -P {args.workers}"
    start, most, per_worker = statistics.median(starts), max(memory), max(memory) / args.workers
    return [
        measure.compare(what, "jobs/s", *found, TARGET_RATE, at_least=True),
        measure.Row(
            f"start of {args.workers} workers",
            f"{start:.2f} s",
            f"≤ {TARGET_START_S:g} s",
            start <= TARGET_START_S,
            f"{min(starts):.2f} to {max(starts):.2f} s",
        ),
        measure.Row(
            f"memory (PSS) of {args.workers} workers and their supervisor",
            f"{most:.0f} MiB",
            f"≤ {TARGET_MIB_PER_WORKER:g} MiB a worker",
            per_worker <= TARGET_MIB_PER_WORKER,
            f"{per_worker:.2f} MiB a worker",
        ),
    ]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=4000, workers=256, rounds=3)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
