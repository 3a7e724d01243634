"""10,000 short jobs while 200 slow clients hold the web page's feed, against the same jobs with no server at all.

The clients are one process beside, each a connection that is read a few hundred bytes at a time, far slower than the
feed could send. The server's largest resident memory is taken meanwhile.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import psutil

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from queuectl_nb import Queue

WORKERS = 2
BAR = 0.95
MEMORY_BAR = 150.0
MIB = 1024 * 1024
READERS = Path(__file__).with_name("web_readers.py")


@contextmanager
def watched(queue: Queue, clients: int, largest: list[float]) -> Iterator[None]:
    """Serve ``queue`` to so many slow clients; the server's largest memory in MiB goes into ``largest``."""
    with measure.served(queue.path) as server:
        readers = subprocess.Popen(
            [sys.executable, str(READERS), str(server.port), server.token, str(clients)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert readers.stdout is not None
        assert readers.stdout.readline().strip() == "all connected"
        process, done = psutil.Process(server.pid), threading.Event()

        def look() -> None:
            while not done.wait(0.1):
                largest.append(process.memory_info().rss / MIB)

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield
            assert readers.poll() is None, "the clients were sent away"
        finally:
            done.set()
            watcher.join()
            readers.terminate()
            readers.wait(20)


def rate(jobs: int, clients: int, largest: list[float]) -> float:
    """Return jobs a second, with so many clients; 0 for no server either."""
    with measure.idle_queue(WORKERS, jobs) as queue:
        if not clients:
            return _run(queue, jobs)
        with watched(queue, clients, largest):
            return _run(queue, jobs)


def _run(queue: Queue, jobs: int) -> float:
    began = time.perf_counter()
    queue.resume()
    measure.until_completed(queue, jobs)
    return jobs / (time.perf_counter() - began)


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Run both sides in turn."""
    largest: list[float] = []
    with_clients, without = measure.in_turn(
        args.rounds, lambda: rate(args.jobs, args.clients, largest), lambda: rate(args.jobs, 0, largest)
    )
    peak = max(largest)
    return [
        measure.versus(
            f"jobs a second beside {args.clients} slow clients", "jobs/s", with_clients, without, BAR, at_least=True
        ),
        measure.Row(
            "the web server's memory meanwhile", f"{peak:.0f} MiB", f"≤ {MEMORY_BAR:g} MiB", peak <= MEMORY_BAR
        ),
    ]


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    return measure.options(__doc__, jobs=10_000, clients=200, rounds=5)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
