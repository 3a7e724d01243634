"""The dashboard over a million jobs: how soon it shows, and what a refresh sends and costs the kernel.

The kernel's side alone, without a page: what is sent is what the comm would carry, as JSON. A refresh is one turn of
the feed after 2 % of the jobs have changed, those in view among them; its cost is the CPU time of the feed's thread,
which is what a cell that runs meanwhile could lose.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import measure

from queuectl_nb import Queue
from queuectl_nb.notebook.dashboard.dashboard import Dashboard
from queuectl_nb.store.reader import Filter

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

BATCH = 100_000
CHANGING = 0.02
PATIENCE = 120.0
HEADERS = 500
"""Bytes of a message besides its content."""
OPENS, BYTES, KERNEL = 2.0, 50_000, 0.020

LIVED = """
    UPDATE jobs SET state = CASE WHEN seq % 10 < 8 THEN 'completed' WHEN seq % 10 = 8 THEN 'dead' ELSE state END,
        ready = CASE WHEN seq % 10 < 9 THEN 0 ELSE ready END, attempts = 1, starts = 1, worker = 'worker-' || (seq % 4),
        started_at = created_at, finished_at = created_at + seq % 100, exit_code = (seq % 10) / 8, rev = seq
"""
ENDED = """
    INSERT INTO attempts (job, number, token, worker, host, due_at, undo, started_at, finished_at, outcome, exit_code)
    SELECT seq, 1, printf('%032x', seq), worker, 'here', created_at, 0, started_at, :now - seq % 3600,
        CASE exit_code WHEN 0 THEN 'succeeded' ELSE 'failed' END, exit_code
    FROM jobs WHERE state <> 'pending'
"""
CHANGE = """
    UPDATE jobs SET updated_at = :now, priority = priority + 1, rev = (SELECT rev FROM clock)
    WHERE seq > :first AND seq <= :last
"""


class Page:
    """Stands for a page: takes what is sent, and says that somebody looks."""

    def __init__(self, dashboard: Dashboard) -> None:
        self.dashboard = dashboard
        self.sent = 0
        self.rows: list[dict[str, Any]] = []
        dashboard.viewers._cell_started_at = None  # noqa: SLF001 - no cell runs
        ipywidgets.Widget._send = lambda _, message, buffers=None: self.take(message)  # noqa: ARG005, SLF001

    def take(self, message: dict[str, Any]) -> None:
        """Count a message of any of the widgets, changed counts and lists included, and keep those with rows."""
        self.sent += len(json.dumps(message)) + HEADERS
        content = message.get("content", {})
        if content.get("kind") == "rows":
            self.rows.append(content)

    def look(self, first: int = 0) -> None:
        """Give a sign of life."""
        self.dashboard._on_table_message(  # noqa: SLF001
            None,
            {"kind": "heartbeat", "view": "page", "sequence": time.monotonic(), "visible": True,
             "first": first, "count": 40, "top": not first, "reload": False},
            [],
        )  # fmt: skip

    def until(self, condition: Callable[[], bool]) -> float:
        """Look on until something is there; return the seconds that it took."""
        began = time.perf_counter()
        looked = began
        while not condition():
            if time.perf_counter() - looked > 2:
                looked = time.perf_counter()
                self.look()
            assert time.perf_counter() - began < PATIENCE
            time.sleep(0.002)
        return time.perf_counter() - began


def fill(queue: Queue, jobs: int) -> None:
    """Put jobs of all states into the queue, with an attempt each that ended within the last hour."""
    for first in range(0, jobs, BATCH):
        queue.enqueue_many(
            {"command": f"python train.py --lr {place / 7:.6f} --seed {place}", "priority": place % 5}
            for place in range(first, min(jobs, first + BATCH))
        )
    with queue.store.db.write() as connection:
        connection.execute(LIVED)
        connection.execute(ENDED, {"now": time.time()})
        connection.execute("UPDATE clock SET rev = :rev", {"rev": jobs + 1})
    queue.store.db.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def opened(queue: Queue) -> tuple[Dashboard, Page, float]:
    """Show a dashboard; return it with the seconds until its page has rows and counts."""
    began = time.perf_counter()
    dashboard = Dashboard(queue)
    dashboard._repr_mimebundle_()  # as a cell shows it
    page = Page(dashboard)
    page.look()
    page.until(lambda: bool(page.rows) and "0" in dashboard.state_filter.buttons["completed"].description)
    return dashboard, page, time.perf_counter() - began


def refreshes(queue: Queue, dashboard: Dashboard, page: Page, jobs: int, rounds: int) -> Iterator[tuple[int, float]]:
    """Change 2 % of the jobs and have it shown, again and again; yield bytes sent and CPU seconds of the thread."""
    feed = dashboard.feed
    cost: list[float] = []
    turn = feed._step  # noqa: SLF001

    def timed(looking: list[str]) -> float:
        began = time.thread_time()
        pace = turn(looking)
        cost.append(time.thread_time() - began)
        return pace

    feed._step = timed  # type: ignore[method-assign]  # noqa: SLF001
    for number in range(rounds):
        page.sent, before = 0, len(page.rows)
        cost.clear()
        with queue.store.db.write() as connection:
            last = jobs - round(jobs * CHANGING) * (number % 10)
            connection.execute(CHANGE, {"now": time.time(), "first": last - round(jobs * CHANGING), "last": last})
        page.look()
        page.until(lambda before=before: len(page.rows) > before)  # type: ignore[misc]
        time.sleep(1.2)  # what follows the rows: counts, throughput
        yield page.sent, max(cost)
    feed._step = turn  # type: ignore[method-assign]  # noqa: SLF001


def meanwhile(page: Page, dashboard: Dashboard, wanted: Filter) -> tuple[float, float]:
    """List something that takes long to order; return seconds until it is there, and the longest held breath."""
    before = len(page.rows)
    longest, last = 0.0, time.perf_counter()
    began = last
    facts = {name: getattr(wanted, name) for name in ("text", "sort", "reverse")}
    dashboard._set_filter(**facts)  # noqa: SLF001
    looked = began
    while not any(not message["searching"] and message["keys"] is not None for message in page.rows[before:]):
        time.sleep(0.001)  # as the kernel's main thread would like to go on
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
        if now - looked > 2:
            looked = now
            page.look()
        assert now - began < PATIENCE
    return time.perf_counter() - began, longest


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure, and return a row for each claim."""
    return list(report(args))


def report(arguments: argparse.Namespace) -> Iterator[measure.Row]:
    """Yield a row for each claim."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        fill(queue, arguments.jobs)
        what = f"dashboard of {arguments.jobs:,} jobs"
        dashboard, page, seconds = opened(queue)
        yield measure.Row(f"{what}: opens", f"{seconds:.2f} s", f"{OPENS} s", seconds <= OPENS)
        rounds = list(refreshes(queue, dashboard, page, arguments.jobs, arguments.rounds))
        sent, cost = max(each for each, _ in rounds), statistics.median(each for _, each in rounds)
        worst = max(each for _, each in rounds)
        yield measure.Row(f"{what}: sent by a refresh", f"{sent / 1000:.1f} kB", "50 kB", sent <= BYTES)
        detail = f"worst {worst * 1000:.1f} ms"
        yield measure.Row(f"{what}: cost of a refresh", f"{cost * 1000:.1f} ms", "20 ms", cost <= KERNEL, detail)
        for name, wanted in (
            ("sorted by command", Filter(sort="command")),
            ("sorted by finished_at, down", Filter(sort="finished_at", reverse=True)),
            ("searched for 'SEED 7'", Filter(text="SEED 7")),
        ):
            seconds, longest = meanwhile(page, dashboard, wanted)
            told = f"others held up {longest * 1000:.0f} ms at most"
            yield measure.Row(f"{what}: {name}", f"{seconds:.2f} s", "", None, told)
        page.sent = 0
        dashboard.viewers.remove("page")
        with queue.store.db.write() as connection:
            connection.execute(CHANGE, {"now": time.time(), "first": 0, "last": 1000})
        time.sleep(3)
        yield measure.Row(f"{what}: sent while nobody looks", f"{page.sent} B", "0 B", page.sent == 0)
        dashboard.close()
        queue.close()


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=1_000_000, rounds=8)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
