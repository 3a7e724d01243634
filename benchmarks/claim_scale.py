"""Claim and settle in a queue with a million finished and a million delayed high-priority jobs, and in an empty one.

Both use the worker's transactions with synchronous=FULL on one job at a time, in alternation. The finished jobs are
written by SQL, since running a million takes an hour.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure

from queuectl_nb import Queue
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store.claims import Claims, EndedAttempt

if TYPE_CHECKING:
    import argparse

TARGET = 1.5
BATCH = 50_000
WORKER = "worker-1"

FINISHED = (
    """
    UPDATE jobs SET
        state = 'completed', ready = 0, attempts = 1, starts = 1, worker = 'worker-0', started_at = created_at,
        finished_at = created_at + 1, exit_code = 0
    WHERE queue = 'finished' AND state = 'pending'
    """,
    """
    INSERT INTO attempts (
        job, number, token, worker, host, pid, due_at, undo, started_at, finished_at, outcome, exit_code, stdout, stderr
    )
    SELECT
        seq, 1, lower(hex(randomblob(16))), worker, 'host', 1, run_at, 0,
        started_at, finished_at, 'succeeded', 0, '', ''
    FROM jobs WHERE state = 'completed' AND NOT EXISTS (SELECT 1 FROM attempts WHERE job = seq)
    """,
)


def fill(queue: Queue, finished: int, delayed: int) -> None:
    """Add the jobs that should not matter."""
    for many, spec in (
        (finished, measure.JobSpec("true", queue="finished")),
        (delayed, measure.JobSpec("true", delay=10**6, priority=1000)),
    ):
        for done in range(0, many, BATCH):
            enqueue_specs(queue, [spec] * min(BATCH, many - done))
    with queue.store.db.write() as connection:
        for statement in FINISHED:
            connection.execute(statement)
    # the checkpoint of these writes is not part of the measurement
    queue.store.db.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def claim_and_settle(claims: Claims, queue: Queue) -> float:
    """Claim and settle a job in two transactions; return the seconds."""
    settings, now = queue.settings, time.time()
    began = time.perf_counter()
    (lease,) = claims.settle_and_claim(limit=1, settings=settings, now=now, rand=0.0).leases
    ended = EndedAttempt(lease, Exited(0), Ending(now, now, 1, usage=Usage(0.0, 0.0, 0)))
    claims.settle_and_claim(ended=[ended], settings=settings, now=now, rand=0.0)
    return time.perf_counter() - began


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both queues in alternation."""
    with measure.scratch() as folder:
        sides = []
        for name, finished, delayed in (("large", args.finished, args.delayed), ("empty", 0, 0)):
            queue = Queue(Path(folder) / f"{name}.db")
            fill(queue, finished, delayed)
            enqueue_specs(queue, [measure.JobSpec("true")] * (args.rounds + 10))
            sides.append((Claims(queue.store.db, WORKER, "host"), queue))
        for _ in range(10):  # caches
            for side in sides:
                claim_and_settle(*side)
        large, empty = zip(*([claim_and_settle(*side) for side in sides] for _ in range(args.rounds)), strict=True)
        for _, queue in sides:
            queue.close()
    ratio = statistics.median(large) / statistics.median(empty)
    spread = [a / b for a, b in zip(large, empty, strict=True)]
    words = (
        f"{ratio:.2f} (of medians; pairwise median {statistics.median(spread):.2f},"
        f" 5 % below {measure.percentile(spread, 0.05):.2f}, 5 % above {measure.percentile(spread, 0.95):.2f})"
    )
    what = f"claim and settle with {args.finished:,} finished and {args.delayed:,} delayed jobs, against an empty queue"
    detail = f"{statistics.median(large) * 1e6:.0f} µs and {statistics.median(empty) * 1e6:.0f} µs"
    return [measure.Row(what, words, f"≤ {TARGET:g}", ratio <= TARGET, detail)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, finished=1_000_000, delayed=1_000_000, rounds=500)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
