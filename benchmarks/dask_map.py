"""Short jobs per second on a dask cluster, compared with ``client.map`` of ``subprocess.run``.

Both run `true` in alternation on one cluster. Jobs of queuectl are claimed, sent, started in their own sessions, and
recorded with synchronous=FULL; the time is from ``resume`` of a paused queue with a waiting dispatcher until the last
job has completed. For the reference it is from ``client.map`` to the end of ``client.gather``, which stores nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import measure

from queuectl_nb import Queue
from queuectl_nb.client.enqueue import enqueue_specs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from distributed import Client

COMMAND = "true"
TARGET = 0.8


def run_command(_number: int) -> tuple[int, bytes, bytes]:
    """Run the command as is usual on dask, and return its exit code and output."""
    done = subprocess.run(COMMAND, shell=True, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


@contextmanager
def cluster(workers: int, threads: int) -> Iterator[Client]:
    """Yield a client of a cluster of ``workers`` processes with ``threads`` each."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        msg = "dask is not installed (pip install 'queuectl-nb[dask]')"
        raise measure.Skipped(msg) from None
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=threads, dashboard_address=None, worker_dashboard_address=None
        ) as local,
        Client(local) as client,
    ):
        client.gather(client.map(run_command, range(4 * workers * threads), pure=False))  # loads everything
        yield client


@contextmanager
def waiting(client: Client, count: int) -> Iterator[Queue]:
    """Yield a queue with a dispatcher on the client's cluster that has run a few jobs."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        with queue.start_workers(count, executor="dask", client=client) as pool:
            enqueue_specs(queue, [measure.JobSpec(COMMAND) for _ in range(4 * count)])
            queue.wait()
            yield queue
            pool.stop(now=True)
        queue.close()


def run_queuectl(queue: Queue, jobs: int) -> float:
    """Return the jobs per second of the queue."""
    queue.pause()
    before = queue.store.reader.counts()[measure.State.COMPLETED]
    enqueue_specs(queue, [measure.JobSpec(COMMAND) for _ in range(jobs)])
    time.sleep(0.2)
    began = time.perf_counter()
    queue.resume()
    measure.until_completed(queue, before + jobs)
    return jobs / (time.perf_counter() - began)


def run_reference(client: Client, jobs: int) -> float:
    """Return the jobs per second of ``client.map``."""
    began = time.perf_counter()
    client.gather(client.map(run_command, range(jobs), pure=False))
    return jobs / (time.perf_counter() - began)


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both on one cluster."""
    what = (
        f"{args.jobs} jobs of `{COMMAND}` on {args.workers} dask workers of {args.threads} threads, against client.map"
    )
    try:
        with cluster(args.workers, args.threads) as client, waiting(client, 2 * args.workers * args.threads) as queue:
            found = measure.alternate(
                args.rounds, lambda: run_queuectl(queue, args.jobs), lambda: run_reference(client, args.jobs)
            )
    except measure.Skipped as lacking:
        return [measure.Row(what, "-", f"≥ {TARGET:g}", None, str(lacking))]
    return [measure.compare(what, "jobs/s", *found, TARGET, at_least=True)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=1000, workers=3, threads=2, rounds=5)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
