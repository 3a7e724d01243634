"""The web page in unusual surroundings: lost server, no event stream, proxy, dark mode, small screens, keyboard."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.state import State
from queuectl_nb.web import event_feed
from tests.browser.chromium import WINDOW
from tests.browser.page_reader import Reader
from tests.browser.proxy import PrefixProxy
from tests.engine.harness import until
from tests.web.server import TOKEN

if TYPE_CHECKING:
    import pytest
    from playwright.sync_api import Browser

    from queuectl_nb.client import Queue
    from tests.engine.harness import WorkerHarness
    from tests.web.server import WebServer


def test_reconnects_by_itself(reader: Reader, queue: Queue) -> None:
    """The page reports a lost connection and reconnects."""
    reader.open()
    reader.server.close()
    reader.wait_for("#live[data-kind=lost]")
    queue.enqueue("true", id="meanwhile")
    reader.server.start()
    reader.wait_for("#live[data-kind=live]")
    reader.wait_for_count("pending", 1)
    reader.wait_for_ids("meanwhile")
    reader.browser_errors.clear()  # of connections refused


def test_reconnects_after_missed_heartbeats(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that stays open but silent, as behind the proxy of a stopped server, is opened again."""
    monkeypatch.setattr(event_feed, "HEARTBEAT_S", 1000)
    reader.page.clock.install()
    reader.open()
    with reader.page.expect_request("**/api/events"):
        reader.page.clock.fast_forward(40_000)
    reader.wait_for("#live[data-kind=live]")
    reader.browser_errors.clear()  # of the aborted request


def test_polls_without_the_event_stream(reader: Reader, queue: Queue) -> None:
    """Where the event stream is blocked the page polls, and says so."""
    reader.page.route("**/api/events", lambda route: route.fulfill(status=502, body="no"))
    reader.page.goto(f"http://127.0.0.1:{reader.server.port}/?token={TOKEN}")
    reader.wait_for("#live[data-kind=polling]")
    queue.enqueue("true", id="a")
    reader.wait_for_count("pending", 1)
    reader.wait_for_ids("a")
    reader.page.unroute("**/api/events")
    reader.wait_for("#live[data-kind=live]")
    reader.browser_errors.clear()  # of the 502


def test_proxy_prefix(reader: Reader, queue: Queue) -> None:
    """Behind a proxy with a prefix the page logs in and is live; the cookie is limited to the prefix."""
    proxy = PrefixProxy(reader.server.port, "/user/ada/queue/")
    page = reader.page
    page.goto(f"{proxy.url}?token={TOKEN}")
    assert page.url == f"{proxy.url}{reader.server.auth.cookie_path[1:]}/"
    reader.wait_for("#live[data-kind=live]")
    queue.enqueue("true", id="a")
    reader.wait_for_count("pending", 1)
    reader.wait_for_ids("a")
    (cookie,) = page.context.cookies(page.url)
    assert cookie["path"].rstrip("/") == f"/user/ada/queue{reader.server.auth.cookie_path}"
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.goto("about:blank")
    proxy.close()


def test_other_ports_do_not_get_the_cookie(reader: Reader) -> None:
    """A server on another port of the same host is sent no cookie; the page works, also after a reload."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Cookie"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    other = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        page = reader.open().page
        for path in ("/", "/api/status"):
            page.context.new_page().request.get(f"http://127.0.0.1:{other.server_port}{path}")
        assert seen == [None, None]
        page.reload()
        reader.wait_for("#live[data-kind=live]")
    finally:
        other.shutdown()
        other.server_close()


def test_logged_out(reader: Reader, queue: Queue) -> None:
    """A restart of the server ends the login; the page explains how to log in."""
    reader.open()
    reader.server.restart()
    reader.wait_for("#live[data-kind=login]")
    reader.wait_for("#trouble", "queuectl dashboard")
    reader.page.goto(f"http://127.0.0.1:{reader.server.port}/")
    reader.wait_for("main", "Login required")
    assert reader.page.evaluate("() => getComputedStyle(document.body).maxWidth") == "640px"  # the style is applied
    reader.browser_errors.clear()  # of the 403


def test_dark_mode(shared_browser: Browser, server: WebServer, harness: WorkerHarness) -> None:
    """The page follows the system's scheme; the button overrides it and is remembered."""
    harness.add("echo '\\033[32mgreen\\033[0m'; exit 1", id="a", max_retries=1)
    harness.start()
    until(lambda: harness.queue.store.reader.counts()[State.DEAD])
    context = shared_browser.new_context(viewport=WINDOW, color_scheme="dark", reduced_motion="reduce")  # type: ignore[arg-type]
    reader = Reader(context, server).open("job=a")
    page = reader.page
    reader.wait_for("#log .qc-fg2", "green")

    def brightness() -> int:
        return int(page.evaluate("() => Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"))

    assert brightness() < 60
    page.click("#theme")
    assert brightness() > 200
    page.reload()
    reader.wait_for("#live[data-kind=live]")
    assert brightness() > 200
    page.click("#theme")
    assert brightness() < 60
    assert reader.browser_errors == []


def test_small_screen(shared_browser: Browser, server: WebServer, queue: Queue) -> None:
    """At 360 pixels nothing is wider than the screen; a tap opens a job below the list."""
    queue.enqueue("echo " + "x" * 500, id="i" * 128, tags=["t" * 128], queue="q" * 128, after=[])
    queue.enqueue("true", id="short")
    context = shared_browser.new_context(
        viewport={"width": 360, "height": 780}, has_touch=True, reduced_motion="reduce"
    )
    reader = Reader(context, server).open()
    page = reader.page
    reader.wait_for_ids("short", "i" * 128)

    def fits() -> bool:
        return bool(page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"))

    assert fits()
    page.locator("#jobs-table .qc-row", has_text="iii").tap()
    reader.wait_for("#job-title", "iii")
    reader.wait_for("#job-facts", "t" * 128)
    until(lambda: page.evaluate("() => document.getElementById('job').getBoundingClientRect().top < innerHeight / 2"))
    assert fits()
    page.tap(".qp-nav a[data-view=stats]")
    reader.wait_for("#stats", "peak memory")
    assert fits()
    assert reader.browser_errors == []


def test_keyboard(reader: Reader, harness: WorkerHarness) -> None:
    """The first Tab skips to the list; arrows select, Enter opens, Escape closes and returns."""
    for name in "abc":
        harness.add(f"echo log of {name}", id=name)
    harness.start()
    until(lambda: harness.queue.store.reader.counts()[State.COMPLETED] == 3)
    page = reader.open().page
    reader.wait_for(".qc-row .qc-is-completed")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "jobs-table"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    reader.wait_for("#job-title", re.compile("^[abc]$"))
    page.keyboard.press("Enter")
    until(lambda: page.evaluate("() => document.activeElement.id") == "job")
    name = page.inner_text("#job-title")
    reader.wait_for("#log .qc-line", f"log of {name}")
    page.keyboard.press("Escape")
    page.wait_for_selector("#job", state="hidden")
    assert page.evaluate("() => document.activeElement.id") == "jobs-table"
    seen: set[str] = set()
    for _ in range(40):  # every part can be reached, and none holds the focus
        page.keyboard.press("Tab")
        seen.add(page.evaluate("() => document.activeElement.id || document.activeElement.className"))
    assert {"theme", "qp-tile", "search", "queue", "jobs-table"} <= seen
