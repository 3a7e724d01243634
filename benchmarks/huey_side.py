"""The huey reference of ``throughput.py``: a SqliteHuey whose tasks run a shell command each.

``python huey_side.py FILE WORKERS`` is its consumer, ``python huey_side.py FILE WORKERS JOBS COMMAND`` fills the queue.
Both run as ``__main__``, so that huey finds the tasks.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from huey import SqliteHuey

FILE = Path(sys.argv[1])
huey = SqliteHuey(filename=str(FILE))  # its defaults: WAL, synchronous FULL


@huey.task()
def command(text: str) -> int:
    """Run a shell command; its exit code is kept as the result."""
    return subprocess.run(["/bin/sh", "-c", text], check=False).returncode


@huey.task()
def hold(number: int) -> int:
    """Keep a worker until the start of the clock, and say that it is here."""
    FILE.with_suffix(f".{number}").touch()
    while not FILE.with_suffix(".go").exists():
        time.sleep(0.001)
    return 0


def fill(jobs: int, workers: int, text: str) -> None:
    """Enqueue a hold for each worker, and the jobs behind them."""
    for number in range(workers):
        hold(number)
    for _ in range(jobs):
        command(text)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        fill(int(sys.argv[3]), int(sys.argv[2]), sys.argv[4])
    else:
        huey.create_consumer(workers=int(sys.argv[2]), worker_type="process", periodic=False).run()
