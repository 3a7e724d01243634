"""Function jobs with two workers: rate of ``map``, latency of ``submit``, cost of imports, large arrays.

Rivals run in alternation on the same machine: dask (``LocalCluster`` with two processes) and loky for ``f(x) = x``.
They record nothing and keep their processes; here each call is a durable job in a process of its own.
"""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure

from queuectl_nb import Queue

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

WORKERS = 2
MIN_RATE = 300
CHUNK = 100


def identity(value: Any) -> Any:
    """Return the argument."""
    return value


@contextmanager
def waiting() -> Iterator[Queue]:
    """Yield a queue with workers that have run a few functions."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        with queue.start_workers(WORKERS, on_event=lambda _: None) as pool:
            queue.map(lambda value: value, range(4 * WORKERS)).results()
            yield queue
            pool.stop(now=True)
        queue.close()


def rate(count: int, run: Callable[[], object]) -> float:
    """Return calls per second."""
    began = time.perf_counter()
    run()
    return count / (time.perf_counter() - began)


def compare_dask(queue: Queue, calls: int, rounds: int) -> measure.Row:
    """Compare ``map`` with dask."""
    what = f"{calls} calls by map, 2 workers, against dask with 2 processes"
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        return measure.Row(what, "-", "> 1", None, "dask is not installed")
    options = {"dashboard_address": None, "worker_dashboard_address": None}
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        client.gather(client.map(identity, range(4 * WORKERS), pure=False))
        found = measure.alternate(
            rounds,
            lambda: rate(calls, lambda: queue.map(lambda value: value, range(calls)).results()),
            lambda: rate(calls, lambda: client.gather(client.map(identity, range(calls), pure=False))),
        )
    return measure.compare(what, "calls/s", *found, 1.0, at_least=True)


def compare_loky(queue: Queue, calls: int, rounds: int) -> measure.Row:
    """Compare chunks with loky at its default."""
    what = f"{calls} calls by map, chunksize {CHUNK}, against loky"
    try:
        from loky import get_reusable_executor
    except ImportError:
        return measure.Row(what, "-", "≥ 0.5", None, "loky is not installed")
    executor = get_reusable_executor(max_workers=WORKERS)
    list(executor.map(identity, range(100)))
    found = measure.alternate(
        rounds,
        lambda: rate(calls, lambda: queue.map(lambda value: value, range(calls), chunksize=CHUNK).results()),
        lambda: rate(calls, lambda: list(executor.map(identity, range(calls)))),
    )
    executor.shutdown()
    return measure.compare(what, "calls/s", *found, 0.5, at_least=True)


def latency(queue: Queue, samples: int) -> measure.Row:
    """Measure from ``submit`` to the return of ``result()``."""

    def once() -> float:
        began = time.perf_counter()
        queue.submit(lambda: None).result()
        return (time.perf_counter() - began) * 1000

    times = [once() for _ in range(samples)]
    p50, p99 = measure.percentile(times, 0.5), measure.percentile(times, 0.99)
    return measure.Row(
        "submit to the return of result(), warm, p50", f"{p50:.1f} ms", "≤ 10 ms", p50 <= 10, f"p99 {p99:.1f} ms"
    )


def imports(queue: Queue, samples: int) -> measure.Row:
    """Measure a function that imports pandas, above an empty one; the first call is the cold one."""

    def use_pandas() -> int:
        import pandas as pd

        return len(pd.DataFrame({"x": [1]}))

    def once(function: Callable[[], object]) -> float:
        began = time.perf_counter()
        queue.submit(function).result()
        return (time.perf_counter() - began) * 1000

    cold = once(use_pandas)
    for _ in range(2 * WORKERS):  # every worker has seen it
        once(use_pandas)
    warm = statistics.median(once(use_pandas) for _ in range(samples))
    empty = statistics.median(once(lambda: None) for _ in range(samples))
    extra = warm - empty
    return measure.Row(
        "a call that imports pandas, above an empty one",
        f"{extra:.1f} ms",
        "≤ 30 ms",
        extra <= 30,
        f"{cold:.0f} ms cold",
    )


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure all."""
    with waiting() as queue:
        rates = [
            rate(args.calls, lambda: queue.map(lambda value: value, range(args.calls)).results()) for _ in range(3)
        ]
        best = max(rates)
        return [
            measure.Row(
                f"{args.calls} calls by map, 2 workers",
                f"{best:.0f} calls/s",
                f"≥ {MIN_RATE}",
                best >= MIN_RATE,
                f"median {statistics.median(rates):.0f}",
            ),
            compare_dask(queue, args.calls, args.rounds),
            compare_loky(queue, 10 * args.calls, args.rounds),
            latency(queue, args.samples),
            imports(queue, args.samples // 5),
        ]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, calls=1000, rounds=5, samples=100)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
