"""The page on a real JupyterHub: its XSRF rules, its ban on frames, two users, and a server that the hub stops."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client import Queue
from tests.browser.chromium import WINDOW
from tests.browser.hub import Hub, missing_hub
from tests.browser.lab import PAGE_TIMEOUT_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

USERS = ("ada", "bob")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Return a hub with a running server of each user, whose queue has the job ``job-of-NAME``."""
    reason = missing_hub()
    if reason:
        pytest.skip(reason)
    found = Hub(tmp_path_factory.mktemp("hub"))
    try:
        with ThreadPoolExecutor() as threads:
            list(threads.map(found.start, USERS))
        for user in USERS:
            enqueue(found, user, f"job-of-{user}")
        yield found
    finally:
        found.close()


def enqueue(hub: Hub, user: str, job_id: str) -> None:
    """Add a job to the queue of a user."""
    queue = Queue(hub.homes / user / "queue.db")
    queue.enqueue("true", id=job_id)
    queue.close()


def open_page(browser: Browser, hub: Hub, user: str) -> Page:
    """Log in, open the page of this user and wait until it is live."""
    page = browser.new_context(viewport=WINDOW, reduced_motion="reduce").new_page()  # type: ignore[arg-type]
    page.set_default_timeout(PAGE_TIMEOUT_MS)
    page.clock.install()
    hub.log_in(page, user)
    page.goto(f"{hub.url}user/{user}/queuectl/")
    page.wait_for_selector("#live[data-kind=live]")
    return page


def test_two_users(shared_browser: Browser, hub: Hub) -> None:
    """Each user sees their own queue live, and not that of the other; programs use a token in a header."""
    for user, other in (USERS, USERS[::-1]):
        page = open_page(shared_browser, hub, user)
        rows = page.locator("#jobs-table .qc-row")
        rows.filter(has_text=f"job-of-{user}").wait_for()
        assert rows.count() == 1
        enqueue(hub, user, "live")
        rows.filter(has_text="live").wait_for()
        rows.filter(has_text="live").click()
        page.locator("#log-note", has_text="not started").wait_for()  # requests with parameters carry the token
        address = f"user/{other}/queuectl/"
        answer = page.goto(f"{hub.url}{address}")
        assert answer is not None
        assert answer.status == 403
        assert hub.status_of(f"{address}api/status") == 403
        assert hub.status_of(f"{address}static/page.js") == 200
        assert hub.status_of(f"{address}api/status", Authorization=f"token {hub.token}") == 200
        assert hub.status_of(f"{address}api/status?token={hub.token}") == 403
        page.context.close()


def test_stopped_server(shared_browser: Browser, hub: Hub) -> None:
    """After two missed heartbeats the page says that the hub has stopped the server; later a reload is enough."""
    page = open_page(shared_browser, hub, "ada")
    hub.stop("ada")
    page.clock.fast_forward(40_000)
    page.wait_for_selector("#live[data-kind=stopped]")
    page.locator("#trouble", has_text="hub's home page").wait_for()
    hub.start("ada")
    page.reload()
    page.wait_for_selector("#live[data-kind=live]")
    page.context.close()


def test_launcher_opens_a_browser_tab(shared_browser: Browser, hub: Hub) -> None:
    """The hub forbids frames, so the launcher opens the page in a browser tab."""
    page = open_page(shared_browser, hub, "bob")
    page.goto(f"{hub.url}user/bob/lab?reset")
    tile = page.locator(".jp-LauncherCard", has_text="queuectl")
    tile.wait_for()
    with page.context.expect_page(timeout=PAGE_TIMEOUT_MS) as opened:
        tile.click()
    opened.value.wait_for_selector("#live[data-kind=live]")
    assert page.locator("#queuectl-page").count() == 0
    page.context.close()
