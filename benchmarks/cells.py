"""A trivial cell as a job, from the enqueue to its value: from a warm fork server, compared with a cold start."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import measure

from queuectl_nb import Queue
from queuectl_nb.client.cell import Cell, make_cell_spec
from queuectl_nb.client.enqueue import enqueue_specs

if TYPE_CHECKING:
    import argparse

MAX_RATIO = 0.5


def run_cell(queue: Queue) -> float:
    """Return the milliseconds that a cell takes."""
    began = time.perf_counter()
    spec = make_cell_spec(queue.path, Cell("x = 1\nx + 1"), {})
    assert queue.job(enqueue_specs(queue, [spec]).ids[0]).result() == 2
    return (time.perf_counter() - began) * 1000


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Alternate between a queue whose fork servers load IPython, and one whose do not."""
    with ExitStack() as stack:
        queues = []
        for preload in ("auto", "none"):
            queue = Queue(Path(stack.enter_context(measure.scratch())) / "queue.db")
            stack.callback(queue.close)
            queue.set("preload", preload)
            stack.enter_context(queue.start_workers(1))
            run_cell(queue)
            queues.append(queue)
        warm, cold = measure.alternate(args.rounds, *(lambda q=queue: run_cell(q) for queue in queues))
    return [measure.compare("a trivial cell, IPython preloaded or not", "ms", warm, cold, MAX_RATIO, at_least=False)]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, rounds=15)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
