"""What one dispatcher can do: up to 5,000 jobs in flight on workers that are only simulated (``drawn.py``).

Everything but the workers is real: the claims, the journal, the records with synchronous=FULL. Printed are jobs a
second, the dispatcher's CPU, and how late it takes in the end of a job. For a number of workers that is always busy,
``workers / mean`` is the rate that they need.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
from drawn import DrawnControl, DrawnCrew

from queuectl_nb import Queue
from queuectl_nb.engine.dask.dispatcher import Dispatcher
from queuectl_nb.engine.events import Events, WorkerEvents
from queuectl_nb.engine.worker_core import WorkerCore

if TYPE_CHECKING:
    import argparse

OFFERED = 5000.0
"""Jobs a second that the simulated workers would take if they got them."""
BAR = 200.0
"""Jobs a second that a thousand workers with jobs of five seconds need."""


def simulate(jobs: int, most: int, mean: float) -> tuple[float, float, DrawnCrew]:
    """Run ``jobs`` through a dispatcher; return wall and CPU seconds, and the crew with what it saw."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        queue.enqueue_specs([measure.JobSpec("true", timeout=0.0) for _ in range(jobs)])
        name = queue.store.workers.register(lambda _: True, pool=0, host="here", queues=(), now=time.time())
        crew = DrawnCrew(queue.store.spool, most=most, mean=mean)
        control = DrawnControl(queue.store, name, WorkerEvents(Events(None), name))
        dispatcher = Dispatcher(WorkerCore(queue.store, control, host="here", drain=True), crew)
        used = resource.getrusage(resource.RUSAGE_SELF)
        began = time.perf_counter()
        dispatcher.work()
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_SELF)
        assert queue.store.reader.counts()[measure.State.COMPLETED] == jobs
        queue.close()
    return wall, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime, crew


def steady_rate(taken: list[float]) -> float:
    """Return the ends a second while all was busy: between the first tenth and the last quarter."""
    first, last = len(taken) // 10, 3 * len(taken) // 4
    return (last - first) / (taken[last] - taken[first])


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Simulate each number of jobs in flight."""
    rows = []
    for most in args.in_flight or (100, 1000, 5000):
        jobs = max(args.jobs, 3 * most)
        mean = args.mean or most / OFFERED
        wall, cpu, crew = simulate(jobs, most, mean)
        rate = steady_rate(crew.taken)
        late = measure.percentile(crew.lags, 0.99)
        detail = (
            f"{crew.peak} in flight at most, {mean:g} s a job on the average; CPU {cpu / jobs * 1e3:.2f} ms a job, "
            f"{cpu / wall:.0%} of a core; an end taken in after {measure.percentile(crew.lags, 0.5) * 1e3:.0f} ms "
            f"(p50), {late * 1e3:.0f} ms (p99)"
        )
        what = f"{jobs} simulated jobs, up to {most} in flight"
        rows.append(measure.Row(what, f"{rate:.0f} jobs/s", f"≥ {BAR:g} jobs/s", rate >= BAR, detail))
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = measure.options(__doc__, jobs=10_000)
    made.add_argument("--in-flight", type=int, action="append", metavar="N", help="repeatable; default 100, 1000, 5000")
    made.add_argument(
        "--mean", type=float, metavar="S", help="seconds a job; default: so many that it has always more to do"
    )
    return made


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
