"""The notebook dashboard with a million jobs: time to open, size and CPU time of a refresh.

Only the kernel's side is measured: messages are counted as JSON. A refresh is one step of the feed after 2 % of the
jobs, visible ones among them, have changed; its cost is the CPU time of the feed's thread.
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
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

BATCH = 100_000
CHANGED_SHARE = 0.02
TIMEOUT_S = 120.0
HEADER_BYTES = 500
"""Approximate size of a message's headers."""
TARGET_OPEN_S, TARGET_BYTES, TARGET_CPU_S = 2.0, 50_000, 0.020

SET_STATES = """
    UPDATE jobs SET state = CASE WHEN seq % 10 < 8 THEN 'completed' WHEN seq % 10 = 8 THEN 'dead' ELSE state END,
        ready = CASE WHEN seq % 10 < 9 THEN 0 ELSE ready END, attempts = 1, starts = 1, worker = 'worker-' || (seq % 4),
        started_at = created_at, finished_at = created_at + seq % 100, exit_code = (seq % 10) / 8, rev = seq
"""
INSERT_ATTEMPTS = """
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
    """A fake page: receives messages and sends heartbeats."""

    def __init__(self, dashboard: Dashboard) -> None:
        self.dashboard = dashboard
        self.sent = 0
        self.rows: list[dict[str, Any]] = []
        ipywidgets.Widget._send = lambda _, message, buffers=None: self.receive(message)  # noqa: ARG005

    def receive(self, message: dict[str, Any]) -> None:
        """Count the bytes of a message, and keep messages with rows."""
        self.sent += len(json.dumps(message)) + HEADER_BYTES
        content = message.get("content", {})
        if content.get("kind") == "rows":
            self.rows.append(content)

    def heartbeat(self, first: int = 0) -> None:
        """Send a heartbeat."""
        self.dashboard._on_table_message(
            None,
            {"kind": "heartbeat", "view": "page", "sequence": time.monotonic(), "visible": True,
             "first": first, "count": 40, "top": not first, "reload": False},
            [],
        )  # fmt: skip

    def until(self, condition: Callable[[], bool]) -> float:
        """Send heartbeats until the condition holds; return the seconds."""
        began = time.perf_counter()
        sent_at = began
        while not condition():
            if time.perf_counter() - sent_at > 2:
                sent_at = time.perf_counter()
                self.heartbeat()
            assert time.perf_counter() - began < TIMEOUT_S
            time.sleep(0.002)
        return time.perf_counter() - began


def fill(queue: Queue, jobs: int) -> None:
    """Fill the queue with jobs of all states, each with an attempt that ended within the last hour."""
    for first in range(0, jobs, BATCH):
        queue.enqueue_many(
            {"command": f"python train.py --lr {place / 7:.6f} --seed {place}", "priority": place % 5}
            for place in range(first, min(jobs, first + BATCH))
        )
    with queue.store.db.write() as connection:
        connection.execute(SET_STATES)
        connection.execute(INSERT_ATTEMPTS, {"now": time.time()})
        connection.execute("UPDATE clock SET rev = :rev", {"rev": jobs + 1})
    queue.store.db.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def open_dashboard(queue: Queue) -> tuple[Dashboard, Page, float]:
    """Display a dashboard; return it with the seconds until its page has rows and counts."""
    began = time.perf_counter()
    dashboard = Dashboard(queue)
    dashboard._repr_mimebundle_()  # as a cell shows it
    page = Page(dashboard)
    page.heartbeat()
    page.until(lambda: bool(page.rows) and "0" in dashboard.state_filter.buttons["completed"].description)
    return dashboard, page, time.perf_counter() - began


def refreshes(queue: Queue, dashboard: Dashboard, page: Page, jobs: int, rounds: int) -> Iterator[tuple[int, float]]:
    """Change 2 % of the jobs and refresh, repeatedly; yield bytes sent and CPU seconds of the thread."""
    feed = dashboard.feed
    cost: list[float] = []
    step = feed._step

    def timed(views: list[str]) -> float:
        began = time.thread_time()
        interval = step(views)
        cost.append(time.thread_time() - began)
        return interval

    feed._step = timed  # type: ignore[method-assign]
    for number in range(rounds):
        page.sent, before = 0, len(page.rows)
        cost.clear()
        with queue.store.db.write() as connection:
            last = jobs - round(jobs * CHANGED_SHARE) * (number % 10)
            connection.execute(CHANGE, {"now": time.time(), "first": last - round(jobs * CHANGED_SHARE), "last": last})
        page.heartbeat()
        page.until(lambda before=before: len(page.rows) > before)  # type: ignore[misc]
        time.sleep(1.2)  # counts and throughput follow the rows
        yield page.sent, max(cost)
    feed._step = step  # type: ignore[method-assign]


def search(page: Page, dashboard: Dashboard, wanted: Filter) -> tuple[float, float]:
    """Show a slow order; return the seconds until it is there, and the longest pause of this thread."""
    before = len(page.rows)
    longest, last = 0.0, time.perf_counter()
    began = last
    facts = {name: getattr(wanted, name) for name in ("search", "sort", "reverse")}
    dashboard._set_filter(**facts)
    sent_at = began
    while not any(not message["searching"] and message["keys"] is not None for message in page.rows[before:]):
        time.sleep(0.001)  # as the main thread of the kernel
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
        if now - sent_at > 2:
            sent_at = now
            page.heartbeat()
        assert now - began < TIMEOUT_S
    return time.perf_counter() - began, longest


def run(args: argparse.Namespace) -> list[measure.Row]:
    """Measure, and return the rows."""
    return list(report(args))


def report(arguments: argparse.Namespace) -> Iterator[measure.Row]:
    """Yield the rows."""
    with measure.scratch() as folder:
        queue = Queue(Path(folder) / "queue.db")
        fill(queue, arguments.jobs)
        what = f"dashboard of {arguments.jobs:,} jobs"
        dashboard, page, seconds = open_dashboard(queue)
        yield measure.Row(f"{what}: opens", f"{seconds:.2f} s", f"{TARGET_OPEN_S} s", seconds <= TARGET_OPEN_S)
        rounds = list(refreshes(queue, dashboard, page, arguments.jobs, arguments.rounds))
        sent, cost = max(each for each, _ in rounds), statistics.median(each for _, each in rounds)
        worst = max(each for _, each in rounds)
        yield measure.Row(f"{what}: sent by a refresh", f"{sent / 1000:.1f} kB", "50 kB", sent <= TARGET_BYTES)
        detail = f"worst {worst * 1000:.1f} ms"
        yield measure.Row(f"{what}: cost of a refresh", f"{cost * 1000:.1f} ms", "20 ms", cost <= TARGET_CPU_S, detail)
        for name, wanted in (
            ("sorted by command", Filter(sort="command")),
            ("sorted by finished_at, descending", Filter(sort="finished_at", reverse=True)),
            ("searched for 'SEED 7'", Filter(search="SEED 7")),
        ):
            seconds, longest = search(page, dashboard, wanted)
            detail = f"other threads blocked for at most {longest * 1000:.0f} ms"
            yield measure.Row(f"{what}: {name}", f"{seconds:.2f} s", "", None, detail)
        page.sent = 0
        dashboard.viewers.remove("page")
        with queue.store.db.write() as connection:
            connection.execute(CHANGE, {"now": time.time(), "first": 0, "last": 1000})
        time.sleep(3)
        yield measure.Row(f"{what}: sent while not visible", f"{page.sent} B", "0 B", page.sent == 0)
        dashboard.close()
        queue.close()


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return measure.options(__doc__, jobs=1_000_000, rounds=8)


if __name__ == "__main__":
    sys.exit(measure.main(run, parser()))
