"""Failures by reason: ``queuectl errors`` among 100,000 failed jobs, and what the reasons cost when jobs are settled.

Attempts that failed with a traceback are settled as a worker does: written to its journal, and recorded in groups, in
one transaction with the claim of the next jobs. Groups with and without a reason alternate in one queue. A worker reads
the reason from the output while its next job runs; the last row has that time, too.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import measure

from queuectl_nb import Queue
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.engine.outcome_journal import OutcomeJournal
from queuectl_nb.engine.work_buffer import WorkBuffer
from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store import settle
from queuectl_nb.store.claims import Claims
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


def write(number: int, jobs: int) -> str:
    """Return the traceback of a job."""
    return TRACEBACK.format(line=number % 100, kind=number % REASONS, rate=number / jobs)


def fail_jobs(queue: Queue, jobs: int) -> Iterator[float]:
    """Let ``jobs`` jobs fail for :data:`REASONS` reasons; yield the seconds of settling each group."""
    return measure.end_jobs(queue, jobs, 1, lambda number: {"stderr": write(number, jobs)})


def settle_groups(queue: Queue, jobs: int) -> dict[str, tuple[list[float], list[float]]]:
    """Settle ``jobs`` failed attempts; return the seconds of each group, without and with the reason, by step."""
    enqueue_specs(queue, [JobSpec("true", max_retries=1)] * jobs)
    claims = Claims(queue.store.db, "worker-1", "host", parallel=True)
    journal = OutcomeJournal(queue.store.worker_dir, "worker-1")
    found: dict[str, tuple[list[float], list[float]]] = {"settle": ([], []), "read": ([], [])}
    with Path(os.devnull).open("wb") as sink:
        buffer = WorkBuffer(queue.store, claims, journal, WorkerEvents(Events(sink.fileno()), "worker-1"))
        buffer.flush(queue.settings, measure.GROUP)
        number = 0
        while len(buffer.claimed) == measure.GROUP:
            with_reason = number // measure.GROUP % 2
            began = time.perf_counter()
            while buffer.claimed:
                text, now = write(number, jobs), time.time()
                ending = Ending(now, now, 1, usage=Usage(0.0, 0.0, 0), stderr=text, stderr_size=len(text))
                buffer.add_result(buffer.claimed.popleft(), Exited(1), ending)
                number += 1
            added = time.perf_counter()
            with nullcontext() if with_reason else patch.object(settle, "group_of", lambda *_: None):
                buffer.results = [settle.explain(each) for each in buffer.results]
            read = time.perf_counter()
            buffer.flush(queue.settings, measure.GROUP)
            found["settle"][with_reason].append(time.perf_counter() - read + added - began)
            found["read"][with_reason].append(read - added)
    return found


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "large.db")
        for _ in fail_jobs(queue, args.jobs):
            pass
        times = []
        cpu_began = time.process_time()
        for _ in range(args.rounds):
            began = time.perf_counter()
            found = read_error_groups(queue.store.db, Filter())
            times.append(time.perf_counter() - began)
        cpu = f"{(time.process_time() - cpu_began) / args.rounds:.3f} s of CPU"
        assert len(found) == REASONS
        queue.close()
        queue = Queue(Path(folder) / "settled.db")
        found = settle_groups(queue, args.settled)
        queue.close()
    seconds = statistics.median(times)
    what = f"errors among {args.jobs:,} failed jobs"
    without, with_reason = (statistics.median(each) for each in found["settle"])
    read_without, read = (statistics.median(each) for each in found["read"])
    ratio, per_job = with_reason / without, 1e6 / measure.GROUP
    settled = f"settling {args.settled:,} failed attempts in groups of {measure.GROUP}, with a reason against without"
    detail = f"{with_reason * per_job:.1f} µs a job against {without * per_job:.1f}"
    both = (with_reason + read) / (without + read_without)
    reading = f"{(read - read_without) * per_job:.1f} µs a job more, of {read * per_job:.1f} for the error message"
    return [
        measure.Row(what, f"{seconds:.3f} s", f"≤ {TARGET_S:g} s", seconds <= TARGET_S, cpu),
        measure.Row(settled, f"{ratio:.3f}", f"≤ {SETTLE_TARGET:g}", ratio <= SETTLE_TARGET, detail),
        measure.Row("the same and reading the reason, if no job ran meanwhile", f"{both:.3f}", "", None, reading),
    ]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=100_000, settled=20_000, rounds=5)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
