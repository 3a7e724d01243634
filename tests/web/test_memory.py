"""The memory of the web server does not grow with the requests that it has served."""

from __future__ import annotations

import socket
from contextlib import suppress
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import psutil
import pytest

from queuectl_nb.client import Queue
from queuectl_nb.web.queue_reader import FAST_THREADS, SLOW_THREADS
from tests.web.test_dashboard import start_dashboard

if TYPE_CHECKING:
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
