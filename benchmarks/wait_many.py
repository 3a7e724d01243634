"""20,000 jobs of ``true`` with two workers beside a process that waits for all of them, and without one.

The rate is that of the recorded attempts, from the first start to the last end. The waiting process reports the CPU
time of its ``q.wait(batch)``, or of ``await asyncio.gather(*batch)``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import measure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from queuectl_nb import Queue

TARGET_RATE = 0.97
TARGET_CPU = 0.03
WAITERS = {
    "wait": "queue.wait(batch)",
    "await": "asyncio.run(gather())",
}
WAIT = """
import asyncio, sys, time
from queuectl_nb import Queue
from queuectl_nb.client.job import Batch
queue = Queue(sys.argv[1])
batch = Batch(queue, [f"job-{{number}}" for number in range(1, int(sys.argv[2]) + 1)])

async def gather():
    await asyncio.gather(*batch)

print("ready", flush=True)
began, cpu = time.monotonic(), time.process_time()
{call}
print((time.process_time() - cpu) / (time.monotonic() - began))
"""


@contextmanager
def waiting(queue: Queue, call: str, jobs: int, found: list[float]) -> Iterator[None]:
    """Let another process wait for the jobs meanwhile; append its share of a core to ``found``."""
    words = [sys.executable, "-c", WAIT.format(call=call), str(queue.path), str(jobs)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)  # its first check reads the states of all jobs
    yield
    found.append(float(process.stdout.readline()))
    assert process.wait() == 0


def rate(jobs: int, call: str | None, found: list[float]) -> float:
    """Return the jobs a second with a waiting process, or without one."""
    with measure.idle_queue(2, jobs) as queue:
        if call is None:
            queue.resume()
            measure.until_completed(queue, jobs)
        else:
            with waiting(queue, call, jobs, found):
                queue.resume()
                measure.until_completed(queue, jobs)
        with queue.store.db.read() as connection:
            sql = "SELECT count(*) / (max(finished_at) - min(started_at)) FROM attempts"
            per_second: float = connection.execute(sql).fetchone()[0]
    return per_second


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure each way to wait."""
    rows = []
    for name, call in WAITERS.items():
        shares: list[float] = []
        measured, reference = measure.alternate(
            args.rounds,
            lambda call=call, shares=shares: rate(args.jobs, call, shares),
            lambda: rate(args.jobs, None, []),
        )
        what = f"{args.jobs:,} jobs beside a {name} of all, against none"
        rows.append(measure.compare(what, "jobs/s", measured, reference, TARGET_RATE, at_least=True))
        share = sorted(shares)[len(shares) // 2]
        reached = share <= TARGET_CPU
        rows.append(measure.Row(f"CPU of this {name}", f"{share:.1%} of a core", f"≤ {TARGET_CPU:.0%}", reached))
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=20_000, rounds=3)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
