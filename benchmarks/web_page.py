"""A page of jobs over the web among a million: the newest, one in the middle, and by state; 100 jobs each.

The time is the client's, from the request to the last byte, over one connection to a server in a process of its own.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import measure

from queuectl_nb import Queue

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

BAR_MS = 50.0
BATCH = 100_000


@contextmanager
def asking(path: Path) -> Iterator[Callable[[str], dict[str, object]]]:
    """Give a function that asks a server of ``path`` over one connection."""
    with measure.served(path) as server, closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:

        def ask(target: str) -> dict[str, object]:
            connection.request("GET", target, headers={"Authorization": f"Bearer {server.token}"})
            body: dict[str, object] = json.loads(connection.getresponse().read())
            return body

        yield ask


def timed(ask: Callable[[str], dict[str, object]], target: str, samples: int) -> tuple[float, float]:
    """Return the median and the slowest of so many requests, in milliseconds."""
    times = []
    for _ in range(samples):
        began = time.perf_counter()
        assert len(ask(target)["jobs"]) == 100  # type: ignore[arg-type]
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times), max(times)


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Fill a queue, half of it in one enqueue's revision, and ask for pages."""
    rows = []
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        for _ in range(0, args.jobs, BATCH):
            queue.enqueue_specs([measure.JobSpec(f"python train.py --seed {seed}") for seed in range(BATCH)])
        with asking(queue.path) as ask:
            ask("/api/jobs")
            after: object = None
            for _ in range(45):  # into the middle of one enqueue, a thousand a step
                after = ask("/api/jobs?limit=1000" + (f"&after={after}" if after else ""))["next"]
            for name, target in {
                "the newest": "/api/jobs",
                "in the middle": f"/api/jobs?after={after}",
                "of a state": "/api/jobs?state=pending",
                "of a text that many have": "/api/jobs?q=seed%2099",
            }.items():
                middle, worst = timed(ask, target, args.samples)
                what, reached = f"a page {name}, {args.jobs} jobs", middle <= BAR_MS
                beside = f"slowest {worst:.1f} ms"
                rows.append(measure.Row(what, f"{middle:.1f} ms", f"≤ {BAR_MS:g} ms", reached, beside))
        queue.close()
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    return measure.options(__doc__, jobs=1_000_000, samples=100)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
