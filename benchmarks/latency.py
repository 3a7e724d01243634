"""From an enqueue to the command's own first breath in a waiting worker, and what waiting costs.

The clock starts before ``enqueue`` is called in this process and stops when the command, a shell, has written into a
FIFO that this process reads: commit, bell, claim, start and the shell's own start are all in it.
"""

from __future__ import annotations

import os
import random
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import psutil

if TYPE_CHECKING:
    import argparse

    from queuectl_nb import Queue

P50, P99 = 0.005, 0.050
IDLE = 0.001
"""Most of a core that a waiting worker may use."""


def latencies(queue: Queue, samples: int) -> list[float]:
    """Return the seconds from each enqueue to the start of its command."""
    fifo = queue.path.with_name("breath")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR)
    found = []
    for _ in range(samples):
        time.sleep(random.uniform(0.02, 0.06))  # noqa: S311 - so that the worker waits, and at no fixed beat
        began = time.perf_counter()
        job = queue.enqueue_specs([measure.JobSpec(f"echo > {shlex.quote(str(fifo))}")])
        os.read(reader, 1)
        found.append(time.perf_counter() - began)
        queue.wait(*job)
    os.close(reader)
    return found


def used(pid: int) -> float:
    """Return the CPU seconds of a process; from the scheduler's own books where there are any, to the nanosecond."""
    threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if threads:
        return sum(int(each.read_text().split()[0]) for each in threads) / 1e9
    return sum(psutil.Process(pid).cpu_times()[:2])


def idle_share(queue: Queue, seconds: float) -> float:
    """Return the share of a core that the busiest waiting worker uses."""
    pids = [each["pid"] for each in queue.worker_list()]
    before = [used(pid) for pid in pids]
    time.sleep(seconds)
    return max(used(pid) - earlier for pid, earlier in zip(pids, before, strict=True)) / seconds


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both on one queue with waiting workers."""
    with measure.idle_queue(args.workers) as queue:
        queue.resume()
        found = latencies(queue, args.samples)
        time.sleep(1)
        share = idle_share(queue, args.idle_seconds)
    half, most = measure.percentile(found, 0.5), measure.percentile(found, 0.99)
    detail = f"{args.samples} enqueues, {args.workers} waiting workers"
    return [
        measure.Row("enqueue to the command's start, p50", f"{half * 1e3:.2f} ms", "≤ 5 ms", half <= P50, detail),
        measure.Row("enqueue to the command's start, p99", f"{most * 1e3:.2f} ms", "≤ 50 ms", most <= P99, detail),
        measure.Row(
            "a waiting worker's share of a core",
            f"{share:.3%}",
            "≤ 0.1 %",
            share <= IDLE,
            f"over {args.idle_seconds} s, user and system",
        ),
    ]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, samples=300, workers=2, idle_seconds=30)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
