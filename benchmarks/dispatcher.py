"""Throughput of one dispatcher: up to 5,000 jobs in flight, with ``simulated_executor.py``.

Everything but the workers is real: claims, journal, transactions with synchronous=FULL. It prints jobs per second, the
dispatcher's CPU time, and the delay between the end of a job and its poll. ``workers / mean`` is the rate that a number
of busy workers needs.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
from simulated_executor import SimulatedControl, SimulatedExecutor

from queuectl_nb import Queue
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.engine.dask.dispatcher import Dispatcher
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.engine.worker_core import WorkerCore

if TYPE_CHECKING:
    import argparse

OFFERED = 5000.0
"""Jobs per second that the simulated workers would run."""
TARGET = 200.0
"""Jobs per second that a thousand workers with jobs of five seconds need."""


def simulate(jobs: int, in_flight: int, mean: float) -> tuple[float, float, SimulatedExecutor]:
    """Run ``jobs`` through a dispatcher; return wall and CPU seconds, and the executor with what it measured."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        enqueue_specs(queue, [measure.JobSpec("true", timeout=0.0) for _ in range(jobs)])
        name = queue.store.workers.register(lambda _: True, pool=0, host="here", queues=(), now=time.time())
        executor = SimulatedExecutor(queue.store.spool, max_in_flight=in_flight, mean=mean)
        events = Events(os.open(os.devnull, os.O_WRONLY))
        events.has_reader = False
        control = SimulatedControl(queue.store, name, WorkerEvents(events, name))
        dispatcher = Dispatcher(WorkerCore(queue.store, control, host="here", drain=True), executor)  # type: ignore[arg-type]
        used = resource.getrusage(resource.RUSAGE_SELF)
        began = time.perf_counter()
        dispatcher.work()
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_SELF)
        assert queue.store.reader.counts()[measure.State.COMPLETED] == jobs
        queue.close()
    return wall, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime, executor


def steady_rate(polled_at: list[float]) -> float:
    """Return the ends per second between the first tenth and the last quarter, while all slots were busy."""
    first, last = len(polled_at) // 10, 3 * len(polled_at) // 4
    return (last - first) / (polled_at[last] - polled_at[first])


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Simulate each number of jobs in flight."""
    rows = []
    for in_flight in args.in_flight or (100, 1000, 5000):
        jobs = max(args.jobs, 3 * in_flight)
        mean = args.mean or in_flight / OFFERED
        wall, cpu, executor = simulate(jobs, in_flight, mean)
        rate = steady_rate(executor.polled_at)
        delay = measure.percentile(executor.delays, 0.99)
        detail = (
            f"{executor.peak} in flight at most, mean {mean:g} s a job; CPU {cpu / jobs * 1e3:.2f} ms a job, "
            f"{cpu / wall:.0%} of a core; an end polled after {measure.percentile(executor.delays, 0.5) * 1e3:.0f} ms "
            f"(p50), {delay * 1e3:.0f} ms (p99)"
        )
        what = f"{jobs} simulated jobs, up to {in_flight} in flight"
        rows.append(measure.Row(what, f"{rate:.0f} jobs/s", f"≥ {TARGET:g} jobs/s", rate >= TARGET, detail))
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = measure.options(__doc__, jobs=10_000)
    made.add_argument("--in-flight", type=int, action="append", metavar="N", help="repeatable; default 100, 1000, 5000")
    made.add_argument(
        "--mean", type=float, metavar="S", help="mean seconds per job; default: keeps the dispatcher busy"
    )
    return made


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
