"""``queuectl grep`` in the stored logs of 10,000 jobs of 20 kB, against ``grep -r`` in the same bytes as files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure

from queuectl_nb import Queue
from queuectl_nb.client.grep import Search
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    import argparse

TARGET = 3.0
PATTERN = "loss: nan"
LINE = "step {step}: loss: {loss:.6f}, rate: 0.001, throughput: 1234 samples per second\n"


def make_log(number: int, size: int) -> str:
    """Return a log; every hundredth has a line that matches."""
    lines = [LINE.format(step=step, loss=number / (step + 1)) for step in range(size // len(LINE))]
    if not number % 100:
        lines[len(lines) // 2] = f"step 5: {PATTERN}\n"
    return "".join(lines)


def fill(queue: Queue, folder: Path, jobs: int, size: int) -> None:
    """Store the logs in the queue, and as files."""

    def write(number: int) -> dict[str, str]:
        text = make_log(number, size)
        (folder / f"{number}.log").write_text(text)
        return {"stdout": text}

    for _ in measure.end_jobs(queue, jobs, 0, write):
        pass


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure both in alternation."""
    if shutil.which("grep") is None:
        raise measure.Skipped("no grep on this machine")
    with measure.scratch() as name:
        folder = Path(name) / "files"
        folder.mkdir()
        queue = Queue(Path(name) / "queue.db")
        fill(queue, folder, args.jobs, args.size)

        def ours() -> float:
            began = time.perf_counter()
            found = sum(1 for _ in Search(queue.store, PATTERN).run(Filter()))
            assert found == args.jobs // 100
            return time.perf_counter() - began

        def theirs() -> float:
            began = time.perf_counter()
            subprocess.run(["grep", "-r", PATTERN, str(folder)], check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - began

        ours(), theirs()  # caches
        sides = measure.alternate(args.rounds, ours, theirs)
        queue.close()
    what = f"grep in {args.jobs:,} logs of {args.size:,} bytes, against grep -r in files"
    return [measure.compare(what, "s", *sides, TARGET, at_least=False)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=10_000, size=20_000, rounds=5)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
