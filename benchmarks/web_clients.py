"""10,000 short jobs while 200 slow clients read the event feed, compared with the same jobs without a server.

The clients are connections of one process, read a few hundred bytes at a time, far slower than the feed sends. The
maximum resident memory of the server is measured too.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import psutil
import throughput

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from queuectl_nb import Queue

WORKERS = 2
TARGET = 0.95
TARGET_MEMORY = 150.0
MIB = 1024 * 1024
READERS = Path(__file__).with_name("web_readers.py")


@contextmanager
def watched(queue: Queue, clients: int, largest: list[float]) -> Iterator[None]:
    """Serve ``queue`` to slow clients; samples of the server's memory in MiB are added to ``largest``."""
    with measure.served(queue.path) as server:
        readers = subprocess.Popen(
            [sys.executable, str(READERS), str(server.port), server.token, str(clients)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert readers.stdout is not None
        assert readers.stdout.readline().strip() == "all connected"
        process, done = psutil.Process(server.pid), threading.Event()

        def sample() -> None:
            while not done.wait(0.1):
                largest.append(process.memory_info().rss / MIB)

        watcher = threading.Thread(target=sample)
        watcher.start()
        try:
            yield
            assert readers.poll() is None, "the clients were disconnected"
        finally:
            done.set()
            watcher.join()
            readers.terminate()
            readers.wait(20)


def rate(jobs: int, clients: int, largest: list[float]) -> float:
    """Return jobs per second with this many clients; 0 means no server either."""
    with measure.idle_queue(WORKERS, jobs) as queue:
        if not clients:
            return throughput.run_jobs(queue, jobs)
        with watched(queue, clients, largest):
            return throughput.run_jobs(queue, jobs)


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both in alternation."""
    largest: list[float] = []
    with_clients, without = measure.alternate(
        args.rounds, lambda: rate(args.jobs, args.clients, largest), lambda: rate(args.jobs, 0, largest)
    )
    peak = max(largest)
    return [
        measure.compare(
            f"jobs per second with {args.clients} slow clients", "jobs/s", with_clients, without, TARGET, at_least=True
        ),
        measure.Row("memory of the web server", f"{peak:.0f} MiB", f"≤ {TARGET_MEMORY:g} MiB", peak <= TARGET_MEMORY),
    ]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=10_000, clients=200, rounds=5)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
