"""Claim and settle in a queue with a million finished and a million delayed high-priority jobs, and in an empty one.

A second row has jobs in 50 more queues that have limits, against the same queues without. Both use the worker's
transactions with synchronous=FULL on one job at a time, in alternation. The finished jobs are written by SQL, since
running a million takes an hour.
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
    from collections.abc import Callable, Sequence

TARGET = 1.5
LIMITS_TARGET = 1.2
QUEUES = 50
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


def claim_and_settle(claims: Claims, queue: Queue) -> float:
    """Claim and settle a job in two transactions; return the seconds."""
    settings, now = queue.settings, time.time()
    began = time.perf_counter()
    (lease,) = claims.settle_and_claim(limit=1, settings=settings, now=now, rand=0.0).leases
    ended = EndedAttempt(lease, Exited(0), Ending(now, now, 1, usage=Usage(0.0, 0.0, 0)))
    claims.settle_and_claim(ended=[ended], settings=settings, now=now, rand=0.0)
    return time.perf_counter() - began


def add_queues(queue: Queue, limit: int | None) -> None:
    """Add jobs in :data:`QUEUES` more queues, each with this limit."""
    for number in range(QUEUES):
        enqueue_specs(queue, [measure.JobSpec("true", queue=f"queue-{number}", priority=-1)])
        queue.limit(f"queue-{number}", limit)


def compare(rounds: int, what: str, target: float, sides: Sequence[Callable[[Queue], None]]) -> measure.Row:
    """Claim and settle in two queues in alternation; the functions add what differs."""
    with measure.scratch() as folder:
        claims = []
        for number, prepare in enumerate(sides):
            queue = Queue(Path(folder) / f"{number}.db")
            prepare(queue)
            enqueue_specs(queue, [measure.JobSpec("true")] * (rounds + 10))
            # the checkpoint of these writes is not part of the measurement
            queue.store.db.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            claims.append((Claims(queue.store.db, WORKER, "host"), queue))
        for _ in range(10):  # caches
            for side in claims:
                claim_and_settle(*side)
        measured, reference = zip(*([claim_and_settle(*side) for side in claims] for _ in range(rounds)), strict=True)
        for _, queue in claims:
            queue.close()
    ratio = statistics.median(measured) / statistics.median(reference)
    spread = [a / b for a, b in zip(measured, reference, strict=True)]
    words = (
        f"{ratio:.2f} (of medians; pairwise median {statistics.median(spread):.2f},"
        f" 5 % below {measure.percentile(spread, 0.05):.2f}, 5 % above {measure.percentile(spread, 0.95):.2f})"
    )
    detail = f"{statistics.median(measured) * 1e6:.0f} µs and {statistics.median(reference) * 1e6:.0f} µs"
    return measure.Row(what, words, f"≤ {target:g}", ratio <= target, detail)


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both queues of each row in alternation."""

    def large(queue: Queue) -> None:
        fill(queue, args.finished, args.delayed)

    def with_queues(limit: int | None) -> Callable[[Queue], None]:
        def prepare(queue: Queue) -> None:
            large(queue)
            add_queues(queue, limit)

        return prepare

    jobs = f"{args.finished:,} finished and {args.delayed:,} delayed jobs"
    return [
        compare(args.rounds, f"claim and settle with {jobs}, against an empty queue", TARGET, (large, lambda _: None)),
        compare(
            args.rounds,
            f"claim and settle with {QUEUES} limited queues and {jobs}, against queues without limits",
            LIMITS_TARGET,
            (with_queues(2), with_queues(None)),
        ),
    ]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, finished=1_000_000, delayed=1_000_000, rounds=500)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
