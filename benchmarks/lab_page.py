"""A notebook in JupyterLab and Chromium: CPU of all processes of the browser, and bytes from the server.

Cards of 200 jobs, 50 of which run and print a line a second; a dashboard of a queue that has run a job a second for a
quarter of an hour; and the card of a batch of 1,000 jobs of which 50 finish a second, also the CPU of its kernel.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import psutil

from queuectl_nb import Queue

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the helpers of the tests
from tests.browser.chromium import WINDOW, find_chromium, launched
from tests.browser.dashboard_page import cells
from tests.browser.lab import LabServer, Notebook, extensions_of_checkout
from tests.commands.manual_worker import ManualWorker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from playwright.sync_api import Browser, WebSocket

TARGET_CARDS, TARGET_DASHBOARD, TARGET_BYTES = 0.25, 0.08, 1_000_000
TARGET_BATCH, TARGET_KERNEL = 0.08, 0.03
BATCH_WORKERS, BATCH_COMMAND = 6, "sleep 0.1"
"""About 50 jobs a second."""
HISTORY_S = 900
SETTLE_MS = 12_000
SHOW = """\
from IPython.display import display
from queuectl_nb import Queue
for job_id in {}:
    display(Queue().job(job_id))
"""
"""A cell that displays jobs."""
SHOW_BATCH = "from queuectl_nb import Queue\nQueue({!r}).batch(tag='sweep')"


class Jobs:
    """Running and finished jobs without processes; on a small machine, those would take the browser's CPU."""

    def __init__(self, queue: Queue, ids: list[str], running: int) -> None:
        """Enqueue jobs, the first of which run."""
        queue.set("lease", 3600)
        worker = ManualWorker(queue)
        worker.add(*ids, command="python train.py --learning-rate 0.001")
        tokens = [worker.claim(each).token for each in ids[:running]]
        for each in ids[running:]:
            worker.run(each)
        self._paths = [queue.store.spool.path(token, "stdout") for token in tokens]
        self._lines = 0
        self.print_line()

    def print_line(self) -> None:
        """Let each running job print a line."""
        self._lines += 1
        for path in self._paths:
            with path.open("a") as file:
                file.write(f"step {self._lines} of 1000\n")


def fill_history(queue: Queue) -> None:
    """Let the queue have run a job a second for as long as the dashboard's chart shows."""
    worker = ManualWorker(queue)
    ids = [f"past-{number}" for number in range(HISTORY_S)]
    worker.add(*ids)
    for each in ids:
        worker.run(each)
    with queue.store.db.write() as connection:
        connection.execute("UPDATE attempts SET finished_at = finished_at - ? + job", (HISTORY_S,))


class Meter:
    """Notebooks in a browser; counts its CPU seconds and what its web sockets receive."""

    def __init__(self, browser: Browser, server: LabServer) -> None:
        self._browser = browser
        self._server = server
        self._received = 0

    def open(self, *sources: str) -> Notebook:
        """Open a notebook with these cells, run them, and wait until what loading has left is collected."""
        page = self._browser.new_context(viewport=WINDOW).new_page()  # type: ignore[arg-type]
        page.on("websocket", self._count)
        notebook = Notebook.open(page, self._server, list(sources), self._server.root)
        notebook.run_all()
        page.wait_for_timeout(SETTLE_MS)
        return notebook

    def _count(self, socket: WebSocket) -> None:
        def add(payload: str | bytes) -> None:
            self._received += len(payload)

        socket.on("framereceived", add)

    def measure(
        self, notebook: Notebook, seconds: int, each_second: Callable[[], object] = lambda: None
    ) -> tuple[float, int]:
        """Return the share of a core that the browser uses, and the bytes received per 10 seconds."""
        before, received = self._cpu_seconds(), self._received
        for _ in range(seconds):
            each_second()
            notebook.page.wait_for_timeout(1_000)
        share = (self._cpu_seconds() - before) / seconds
        return share, (self._received - received) * 10 // seconds

    @staticmethod
    def _cpu_seconds(mark: str = "chrom") -> float:
        """Return the CPU seconds of the child processes whose command line contains ``mark``."""
        seconds = 0.0
        for each in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                seconds += sum(each.cpu_times()[:2]) if any(mark in word for word in each.cmdline()) else 0
        return seconds

    def batch(self, queue: Queue, jobs: int, seconds: int) -> tuple[float, float, float]:
        """Show a batch while its jobs run; return the shares of the browser and of the kernel, and jobs per second."""
        queue.enqueue_many([{"command": BATCH_COMMAND}] * jobs, tags=["sweep"])
        notebook = self.open(SHOW_BATCH.format(str(queue.path)))
        with queue.start_workers(BATCH_WORKERS):
            notebook.page.wait_for_timeout(2_000)
            done, kernel = queue.status()["count"]["completed"], self._cpu_seconds("ipykernel")
            share, _ = self.measure(notebook, seconds)
            rate = (queue.status()["count"]["completed"] - done) / seconds
            return share, (self._cpu_seconds("ipykernel") - kernel) / seconds, rate


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure, and return the rows."""
    chromium = find_chromium()
    if chromium is None:
        return [measure.Row("a notebook in JupyterLab", "", "", None, "no Chromium on this machine")]
    with ExitStack() as stack:
        home, profile = (Path(stack.enter_context(measure.scratch())) for _ in range(2))
        os.environ.update(extensions_of_checkout(home / "extensions"))
        server = stack.enter_context(closing(LabServer(home)))
        queue = stack.enter_context(closing(Queue(server.queue)))
        meter = Meter(stack.enter_context(launched(chromium, str(profile))), server)
        ids = [f"job-{number}" for number in range(args.cards)]
        jobs = Jobs(queue, ids, args.running)
        notebook = meter.open(SHOW.format(ids))
        cards, received = meter.measure(notebook, args.seconds, jobs.print_line)
        notebook.page.close()

        other = stack.enter_context(closing(Queue(home / "other.db")))
        fill_history(other)
        with other.start_workers(1):
            notebook = meter.open(*cells(other))
            still, _ = meter.measure(notebook, args.seconds)
            other.enqueue_many([{"command": "sleep 0.95"}] * 4 * args.seconds)  # with an estimate of the time left
            done = other.status()["count"]["completed"]
            dashboard, _ = meter.measure(notebook, 2 * args.seconds)
            done = other.status()["count"]["completed"] - done
        notebook.page.close()

        third = stack.enter_context(closing(Queue(home / "third.db")))
        batch, kernel, rate = meter.batch(third, args.batch, args.seconds)
    what = f"{args.cards} cards, {args.running} of running jobs"
    return [
        measure.Row(f"{what}: the browser", f"{cards:.1%}", "≤ 25 % of a core", cards <= TARGET_CARDS),
        measure.Row(f"{what}: sent in 10 s", f"{received / 1e6:.2f} MB", "≤ 1 MB", received <= TARGET_BYTES),
        measure.Row(
            "dashboard at a job a second: the browser",
            f"{dashboard:.1%}",
            "≤ 8 % of a core",
            dashboard <= TARGET_DASHBOARD,
            f"{done / args.seconds / 2:.1f} jobs a second, with the time left; without jobs {still:.1%}",
        ),
        measure.Row(
            f"card of a batch of {args.batch:,} jobs: the browser",
            f"{batch:.1%}",
            "≤ 8 % of a core",
            batch <= TARGET_BATCH,
            f"{rate:.0f} jobs a second",
        ),
        measure.Row("the same: the kernel", f"{kernel:.1%}", "≤ 3 % of a core", kernel <= TARGET_KERNEL),
    ]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, cards=200, running=50, batch=1_000, seconds=10)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
