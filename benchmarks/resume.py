"""A sweep of 100,000 rows of which 99,990 are done, enqueued again with ``resume``, against a fresh enqueue."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure

from queuectl_nb import Queue

if TYPE_CHECKING:
    import argparse

TARGET = 1.3
TEMPLATE = "python train.py --row {row}"


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both in alternation."""
    rows = [{"row": number} for number in range(args.rows)]
    with measure.scratch() as folder:
        done = Queue(Path(folder) / "done.db")
        done.enqueue_many(TEMPLATE, rows[args.missing :], resume=True)
        with done.store.db.write() as connection:
            connection.execute("UPDATE jobs SET state = 'completed', ready = 0, finished_at = 1")
        numbers = itertools.count()

        def resume() -> float:
            began = time.perf_counter()
            batch = done.enqueue_many(TEMPLATE, rows, resume=True)
            seconds = time.perf_counter() - began
            assert str(batch) == f"{args.rows - args.missing} kept, {args.missing} enqueued"
            done.delete(*batch.ids[: args.missing])
            return seconds

        def fresh() -> float:
            queue = Queue(Path(folder) / f"{next(numbers)}.db")
            began = time.perf_counter()
            queue.enqueue_many(TEMPLATE, rows)
            seconds = time.perf_counter() - began
            queue.close()
            return seconds

        sides = measure.alternate(args.rounds, resume, fresh)
        done.close()
    what = f"resume of {args.rows:,} rows of which {args.missing} are missing, against enqueue_many of all"
    return [measure.compare(what, "s", *sides, TARGET, at_least=False)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, rows=100_000, missing=10, rounds=5)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
