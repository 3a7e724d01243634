"""A million jobs as a DataFrame with real types, compared with ``pandas.read_sql`` of the same columns without them.

Jobs are enqueued once and brought to all states by SQL, with times, tags and results on some of them. Both read the
whole table in this process, in alternation, from the page cache.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import pandas as pd

from queuectl_nb import Queue
from queuectl_nb.model.job import JOB_FIELDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

TARGET = 1.0
BATCH = 100_000
SELECT = f"SELECT {', '.join(JOB_FIELDS)} FROM jobs"

SET_STATES = """
    UPDATE jobs SET
        state = CASE
            WHEN seq % 10 < 7 THEN 'completed' WHEN seq % 10 = 7 THEN 'dead'
            WHEN seq % 20 = 8 THEN 'failed' ELSE 'cancelled'
        END,
        ready = 0, attempts = 1 + seq % 3, starts = 1 + seq % 3, worker = 'worker-' || (seq % 4),
        updated_at = created_at + seq / 100.0, started_at = created_at + seq / 200.0,
        finished_at = created_at + seq / 100.0, exit_code = CASE WHEN seq % 10 < 7 THEN 0 ELSE 1 END,
        error = CASE WHEN seq % 10 < 7 THEN NULL ELSE 'exit code 1' END,
        result = CASE WHEN seq % 50 = 0 THEN '{"loss": ' || (seq / 1e6) || '}' END, rev = seq
    WHERE seq % 10 <> 9
"""


def fill(queue: Queue, jobs: int) -> None:
    """Fill the queue."""
    for first in range(0, jobs, BATCH):
        queue.enqueue_many(
            {
                "command": f"python train.py --lr {place / 7:.6f} --seed {place}",
                "priority": place % 5,
                "tags": ["sweep"] if place % 20 == 0 else [],
                "timeout": 3600 if place % 3 else None,
            }
            for place in range(first, min(jobs, first + BATCH))
        )
    with queue.store.db.write() as connection:
        connection.execute(SET_STATES)
    queue.store.db.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def seconds(read: Callable[[], pd.DataFrame], jobs: int) -> float:
    """Return the duration of ``read``."""
    gc.collect()
    began = time.perf_counter()
    frame = read()
    spent = time.perf_counter() - began
    assert len(frame) == jobs, f"{len(frame)} rows"
    return spent


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both in alternation."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        fill(queue, args.jobs)
        connection = sqlite3.connect(queue.path)
        measured, reference = measure.alternate(
            args.rounds,
            lambda: seconds(queue.jobs, args.jobs),
            lambda: seconds(lambda: pd.read_sql(SELECT, connection), args.jobs),
        )
        connection.close()
        queue.close()
    what = f"{args.jobs:,} jobs as a DataFrame, against pandas.read_sql"
    return [measure.compare(what, "s", measured, reference, TARGET, at_least=False)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=1_000_000, rounds=3)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
