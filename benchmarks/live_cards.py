"""Cards of 1,000 finished jobs: CPU of the kernel that watches them, and the size of the saved notebook.

The kernel is measured right after the cards were displayed, when it checks most often: while nothing happens in the
queue, and while other jobs run, one after the other, ten per second.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import nbformat
import psutil
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from queuectl_nb import Queue

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

TARGET_SHARE, TARGET_BYTES = 0.01, 2_000_000
CARDS_PER_CELL = 10
COMMAND = "python train.py --learning-rate 0.001 --seed {} || true"
SETUP = "from IPython.display import display\nfrom queuectl_nb import Queue\nq = Queue()"
SHOW = "for number in range({}, {}):\n    display(q.job(f'job-{{number}}'))"
"""A cell that displays some of the jobs."""


def finished_jobs(queue: Queue, jobs: int) -> None:
    """Fill a queue with finished jobs."""
    queue.enqueue_many([{"id": f"job-{number}", "command": COMMAND.format(number)} for number in range(jobs)])
    with queue.start_workers(2, drain=True):
        queue.wait()


def saved_bytes(queue: Queue, cards: int) -> int:
    """Return the size of a notebook that displays the cards, as nbclient saves it."""
    sources = [SETUP, *(SHOW.format(first, first + CARDS_PER_CELL) for first in range(0, cards, CARDS_PER_CELL))]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, kernel_name="python3").execute(env=environment(queue))
    return len(nbformat.writes(notebook).encode())


def environment(queue: Queue) -> dict[str, str]:
    """Return the environment of a kernel that uses a queue."""
    return {**os.environ, "QUEUECTL_DB": str(queue.path), "PYTHONPATH": str(Path(__file__).parents[1])}


def kernel_shares(queue: Queue, cards: int, seconds: int) -> Iterator[float]:
    """Yield the share of a core that the kernel uses: without cards, with them, and while other jobs run."""
    manager, client = start_new_kernel(kernel_name="python3", env=environment(queue))
    try:
        process = psutil.Process(manager.provisioner.pid)  # type: ignore[union-attr]

        def share() -> float:
            before = sum(process.cpu_times()[:2])
            time.sleep(seconds)
            return (sum(process.cpu_times()[:2]) - before) / seconds

        client.execute_interactive(SETUP, output_hook=lambda _: None)
        yield share()
        client.execute_interactive(SHOW.format(0, cards), output_hook=lambda _: None)
        yield share()
        queue.enqueue_many([{"command": "sleep 0.1"}] * 20 * seconds)
        with queue.start_workers(1):
            time.sleep(1)
            yield share()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure, and return the rows."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        finished_jobs(queue, args.cards)
        size = saved_bytes(queue, args.cards)
        without, idle, busy = kernel_shares(queue, args.cards, args.seconds)
        queue.close()
    what = f"{args.cards:,} cards of finished jobs"
    shares = {"the kernel": idle, "the kernel while other jobs run": busy}
    target = f"≤ {TARGET_SHARE:.0%} of a core"
    return [
        *(
            measure.Row(f"{what}: {name}", f"{each:.2%}", target, each <= TARGET_SHARE, f"without cards {without:.2%}")
            for name, each in shares.items()
        ),
        measure.Row(f"{what}: the saved notebook", f"{size / 1e6:.2f} MB", "≤ 2 MB", size <= TARGET_BYTES),
    ]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, cards=1_000, seconds=10)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
