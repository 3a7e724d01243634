"""The web page in a browser, as its reader opens it, looks at it and moves it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.engine.harness import until
from tests.web.server import TOKEN

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Locator

    from tests.web.server import WebServer

__all__ = ["Reader"]

PATIENCE = 30_000
"""Milliseconds that the page may take for anything."""
IDS = """column => [...document.querySelectorAll('#jobs-table .qc-row')]
    .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).map(row => row.children[column].textContent)"""


class Reader:
    """A page with what it complained of."""

    def __init__(self, context: BrowserContext, server: WebServer) -> None:
        self.page = page = context.new_page()
        self.server = server
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self.heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def heard(self, message: ConsoleMessage) -> None:
        """Keep what the browser warns of."""
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, place: str = "") -> Reader:
        """Log in and wait for the first overview."""
        self.page.goto(f"http://127.0.0.1:{self.server.port}/?token={TOKEN}")
        assert TOKEN not in self.page.url
        if place:
            self.go(place)
        self.sees("#live[data-kind=live]")
        return self

    def go(self, place: str) -> None:
        """Go to a place, as a bookmark does."""
        self.page.goto(f"http://127.0.0.1:{self.server.port}/#{place}")

    def sees(self, selector: str, text: str | re.Pattern[str] | None = None) -> Locator:
        """Wait until something is seen."""
        found = self.page.locator(selector) if text is None else self.page.locator(selector, has_text=text)
        found.first.wait_for()
        return found.first

    def counts(self, state: str, number: int) -> None:
        """Wait until a tile tells a number."""
        self.sees(f"#tiles li:has(.qc-is-{state}) .qp-number", re.compile(f"^{number}$"))

    def ids(self, *expected: str) -> None:
        """Wait until the list shows these jobs, from the top."""
        column = self.page.locator(".qc-thead .qc-th").all_inner_texts().index("ID")
        until(lambda: self.page.evaluate(IDS, column)[: len(expected)] == list(expected), 20)

    def shown(self) -> int:
        """Return how many jobs the list has."""
        return int(self.page.locator("#jobs-table").get_attribute("aria-rowcount") or 1) - 1
