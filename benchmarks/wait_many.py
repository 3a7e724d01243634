"""20,000 jobs of ``true`` with two workers beside a process that waits for all of them, and without one.

The rate is that of the recorded attempts, from the first start to the last end. The waiting process reports the CPU
time of its ``q.wait(batch)``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import measure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from queuectl_nb import Queue

TARGET_RATE = 0.97
TARGET_CPU = 0.03
WAIT = """
import sys, time
from queuectl_nb import Queue
from queuectl_nb.client.batch import Batch
queue = Queue(sys.argv[1])
batch = Batch(queue, [f"job-{number}" for number in range(1, int(sys.argv[2]) + 1)])
print("ready", flush=True)
began, cpu = time.monotonic(), time.process_time()
queue.wait(batch)
print((time.process_time() - cpu) / (time.monotonic() - began))
"""


@contextmanager
def waiting(queue: Queue, jobs: int, found: list[float]) -> Iterator[None]:
    """Let another process wait for the jobs meanwhile; append its share of a core to ``found``."""
    words = [sys.executable, "-c", WAIT, str(queue.path), str(jobs)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)  # its first check reads the states of all jobs
    yield
    found.append(float(process.stdout.readline()))
    assert process.wait() == 0


def rate(jobs: int, found: list[float] | None = None) -> float:
    """Return the jobs a second; with ``found``, beside a waiting process."""
    with measure.idle_queue(2, jobs) as queue:
        with nullcontext() if found is None else waiting(queue, jobs, found):
            queue.resume()
            measure.until_completed(queue, jobs)
        sql = "SELECT count(*) / (max(finished_at) - min(started_at)) FROM attempts"
        per_second: float = queue.store.db.query(sql)[0][0]
    return per_second


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both in alternation."""
    shares: list[float] = []
    measured, reference = measure.alternate(args.rounds, lambda: rate(args.jobs, shares), lambda: rate(args.jobs))
    share = sorted(shares)[len(shares) // 2]
    what = f"{args.jobs:,} jobs beside a wait for all, against none"
    return [
        measure.compare(what, "jobs/s", measured, reference, TARGET_RATE, at_least=True),
        measure.Row("CPU of this wait", f"{share:.1%} of a core", f"≤ {TARGET_CPU:.0%}", share <= TARGET_CPU),
    ]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=20_000, rounds=3)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
