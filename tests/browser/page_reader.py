"""Drives the web page in a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.engine.harness import until
from tests.web.server import TOKEN

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Locator

    from tests.web.server import WebServer

__all__ = ["Reader"]

TIMEOUT_MS = 30_000
COLUMN_TEXTS = """column => [...document.querySelectorAll('#jobs-table .qc-row')]
    .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).map(row => row.children[column].textContent)"""


class Reader:
    """A browser page and the errors that it logged."""

    def __init__(self, context: BrowserContext, server: WebServer) -> None:
        self.page = page = context.new_page()
        self.server = server
        self.browser_errors: list[str] = []
        self.expected_error = "(?!)"
        """Pattern of errors that the test causes; they may be logged late."""
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.browser_errors.append(str(error)))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not re.search(self.expected_error, message.text):
            self.browser_errors.append(message.text)

    def open(self, fragment: str = "") -> Reader:
        """Log in and wait for the first overview."""
        self.page.goto(f"http://127.0.0.1:{self.server.port}/?token={TOKEN}")
        assert TOKEN not in self.page.url
        if fragment:
            self.go_to(fragment)
        self.wait_for("#live[data-kind=live]")
        return self

    def go_to(self, fragment: str) -> None:
        """Open the page at a location, as a bookmark does."""
        self.page.goto(f"http://127.0.0.1:{self.server.port}{self.server.auth.cookie_path}/#{fragment}")

    def wait_for(self, selector: str, text: str | re.Pattern[str] | None = None) -> Locator:
        """Wait until an element (with this text) is visible."""
        found = self.page.locator(selector) if text is None else self.page.locator(selector, has_text=text)
        found.first.wait_for()
        return found.first

    def wait_for_count(self, state: str, number: int) -> None:
        """Wait until the tile of a state shows this number."""
        self.wait_for(f"#tiles li:has(.qc-is-{state}) .qp-number", re.compile(f"^{number}$"))

    def wait_for_ids(self, *expected: str) -> None:
        """Wait until the list begins with these jobs."""
        column = self.page.locator(".qc-thead .qc-th").all_inner_texts().index("ID")
        until(lambda: self.page.evaluate(COLUMN_TEXTS, column)[: len(expected)] == list(expected))

    def row_count(self) -> int:
        """Return the number of jobs in the list."""
        return int(self.page.locator("#jobs-table").get_attribute("aria-rowcount") or 1) - 1
