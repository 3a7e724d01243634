"""The file after a prune of 900,000 of 1,000,000 jobs: shrunk by a command beside another process, and by idle workers.

Also what incremental vacuum costs a settled job, and what the estimate of the growth costs ``status``.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
from claim_scale import WORKER, claim_and_settle, fill

from queuectl_nb import Queue
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.client.workers import read_status
from queuectl_nb.store.claims import Claims
from queuectl_nb.store.maintenance import KEPT_BYTES, read_growth, read_space, vacuum

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

KEPT_JOBS = 10
"""One in so many jobs is kept."""
TARGET_SIZE = 1.25
TARGET_TIME = 1.0
TARGET_SETTLE = 1.05
TARGET_STATUS_MS = 5.0
BATCH = 20
MB = 1_000_000


class Writer(threading.Thread):
    """Enqueues delayed jobs through a queue of its own, and notes how long each took."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.stop = threading.Event()
        self.seconds: list[float] = []

    def run(self) -> None:
        """Enqueue a job every 5 ms until stopped."""
        queue = Queue(self.path)
        while not self.stop.wait(0.005):
            began = time.perf_counter()
            enqueue_specs(queue, [measure.JobSpec("true", delay=10**6)])
            self.seconds.append(time.perf_counter() - began)
        queue.close()


@contextlib.contextmanager
def writer(path: Path) -> Iterator[Writer]:
    """Write to the queue meanwhile."""
    found = Writer(path)
    found.start()
    try:
        yield found
    finally:
        found.stop.set()
        found.join()


def shrunk(folder: Path, jobs: int) -> Iterator[measure.Row]:
    """Prune, and shrink the file in both ways."""
    path, idle, vacuumed = folder / "queue.db", folder / "idle.db", folder / "vacuumed.db"
    queue = Queue(path)
    fill(queue, jobs, 0)
    keep_from = jobs - jobs // KEPT_JOBS
    with queue.store.db.write() as connection:
        connection.execute("UPDATE jobs SET updated_at = updated_at - 864000 WHERE seq <= ?", (keep_from,))
    full = path.stat().st_size
    began = time.perf_counter()
    removed = queue.prune("7d")
    prune_s = time.perf_counter() - began
    queue.close()
    shutil.copyfile(path, idle)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(vacuumed),))
    with writer(path) as other:
        began = time.perf_counter()
        vacuum(queue.store.db)
        vacuum_s = time.perf_counter() - began
    queue.close()
    size, least = path.stat().st_size, vacuumed.stat().st_size
    what = f"file after 'prune --vacuum' of {removed:,} of {jobs:,} jobs, against a rewritten one"
    detail = f"{full / MB:.0f} MB before, {size / MB:.1f} MB after, rewritten {least / MB:.1f} MB"
    ratio = size / least
    yield measure.Row(what, f"{ratio:.2f}", f"≤ {TARGET_SIZE:g}", ratio <= TARGET_SIZE, detail)
    typical, worst = statistics.median(other.seconds) * 1e3, max(other.seconds) * 1e3
    delays = f"an enqueue meanwhile {typical:.1f} ms, at most {worst:.0f} ms"
    detail = f"{vacuum_s:.1f} s and {prune_s:.1f} s; {delays}"
    ratio = vacuum_s / prune_s
    yield measure.Row("time of '--vacuum', against the prune", f"{ratio:.2f}", f"≤ {TARGET_TIME:g}", ratio <= 1, detail)
    yield _idle(idle)


def _idle(path: Path) -> measure.Row:
    queue = Queue(path)
    target = KEPT_BYTES + read_space(queue.store.db).size - read_space(queue.store.db).free + MB
    began = time.perf_counter()
    with queue.start_workers(1) as pool:
        while path.stat().st_size > target and time.perf_counter() < began + 600:
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        pool.stop(now=True)
    size = path.stat().st_size
    queue.close()
    words = f"{size / MB:.1f} MB", f"≤ {target / MB:.1f} MB", size <= target
    return measure.Row("file beside an idle worker", *words, f"after {seconds:.0f} s")


def settled(folder: Path, rounds: int) -> measure.Row:
    """Claim and settle in a file with incremental vacuum and in one without, in alternation."""
    sides = []
    for name in ("with", "without"):
        queue = Queue(folder / f"{name}.db")
        if name == "without":
            queue.store.db.connection().executescript("PRAGMA auto_vacuum = NONE; VACUUM")
        assert bool(read_space(queue.store.db).is_incremental) is (name == "with")
        enqueue_specs(queue, [measure.JobSpec("true")] * (rounds * BATCH))
        sides.append((Claims(queue.store.db, WORKER, "host"), queue))

    def batch(side: int) -> float:
        return sum(claim_and_settle(*sides[side]) for _ in range(BATCH)) / BATCH * 1e6

    found = [(batch(0), batch(1)) for _ in range(rounds)]
    for _, queue in sides:
        queue.close()
    what = "claim and settle in a file with incremental vacuum, against one without"
    return measure.compare(what, "µs", *zip(*found, strict=True), TARGET_SETTLE, at_least=False)


def status(folder: Path, jobs: int) -> measure.Row:
    """Estimate the growth of a queue whose jobs all ended within the last day."""
    queue = Queue(folder / "busy.db")
    fill(queue, jobs, 0)
    db, settings = queue.store.db, queue.settings
    with db.write() as connection:
        connection.execute(
            "UPDATE attempts SET finished_at = ? + rowid * 80000.0 / ?, stdout_size = 50000",
            (time.time() - 80_000, jobs),
        )
    queue.close()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(20):
        for side, call in enumerate((lambda: read_status(queue.store), lambda: read_growth(db, settings, time.time()))):
            began = time.perf_counter()
            call()
            times[side].append((time.perf_counter() - began) * 1e3)
    rate = read_growth(db, settings, time.time()).bytes_per_s
    queue.close()
    base, extra = (statistics.median(each) for each in times)
    share = rate / (jobs * 50_600 / 80_000)
    detail = f"first call {times[1][0]:.1f} ms; the rest of status {base:.2f} ms; estimate {share:.2f} of the truth"
    what = f"growth in 'status' of {jobs:,} jobs of a day"
    return measure.Row(what, f"{extra:.2f} ms", f"≤ {TARGET_STATUS_MS:g} ms", extra <= TARGET_STATUS_MS, detail)


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure all of it."""
    with measure.scratch() as name:
        folder = Path(name)
        return [*shrunk(folder, args.jobs), settled(folder, args.rounds), status(folder, args.jobs)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=1_000_000, rounds=200)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
