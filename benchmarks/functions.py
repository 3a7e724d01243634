"""Function jobs with two workers: rate of ``map``, latency of ``submit`` and ``wait``, cost of imports, large arrays.

Rivals run in alternation on the same machine: dask (``LocalCluster`` with two processes), ipyparallel (two engines),
loky and huey (two worker processes) for ``f(x) = x``. All but huey record nothing, and all of them keep their
processes; here each call is a durable job in a process of its own.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import function_rivals as rivals
import measure

from queuectl_nb import Job, Queue

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

WORKERS = 2
MIN_RATE = 300
CHUNK = 100
IDENTITY: Callable[[Any], Any] = lambda value: value  # noqa: E731 - pickled by value, as functions of notebooks are


@contextmanager
def waiting() -> Iterator[Queue]:
    """Yield a queue with workers that have run a few functions."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        with queue.start_workers(WORKERS) as pool:
            queue.map(IDENTITY, range(4 * WORKERS)).results()
            yield queue
            pool.stop(now=True)
        queue.close()


def rate(count: int, run: Callable[[], object]) -> float:
    """Return calls per second."""
    began = time.perf_counter()
    run()
    return count / (time.perf_counter() - began)


def milliseconds(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1000


def plain_rate(queue: Queue, calls: int) -> measure.Row:
    """Measure ``map`` alone."""
    rates = [rate(calls, lambda: queue.map(IDENTITY, range(calls)).results()) for _ in range(3)]
    what, best = f"{calls} calls by map, 2 workers", max(rates)
    detail = f"median {statistics.median(rates):.0f}"
    return measure.Row(what, f"{best:.0f} calls/s", f"≥ {MIN_RATE}", best >= MIN_RATE, detail)


def compare_maps(queue: Queue, calls: int, rounds: int) -> Iterator[measure.Row]:
    """Compare ``map`` with that of each rival, or, of those that are meant for it, with chunks."""
    with_chunks = {"loky": 0.5, "huey": 1.0}
    for name in ("dask", "ipyparallel", "loky", "huey"):
        size = CHUNK if name in with_chunks else 1
        count, target = calls * (10 if size > 1 else 1), with_chunks.get(name, 1.0)
        what = f"{count} calls by map{f', chunksize {size}' if size > 1 else ''}, against {name}"
        try:
            with getattr(rivals, name)(WORKERS) as rival:
                apply = rival if name != "loky" else lambda values, pool=rival: list(pool.map(rivals.identity, values))
                apply(range(CHUNK))
                found = measure.alternate(
                    rounds,
                    lambda n=count, k=size: rate(n, lambda: queue.map(IDENTITY, range(n), chunksize=k).results()),
                    lambda n=count, run=apply: rate(n, lambda: run(range(n))),
                )
        except measure.Skipped as error:
            yield measure.Row(what, "-", f"≥ {target:g}", None, str(error))
        else:
            yield measure.compare(what, "calls/s", *found, target, at_least=True)


def latency(queue: Queue, samples: int) -> measure.Row:
    """Measure from ``submit`` to the return of ``result()``."""
    times = [milliseconds(lambda: queue.submit(lambda: None).result()) for _ in range(samples)]
    p50, p99 = measure.percentile(times, 0.5), measure.percentile(times, 0.99)
    what = "submit to the return of result(), warm, p50"
    return measure.Row(what, f"{p50:.1f} ms", "≤ 10 ms", p50 <= 10, f"p99 {p99:.1f} ms")


def wait_latency(queue: Queue, samples: int) -> measure.Row:
    """Measure from the end of a function to the return of ``job.wait()``."""

    def end(pause: float) -> float:
        time.sleep(pause)
        return time.perf_counter()  # the same clock in all processes

    times = []
    for _ in range(samples):
        job = queue.submit(end, random.uniform(0.03, 0.06)).wait()
        returned = time.perf_counter()
        times.append((returned - job.result()) * 1000)
    p50, p99 = measure.percentile(times, 0.5), measure.percentile(times, 0.99)
    what = "end of a function to the return of job.wait(), p50"
    return measure.Row(what, f"{p50:.1f} ms", "≤ 3 ms", p50 <= 3, f"p99 {p99:.1f} ms")


def imports(queue: Queue, samples: int) -> measure.Row:
    """Measure a function that imports pandas, above an empty one; the first call is the cold one."""

    def use_pandas() -> int:
        import pandas as pd

        return len(pd.DataFrame({"x": [1]}))

    def once(function: Callable[[], object]) -> float:
        return milliseconds(lambda: queue.submit(function).result())

    cold = once(use_pandas)
    for _ in range(2 * WORKERS):  # every worker has seen it
        once(use_pandas)
    warm = statistics.median(once(use_pandas) for _ in range(samples))
    empty = statistics.median(once(lambda: None) for _ in range(samples))
    extra = warm - empty
    what = "a call that imports pandas, above an empty one"
    return measure.Row(what, f"{extra:.1f} ms", "≤ 30 ms", extra <= 30, f"{cold:.0f} ms cold")


def arrays(queue: Queue, megabytes: int, rounds: int) -> Iterator[measure.Row]:
    """Compare an array as argument and as value with loky; its content differs each time, so that none is shared.

    Jobs are deleted afterwards. Their files would take memory that was never used before for the page cache, which a
    virtual machine provides ten times as slowly as memory that loky uses again.
    """
    import numpy as np

    count = megabytes * 125_000
    values = iter(range(1_000_000))
    places: dict[str, Callable[[Callable[..., Any]], Any]] = {
        "argument": lambda submit: submit(len, np.full(count, next(values), dtype=float)),
        "value": lambda submit: submit(np.full, count, float(next(values))),
    }
    for place, start in places.items():

        def once(submit: Callable[..., Any], start: Callable[..., Any] = start) -> float:
            began = time.perf_counter()
            started = start(submit)
            started.result()
            duration_ms = (time.perf_counter() - began) * 1000
            if isinstance(started, Job):
                started.delete()
            return duration_ms

        what = f"an array of {megabytes} MB as {place}, time against loky"
        try:
            with rivals.loky(WORKERS) as executor:
                for _ in range(WORKERS):
                    once(executor.submit)
                    once(queue.submit)
                found = measure.alternate(
                    rounds,
                    lambda once=once: once(queue.submit),
                    lambda once=once, submit=executor.submit: once(submit),
                )
        except measure.Skipped as error:
            yield measure.Row(what, "-", "≤ 1.5", None, str(error))
        else:
            yield measure.compare(what, "ms", *found, 1.5, at_least=False)


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure all."""
    with waiting() as queue:
        return [
            plain_rate(queue, args.calls),
            *compare_maps(queue, args.calls, args.rounds),
            latency(queue, args.samples),
            wait_latency(queue, args.samples),
            imports(queue, max(1, args.samples // 5)),
            *arrays(queue, args.megabytes, args.rounds),
        ]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, calls=1000, rounds=5, samples=100, megabytes=100)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
