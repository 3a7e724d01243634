"""Pages of 100 jobs on the web among a million jobs: the newest, one in the middle, and filtered.

The time is measured by the client from the request to the last byte, over one connection to a separate process. Then
the size of a page as the browser requests it, with commands of 100,000 bytes, compared with the page in full.
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
from queuectl_nb.client.enqueue import enqueue_specs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

TARGET_MS = 50.0
TARGET_SHORT = 0.01
BATCH = 100_000


@contextmanager
def client(path: Path) -> Iterator[Callable[[str], dict[str, object]]]:
    """Yield a function that sends requests to a server of ``path`` over one connection."""
    with measure.served(path) as server, closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:

        def get(target: str) -> dict[str, object]:
            connection.request("GET", target, headers={"Authorization": f"Bearer {server.token}"})
            body: dict[str, object] = json.loads(connection.getresponse().read())
            return body

        yield get


def timed(get: Callable[[str], dict[str, object]], target: str, samples: int) -> tuple[float, float]:
    """Return the median and the maximum duration of requests in milliseconds."""
    times = []
    for _ in range(samples):
        began = time.perf_counter()
        assert len(get(target)["jobs"]) == 100  # type: ignore[arg-type]
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times), max(times)


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Fill a queue and request pages."""
    rows = []
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        for _ in range(0, args.jobs, BATCH):
            enqueue_specs(queue, [measure.JobSpec(f"python train.py --seed {seed}") for seed in range(BATCH)])
        with client(queue.path) as get:
            get("/api/jobs")
            after: object = None
            for _ in range(45):  # into the middle of one enqueue, in steps of a thousand
                after = get("/api/jobs?limit=1000" + (f"&after={after}" if after else ""))["next"]
            for name, target in {
                "the newest": "/api/jobs",
                "in the middle": f"/api/jobs?after={after}",
                "of a state": "/api/jobs?state=pending",
                "of a common text": "/api/jobs?q=seed%2099",
            }.items():
                middle, worst = timed(get, target, args.samples)
                what, reached = f"a page {name}, {args.jobs} jobs", middle <= TARGET_MS
                detail = f"slowest {worst:.1f} ms"
                rows.append(measure.Row(what, f"{middle:.1f} ms", f"≤ {TARGET_MS:g} ms", reached, detail))
            enqueue_specs(queue, [measure.JobSpec(f"{seed} ".ljust(100_000, "x")) for seed in range(100)])
            short, full = ([float(len(json.dumps(get(f"/api/jobs?short={each}"))))] for each in ("yes", "no"))
            what = "a page of 100 commands of 100,000 bytes as the browser requests it, against all of it"
            rows.append(measure.compare(what, "bytes", short, full, TARGET_SHORT, at_least=False))
        queue.close()
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=1_000_000, samples=100)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
