"""The memory of the web server does not grow with the requests that it has served."""

from __future__ import annotations

import json
import socket
import statistics
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from queuectl_nb.client import Queue
from queuectl_nb.web.queue_reader import FAST_THREADS, SLOW_THREADS
from tests.web.test_dashboard import start_dashboard

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.journeys.terminals import Terminals

MIB = 1024 * 1024
WARM_UP_ROUNDS = 150
ROUNDS = 600
"""Handlers that stay in memory take 4 KiB each and more; those of so many rounds take 36 MiB."""
MAX_GROWTH_MIB = 8.0
TARGETS = (
    "/api/status",
    "/api/jobs?limit=1000",
    "/api/jobs?q=true",
    "/api/jobs/job-1",
    "/api/jobs/job-1/log",
    "/api/jobs/nobody",
    "/api/jobs?limit=x",
    "/api/stats",
    "/api/overview",
    "/metrics",
    "/static/page.js",
)


def ask(port: int, target: str, token: str | None) -> None:
    """Send one request and read at most the beginning of the answer, as a client that goes away."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        answer.read(100 if target.endswith("/events") else None)
    finally:
        connection.close()


def run_round(queue: Queue, port: int, token: str, number: int) -> None:
    """Use every route, with and without the token; connect without a request; change the queue now and then."""
    for target in TARGETS:
        ask(port, target, token)
    ask(port, "/api/events", token)
    ask(port, f"/?token={token}", None)
    ask(port, "/api/status", None)
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 60) as client:
        client.sendall(b"GET / HT")
    if number % 10 == 0:
        queue.enqueue("true")


@pytest.mark.soak
def test_memory_does_not_grow(terminals: Terminals) -> None:
    """After a warm-up, nine thousand requests leave memory and open files as they were."""
    queue = Queue(terminals.queue)
    queue.enqueue_many({"id": f"job-{number}", "command": f"true {number}"} for number in range(1000))
    terminal, port, token = start_dashboard(terminals, "--port", "0")
    process = psutil.Process(terminal.process.pid)
    for number in range(WARM_UP_ROUNDS):
        run_round(queue, port, token, number)
    memory, files = process.memory_info().rss, process.num_fds()
    for number in range(ROUNDS):
        run_round(queue, port, token, number)
    growth = (process.memory_info().rss - memory) / MIB
    queue.close()
    assert growth < MAX_GROWTH_MIB, f"{growth:.1f} MiB"
    assert process.num_fds() <= files + 2
    assert process.num_threads() <= FAST_THREADS + SLOW_THREADS + 2  # the feed's and the main thread


FINISHED_JOBS = 20_000
"""Enough that the page cache of each connection (2 MiB) is full after the warm-up."""
FEEDS, PAGES, VISITORS = 4, 3, 1
RECONNECT_S = 60.0
SAMPLE_S = 5.0
WARM_UP_SHARE = 0.25
MAX_SOAK_GROWTH_MIB = 2.0


def follow_feed(port: int, token: str, stop: threading.Event) -> None:
    """Read the event feed, and connect again now and then, as a page that is reloaded."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {token}"})
        answer, until = connection.getresponse(), time.monotonic() + RECONNECT_S
        while not stop.is_set() and time.monotonic() < until:
            assert answer.readline()
    finally:
        connection.close()


def use_page(port: int, token: str, stop: threading.Event) -> None:
    """Ask what a page asks at a change, on one connection: lists, the newest job, and its log from an offset."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def read(target: str) -> Any:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else {}

    try:
        for _ in range(int(RECONNECT_S)):
            newest = read("/api/jobs?limit=100")["jobs"][0]["id"]
            read(f"/api/jobs/{newest}")
            read(f"/api/jobs/{newest}/log?offset=10")
            read("/api/overview")
            if stop.wait(1.0):
                break
    finally:
        connection.close()


def visit(port: int, token: str, stop: threading.Event) -> None:
    """Ask for everything once, each on a connection of its own."""
    for target in TARGETS:
        ask(port, target, token)
    ask(port, f"/?token={token}", None)
    ask(port, "/api/status", None)
    stop.wait(2.0)


def repeat(work: Callable[[int, str, threading.Event], None], port: int, token: str, stop: threading.Event) -> None:
    """Do this until stopped; the server may close a connection that is idle."""
    while not stop.is_set():
        with suppress(HTTPException, ConnectionError):
            work(port, token, stop)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_memory_does_not_grow_with_time(terminals: Terminals, pytestconfig: pytest.Config) -> None:
    """With a job a second and several clients, memory and open files stay the same after a warm-up."""
    queue = Queue(terminals.queue)
    queue.enqueue_many([{"command": "true"}] * FINISHED_JOBS)
    queue.cancel(*queue.jobs().index)
    terminal, port, token = start_dashboard(terminals, "--port", "0")
    server = psutil.Process(terminal.process.pid)
    stop = threading.Event()
    kinds = [follow_feed] * FEEDS + [use_page] * PAGES + [visit] * VISITORS
    clients = [threading.Thread(target=repeat, args=(kind, port, token, stop)) for kind in kinds]
    found: list[tuple[float, float, int]] = []
    with queue.start_workers(1, on_event=lambda _: None):
        for client in clients:
            client.start()
        began = time.monotonic()
        total_s = 60 * pytestconfig.getoption("--web-minutes")
        try:
            while (elapsed := time.monotonic() - began) < total_s:
                queue.enqueue("for i in 1 2 3 4 5 6 7 8 9; do printf 'step %s\\r' $i; sleep 0.05; done; seq 100")
                if elapsed > len(found) * SAMPLE_S:
                    found.append((elapsed, server.memory_full_info().uss / MIB, server.num_fds()))
                time.sleep(max(0.0, began + elapsed + 1 - time.monotonic()))
        finally:
            stop.set()
            for client in clients:
                client.join()
    queue.close()
    warm = [sample for sample in found if sample[0] > WARM_UP_SHARE * total_s]
    tenth = max(1, len(warm) // 10)
    first, last = (statistics.median(uss for _, uss, _ in part) for part in (warm[:tenth], warm[-tenth:]))
    steps = ", ".join(f"{uss:.1f}" for _, uss, _ in found[:: max(1, len(found) // 20)])
    print(f"{total_s / 60:g} minutes: {first:.2f} to {last:.2f} MiB; over time {steps}")  # noqa: T201 - for the report
    assert last - first < MAX_SOAK_GROWTH_MIB
    assert max(files for _, _, files in warm) <= max(files for _, _, files in found[: len(found) - len(warm)]) + 2
    assert server.num_threads() <= FAST_THREADS + SLOW_THREADS + 2
