"""The rate of 100,000 jobs in one transaction, compared with ``executemany`` of as many bare rows.

``enqueue_many`` validates every field, writes 28 columns and three indexes, updates the counts by trigger, and syncs.
The bare table has four columns and one index; its rows are created before the clock starts. Each round uses a new file.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure

from queuectl_nb import Queue

if TYPE_CHECKING:
    import argparse

TARGET_RATE = 50_000


def run_queuectl(jobs: int) -> float:
    """Return the seconds of ``enqueue_many`` from dicts."""
    rows = [{"command": "true"}] * jobs
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        began = time.perf_counter()
        queue.enqueue_many(rows)
        spent = time.perf_counter() - began
        assert sum(queue.store.reader.counts().values()) == jobs
        queue.close()
    return spent


def bare(jobs: int) -> float:
    """Return the seconds of an ``executemany`` of as many rows."""
    rows = [(f"job-{place}", "true", "pending", time.time()) for place in range(jobs)]
    with measure.scratch() as folder:
        connection = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE bare (id TEXT PRIMARY KEY, command TEXT, state TEXT, created_at REAL)")
        began = time.perf_counter()
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO bare VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        spent = time.perf_counter() - began
        connection.close()
    return spent


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both in alternation; the rate is that of the best round."""
    measured, reference = measure.alternate(args.rounds, lambda: run_queuectl(args.jobs), lambda: bare(args.jobs))
    rate = args.jobs / min(measured)
    _, words = measure.ratios(measured, reference)
    middle = args.jobs / sorted(measured)[len(measured) // 2]
    detail = f"median {middle:,.0f} a second; takes {words} of the time of bare rows"
    what = f"enqueue_many of {args.jobs:,} dicts"
    return [measure.Row(what, f"{rate:,.0f} a second", f"≥ {TARGET_RATE:,}", rate >= TARGET_RATE, detail)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=100_000, rounds=5)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
