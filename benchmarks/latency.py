"""From an enqueue to the start of the command, from its end to the return of a wait, and the cost of waiting.

The first clock starts before ``enqueue`` is called in this process and stops when the command, a shell, has written
into a FIFO that this process reads: commit, notification, claim, start and the shell's own start are included.

The second clock starts when the command writes into the FIFO as its last act, and stops when ``job.wait()`` returns:
the end of the shell, commit and notification are included. For comparison, some waits are not notified but poll every
20 ms, as all did in earlier versions.
"""

from __future__ import annotations

import os
import random
import shlex
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING
from unittest import mock

import measure
import psutil

from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.client.workers import list_workers
from queuectl_nb.engine import notifier

if TYPE_CHECKING:
    import argparse

    from queuectl_nb import Queue

P50, P99 = 0.005, 0.050
WAIT_P50 = 0.003
IDLE = 0.001
"""Maximum share of a core for an idle worker."""


def latencies(queue: Queue, samples: int) -> list[float]:
    """Return the seconds from each enqueue to the start of its command."""
    fifo = queue.path.with_name("started")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR)
    found = []
    for _ in range(samples):
        time.sleep(random.uniform(0.02, 0.06))
        began = time.perf_counter()
        job = enqueue_specs(queue, [measure.JobSpec(f"echo > {shlex.quote(str(fifo))}")]).ids
        os.read(reader, 1)
        found.append(time.perf_counter() - began)
        queue.wait(*job)
    os.close(reader)
    return found


def wait_latencies(queue: Queue, samples: int) -> tuple[list[float], list[float]]:
    """Return the seconds from the end of each command to the return of its wait: notified, and polling, in turn."""
    fifo = queue.path.with_name("last-act")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR)
    ends: SimpleQueue[float] = SimpleQueue()

    def record_ends() -> None:
        while os.read(reader, 1) == b"\n":
            ends.put(time.perf_counter())

    thread = threading.Thread(target=record_ends)
    thread.start()
    found: tuple[list[float], list[float]] = ([], [])
    for sample in range(2 * samples):
        pause = random.uniform(0.03, 0.06)
        job = queue.enqueue(f"sleep {pause:.4f}; echo > {shlex.quote(str(fifo))}")
        polling = sample % 2
        with mock.patch.object(notifier, "open_fifo", side_effect=OSError) if polling else nullcontext():
            job.wait()
        found[polling].append(time.perf_counter() - ends.get())
    os.write(reader, b"!")
    thread.join()
    os.close(reader)
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process, in nanosecond resolution if the kernel has schedstat."""
    threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if threads:
        return sum(int(each.read_text().split()[0]) for each in threads) / 1e9
    return sum(psutil.Process(pid).cpu_times()[:2])


def idle_share(queue: Queue, seconds: float) -> float:
    """Return the share of a core that the busiest idle worker uses."""
    pids = [each["pid"] for each in list_workers(queue.store)]
    before = [cpu_seconds(pid) for pid in pids]
    time.sleep(seconds)
    return max(cpu_seconds(pid) - earlier for pid, earlier in zip(pids, before, strict=True)) / seconds


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure all on one queue with waiting workers."""
    with measure.idle_queue(args.workers) as queue:
        queue.resume()
        found = latencies(queue, args.samples)
        notified, polled = (measure.percentile(each, 0.5) for each in wait_latencies(queue, args.samples))
        time.sleep(1)
        share = idle_share(queue, args.idle_seconds)
    half, most = measure.percentile(found, 0.5), measure.percentile(found, 0.99)
    detail = f"{args.samples} enqueues, {args.workers} waiting workers"
    return [
        measure.Row("enqueue to the command's start, p50", f"{half * 1e3:.2f} ms", "≤ 5 ms", half <= P50, detail),
        measure.Row("enqueue to the command's start, p99", f"{most * 1e3:.2f} ms", "≤ 50 ms", most <= P99, detail),
        measure.Row(
            "end of a command to the return of job.wait(), p50",
            f"{notified * 1e3:.2f} ms",
            "≤ 3 ms",
            notified <= WAIT_P50,
            f"{polled * 1e3:.2f} ms by polling every 20 ms, {polled / notified:.1f} times as much",
        ),
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
