"""Failures by reason: ``queuectl errors`` among 100,000 failed jobs, and what the reasons cost when jobs are settled.

The second row settles attempts that failed with a traceback, in groups as a worker does, with and without the reason
in alternation.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import measure

from queuectl_nb import Queue
from queuectl_nb.store import settle
from queuectl_nb.store.error_groups import read_error_groups
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

TARGET_S = 0.3
SETTLE_TARGET = 1.02
REASONS = 20
TRACEBACK = """Traceback (most recent call last):
  File "/home/ann/train.py", line 30, in <module>
    main()
  File "/home/ann/train.py", line {line}, in step_{kind}
    raise ValueError(f"bad rate {{rate}}")
ValueError: bad rate {rate}
"""


def fail_jobs(queue: Queue, jobs: int) -> Iterator[float]:
    """Let ``jobs`` jobs fail for :data:`REASONS` reasons; yield the seconds of settling each group."""

    def write(number: int) -> dict[str, str]:
        return {"stderr": TRACEBACK.format(line=number % 100, kind=number % REASONS, rate=number / jobs)}

    return measure.end_jobs(queue, jobs, 1, write)


def settle_with_reason(folder: Path, jobs: int) -> float:
    """Return the seconds of settling ``jobs`` failed attempts."""
    folder.mkdir()
    queue = Queue(folder / "queue.db")
    seconds = sum(fail_jobs(queue, jobs))
    queue.close()
    return seconds


def settle_without_reason(folder: Path, jobs: int) -> float:
    """Return the same without the search for the reason."""
    with patch.object(settle, "group_of", lambda *_: None):
        return settle_with_reason(folder, jobs)


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "large.db")
        for _ in fail_jobs(queue, args.jobs):
            pass
        times = []
        for _ in range(args.rounds):
            began = time.perf_counter()
            found = read_error_groups(queue.store.db, Filter())
            times.append(time.perf_counter() - began)
        assert len(found) == REASONS
        queue.close()
        numbers = iter(range(2 * args.rounds))
        sides = measure.alternate(
            args.rounds,
            lambda: settle_with_reason(Path(folder) / f"{next(numbers)}", args.settled),
            lambda: settle_without_reason(Path(folder) / f"{next(numbers)}", args.settled),
        )
    seconds = statistics.median(times)
    what = f"errors among {args.jobs:,} failed jobs"
    settled = f"settling {args.settled:,} failed attempts, with the reason against without"
    return [
        measure.Row(what, f"{seconds:.3f} s", f"≤ {TARGET_S:g} s", seconds <= TARGET_S),
        measure.compare(settled, "s", *sides, SETTLE_TARGET, at_least=False),
    ]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=100_000, settled=5_000, rounds=5)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
