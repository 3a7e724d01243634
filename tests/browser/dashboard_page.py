"""A dashboard in a page, as its user sees and moves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from queuectl_nb.client import Queue
    from tests.browser.lab import Notebook

__all__ = ["DashboardPage", "cells"]


@dataclass
class DashboardPage:
    """The (only) dashboard of a notebook's page."""

    notebook: Notebook

    @classmethod
    def seen(cls, notebook: Notebook) -> DashboardPage:
        """Wait for the dashboard's rows, and bring it into view."""
        found = cls(notebook)
        found.root.wait_for()
        found.root.scroll_into_view_if_needed()
        found.row().first.wait_for()
        return found

    @property
    def root(self) -> Locator:
        """The whole of it."""
        return self.notebook.page.locator(".qc-dash")

    @property
    def table(self) -> Locator:
        """The table."""
        return self.root.get_by_role("grid")

    @property
    def log(self) -> Locator:
        """What the log shows."""
        return self.root.locator(".qc-log")

    @property
    def said(self) -> Locator:
        """The line below the table."""
        return self.root.locator(".qc-said")

    def row(self, text: str | None = None) -> Locator:
        """Return the rows with a text."""
        rows = self.table.locator(".qc-row:not(.qc-loading)")
        return rows if text is None else rows.filter(has_text=text)

    def ids(self) -> list[str]:
        """Return the ids that are seen, from the top."""
        cells: list[tuple[int, str]] = self.table.evaluate(
            "(grid) => [...grid.querySelectorAll('.qc-row:not(.qc-loading)')]"
            ".map((row) => [Number(row.getAttribute('aria-rowindex')), row.children[0].textContent])"
        )
        return [text for _, text in sorted(cells)]

    def button(self, name: str) -> Locator:
        """Return a button by what stands on it."""
        return self.root.get_by_role("button", name=name, exact=True)

    def chip(self, state: str) -> Locator:
        """Return the chip of a state."""
        return self.root.locator(f".qc-chip-{state}")

    def says(self, text: str) -> None:
        """Wait until the line below the table has this."""
        expect(self.said).to_contain_text(text)

    def begins_with(self, *ids: str) -> None:
        """Wait until these are the first rows."""
        for place, each in enumerate(ids):
            expect(self.table.locator(f"[aria-rowindex='{place + 2}'] > :first-child")).to_have_text(each)


def cells(queue: Queue, *more: str) -> list[str]:
    """Return the cells that show a queue's dashboard."""
    return [f"%load_ext queuectl_nb\nboard = %queuectl dashboard --db {queue.path}\nboard", *more]
