"""A hundred thousand jobs in one transaction: the rate, and beside it sqlite3's executemany of as many bare rows.

Ours checks every field, writes 28 columns and three indexes, keeps the tally by trigger, and syncs. The bare table has
four columns and an index on one of them; its rows are made before the clock starts. Rounds go in turn,
each into a new file.
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

RATE_BAR = 50_000


def ours(jobs: int) -> float:
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
    """Measure both sides in turn; the rate is that of the best round, since only noise makes one slower."""
    mine, theirs = measure.in_turn(args.rounds, lambda: ours(args.jobs), lambda: bare(args.jobs))
    rate = args.jobs / min(mine)
    _, words = measure.ratios(mine, theirs)
    middle = args.jobs / sorted(mine)[len(mine) // 2]
    detail = f"median {middle:,.0f} a second; takes {words} of the time of bare rows"
    what = f"enqueue_many of {args.jobs:,} dicts"
    return [measure.Row(what, f"{rate:,.0f} a second", f"≥ {RATE_BAR:,}", rate >= RATE_BAR, detail)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=100_000, rounds=5)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
