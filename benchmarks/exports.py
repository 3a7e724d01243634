"""Reports over a million jobs as processes: ``stats --by command`` with as many commands, ``list`` as CSV and as JSON.

``list`` is compared with the ``sqlite3`` program, which prints the view ``job_view`` in the same format. Both write to
``/dev/null``, in alternation, from the page cache.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import frames
import measure
import psutil

from queuectl_nb import Queue

if TYPE_CHECKING:
    import argparse

TARGET_STATS_S, TARGET_STATS_MIB = 3.0, 100.0
TARGETS = {"csv": 2.5, "json": 2.0}
"""Maximum ratio by format."""
SAMPLE_INTERVAL_S = 0.01
"""Interval at which memory is read."""
INSERT_ATTEMPTS = """
    INSERT INTO attempts (
        job, number, token, worker, host, pid, due_at, undo, started_at, finished_at, outcome, exit_code, error,
        user_cpu_s, system_cpu_s, max_rss_bytes, stdout, stderr
    )
    SELECT
        seq, 1, printf('%032x', seq), worker, 'host', seq % 30000 + 1, created_at, 0, started_at, finished_at,
        CASE exit_code WHEN 0 THEN 'succeeded' ELSE 'failed' END, exit_code, error, 0.1, 0.02, 20000000, 'done', ''
    FROM jobs WHERE started_at IS NOT NULL
"""


def fill(queue: Queue, jobs: int) -> None:
    """Add jobs in all states, each with a command of its own and, if it was started, with an attempt."""
    frames.fill(queue, jobs)
    with queue.store.db.write() as connection:
        connection.execute(INSERT_ATTEMPTS)
    queue.store.db.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def spent(words: list[str]) -> tuple[float, float]:
    """Run a program; return its seconds and the maximum of its resident memory in MiB."""
    began = time.perf_counter()
    process = psutil.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):  # it has just ended
            most = max(most, process.memory_info().rss)
        time.sleep(SAMPLE_INTERVAL_S)
    assert process.returncode == 0, words
    return time.perf_counter() - began, most / 2**20


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure all reports."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        fill(queue, args.jobs)
        queue.close()
        console = [sys.executable, "-m", "queuectl_nb", "--db", str(queue.path)]
        rows = []
        for group in ("command", "queue"):
            taken = [spent([*console, "stats", "--by", group]) for _ in range(args.rounds)]
            seconds, most = sorted(each[0] for each in taken)[args.rounds // 2], max(each[1] for each in taken)
            rows += [
                _bounded(f"stats --by {group} of {args.jobs:,} jobs", seconds, "s", TARGET_STATS_S),
                _bounded(f"memory of stats --by {group}", most, "MiB", TARGET_STATS_MIB),
            ]
        return rows + [_exported(name, console, queue.path, args) for name in TARGETS]


def _exported(name: str, console: list[str], path: Path, args: argparse.Namespace) -> measure.Row:
    """Compare ``list`` in a format with the ``sqlite3`` program."""
    what = f"list --format {name} of {args.jobs:,} jobs, against sqlite3"
    sqlite = shutil.which("sqlite3")
    if sqlite is None:
        return measure.Row(what, "-", f"≤ {TARGETS[name]:g}", None, "no sqlite3 here (Debian: apt install sqlite3)")
    words = [sqlite, f"-{name}", *["-header"] * (name == "csv"), str(path), "SELECT * FROM job_view"]
    measured, reference = measure.alternate(
        args.rounds, lambda: spent([*console, "list", "--format", name])[0], lambda: spent(words)[0]
    )
    return measure.compare(what, "s", measured, reference, TARGETS[name], at_least=False)


def _bounded(what: str, value: float, unit: str, target: float) -> measure.Row:
    return measure.Row(what, f"{value:.2f} {unit}", f"≤ {target:g} {unit}", value <= target)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=1_000_000, rounds=3)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
