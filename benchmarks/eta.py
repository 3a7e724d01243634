"""The estimated time left: ``status`` of a queue with 100,000 waiting jobs, with the estimate and without.

Eight workers run a sweep of three kinds of commands that differ in their values; a thousand of its jobs have finished.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure

from queuectl_nb import Queue
from queuectl_nb.client.eta import Eta, read_eta
from queuectl_nb.client.workers import read_status, status_with
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.settings import Settings
from queuectl_nb.store.claims import Claims, EndedAttempt

if TYPE_CHECKING:
    import argparse

TARGET_S = 0.01
FINISHED, WORKERS = 1000, 8
COMMANDS = ("sleep 6{}; : train --lr {}", "sleep 6{}; : test --model {}", "sleep 6{} {}")


def fill(queue: Queue, jobs: int) -> None:
    """Enqueue ``jobs``, and let some finish."""
    rng = random.Random(1)
    rows = [COMMANDS[number % 3].format(number, rng.random()) for number in range(jobs)]
    queue.enqueue_many([{"command": command} for command in rows])
    claims, settings = Claims(queue.store.db, "worker-1", "host", parallel=True), Settings.from_stored({})
    ended = list[EndedAttempt]()
    for done in range(0, FINISHED, measure.GROUP):
        now = time.time() - 2 * (FINISHED - done)
        turn = claims.settle_and_claim(ended=ended, limit=measure.GROUP, settings=settings, now=now, rand=0.0)
        ended = [EndedAttempt(each, Exited(0), Ending(now + rng.expovariate(0.1), now)) for each in turn.leases]
    claims.settle_and_claim(ended=ended, settings=settings, now=time.time(), rand=0.0)


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both in alternation."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        fill(queue, args.jobs)
        with queue.start_workers(WORKERS) as pool:
            try:
                while queue.store.reader.counts()["processing"] < WORKERS:
                    time.sleep(0.1)
                time.sleep(1)

                def with_estimate() -> float:
                    began = time.perf_counter()
                    assert read_status(queue.store)["eta_s"]
                    return time.perf_counter() - began

                def without() -> float:
                    began = time.perf_counter()
                    status_with(queue.store, Eta())
                    return time.perf_counter() - began

                first = with_estimate()
                sides = measure.alternate(args.rounds, with_estimate, without)
                began = time.process_time()
                for _ in range(args.rounds):
                    read_eta(queue.store)
                cpu_s = (time.process_time() - began) / args.rounds
            finally:
                pool.stop(now=True)
        queue.close()
    added = statistics.median(a - b for a, b in zip(*sides, strict=True))
    ratio = statistics.median(a / b for a, b in zip(*sides, strict=True))
    detail = f"{ratio:.1f} times the rest of status; the first call {1e3 * first:.0f} ms; {1e3 * cpu_s:.1f} ms of CPU"
    what = f"the time left in status, {args.jobs:,} waiting jobs"
    return [measure.Row(what, f"{1e3 * added:.1f} ms", f"≤ {1e3 * TARGET_S:g} ms", added <= TARGET_S, detail)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=100_000, rounds=30)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
