"""``queuectl dashboard`` as a process: address, port, shutdown, and logins that survive a restart."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.web import server
from tests.engine.harness import until
from tests.journeys.terminals import unread

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Ran
    from tests.journeys.terminals import Terminal, Terminals

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/\?token=([A-Za-z0-9_-]{43})\Z")


def start_dashboard(terminals: Terminals, *words: str) -> tuple[Terminal, int, str]:
    """Start a dashboard; return its terminal, port and token."""
    terminal = terminals.open("dashboard", *words)
    found = ADDRESS.match(terminal.wait_for_line("http://"))
    assert found
    return terminal, int(found[1]), found[2]


def read_counts(port: int, token: str) -> dict[str, int]:
    """Return the job counts from a server."""
    request = Request(f"http://127.0.0.1:{port}/api/status", headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=30) as answer:
        counts: dict[str, int] = json.load(answer)["counts"]
        return counts


def test_serves_until_interrupted(terminals: Terminals) -> None:
    """It prints its address, serves the queue, exits with 0 on Ctrl+C and keeps its token."""
    terminals.run("enqueue", "--command", "true")
    terminal, port, token = start_dashboard(terminals, "--port", "0")
    terminal.wait_for_line("press Ctrl+C to stop")
    assert read_counts(port, token)["pending"] == 1
    terminal.interrupt()
    assert terminal.wait() == 0
    assert not [line for line in terminal.lines if "Traceback" in line]
    again, same, kept = start_dashboard(terminals, "--port", str(port))
    assert (same, kept) == (port, token)
    again.process.send_signal(signal.SIGTERM)
    assert again.wait() == 0


def test_shutdown_with_open_connections(terminals: Terminals) -> None:
    """Open connections do not delay shutdown, and nothing more is printed."""
    terminals.run("enqueue", "--command", "true", "--id", "a")
    terminal, port, token = start_dashboard(terminals, "--port", "0")
    terminal.wait_for_line("press Ctrl+C to stop")
    connections = []
    for target in ("/api/events", "/api/jobs/a", "/api/jobs?q=x", "/api/stats", "/"):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
        connection.getresponse().read(1)
        connections.append(connection)
    connections.pop().close()
    last = HTTPConnection("127.0.0.1", port, timeout=30)
    last.request("GET", "/api/jobs", headers={"Authorization": f"Bearer {token}"})  # not even read
    terminal.interrupt()
    assert terminal.wait() == 0
    assert len(terminal.lines) == 2, terminal.lines
    for connection in (*connections, last):
        connection.close()


def listening_port(process: psutil.Process) -> int:
    """Return the port that a process listens to; 0 if there is none."""
    connections = (getattr(process, "net_connections", None) or process.connections)("tcp")
    return next((each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN), 0)


@pytest.mark.parametrize(
    ("number", "stderr"), [(signal.SIGINT, subprocess.DEVNULL), (signal.SIGTERM, subprocess.STDOUT)]
)
def test_address_that_is_not_read(terminals: Terminals, number: int, stderr: int) -> None:
    """Output that nobody reads delays neither the page nor a stop."""
    terminals.run("init")
    with unread(terminals.queue, "dashboard", "--port", "0", stderr=stderr) as (process, _):
        port = until(lambda: listening_port(psutil.Process(process.pid)))
        with pytest.raises(HTTPError, match="403"):
            urlopen(f"http://127.0.0.1:{port}/", timeout=30)
        process.send_signal(number)
        assert process.wait(60) == 0


def test_address_that_is_read_late(terminals: Terminals) -> None:
    """The address is written once there is room for it."""
    terminals.run("init")
    with unread(terminals.queue, "dashboard", "--port", "0", stderr=subprocess.DEVNULL) as (process, output):
        until(lambda: listening_port(psutil.Process(process.pid)))
        os.set_blocking(output, False)

        def read() -> bytes:
            with contextlib.suppress(BlockingIOError):
                return os.read(output, 65536)
            return b""

        until(lambda: b"/?token=" in read())


def test_second_signal_interrupts() -> None:
    """Whatever the event loop is doing, such as writing a warning that nobody reads, a second signal ends it."""
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()
    stop = server._make_stop_handler(loop, stopped)
    stop(signal.SIGINT, None)
    loop.run_until_complete(stopped.wait())
    with pytest.raises(KeyboardInterrupt):
        stop(signal.SIGINT, None)
    loop.close()


def test_browser_that_does_not_end(terminals: Terminals, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser in the terminal, which runs until it is closed, delays no stop."""
    pid = terminals.queue.with_name("pid")
    script = terminals.queue.with_name("browser.sh")
    script.write_text(f"#!/bin/sh\necho $$ > {pid}.new && mv {pid}.new {pid}; exec sleep 600 > /dev/null 2>&1\n")
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    terminal, _, _ = start_dashboard(terminals, "--port", "0", "--open")
    until(pid.exists)
    try:
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait() == 0
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_port_in_use(terminals: Terminals) -> None:
    """A requested port in use is one line and exit code 3; by default the next free port is used."""
    _, port, _ = start_dashboard(terminals)
    terminal = terminals.open("dashboard", "--port", str(port))
    assert terminal.wait() == 3
    assert len(terminal.lines) == 1
    assert f"port {port} of 127.0.0.1 is in use" in terminal.lines[0]
    _, other, _ = start_dashboard(terminals)
    assert other != port
    assert min(other, port) >= 8642


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # tornado leaves a refused socket open
def test_listens_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server listens on 127.0.0.1 by default; without a free port the error suggests ``--port 0``."""
    (listening,) = server.listen(0)
    assert listening.getsockname()[0] == "127.0.0.1"
    assert listening.family == socket.AF_INET
    monkeypatch.setattr(server, "DEFAULT_PORT", listening.getsockname()[1])
    monkeypatch.setattr(server, "MAX_PORT_TRIES", 1)
    with pytest.raises(BadEnvironment, match="--port 0"):
        server.listen(None)
    with pytest.raises(BadEnvironment, match="cannot be used"):
        server.listen(0, "192.0.2.1")
    listening.close()


@pytest.mark.parametrize(
    "words",
    [("--port", "x"), ("--port", "-1"), ("--port", "65536"), ("--port", "8_0"), ("--host", "evil.example"),
     ("--host", ""), ("--host", "127.0.0.1:80"), ("extra",), ("--json",)],
)  # fmt: skip
def test_invalid_options(run: Callable[..., Ran], words: tuple[str, ...]) -> None:
    """Invalid options are exit code 2 and one line."""
    ran = run("dashboard", *words)
    assert ran.exit_code == 2
    assert ran.stderr.count("\n") == 1
    assert ran.stdout == ""


def test_open_option(terminals: Terminals, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--open`` starts a browser with a one-time token, because command lines are visible to all users."""
    opened = terminals.queue.with_name("browser")
    script = terminals.queue.with_name("browser.sh")
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(script))
    _, port, token = start_dashboard(terminals, "--port", "0", "--open")
    until(opened.exists)
    address = opened.read_text().strip()
    assert token not in address
    word = address.partition("?token=")[2]
    with urlopen(f"http://127.0.0.1:{port}/api/status?token={word}", timeout=30) as answer:
        assert answer.status == 200
