"""Page object of a dashboard."""

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
    """The only dashboard in a notebook."""

    notebook: Notebook

    @classmethod
    def wait_for(cls, notebook: Notebook) -> DashboardPage:
        """Wait until the dashboard has rows, and scroll it into view."""
        dashboard = cls(notebook)
        dashboard.root.wait_for()
        dashboard.root.scroll_into_view_if_needed()
        dashboard.row().first.wait_for()
        return dashboard

    @property
    def root(self) -> Locator:
        """The element of the dashboard."""
        return self.notebook.page.locator(".qc-dash")

    @property
    def table(self) -> Locator:
        """The table."""
        return self.root.get_by_role("grid")

    @property
    def log(self) -> Locator:
        """The log."""
        return self.root.locator(".qc-log")

    @property
    def message(self) -> Locator:
        """The message below the table."""
        return self.root.locator(".qc-message")

    def row(self, text: str | None = None) -> Locator:
        """Return the rows that contain a text."""
        rows = self.table.locator(".qc-row:not(.qc-loading)")
        return rows if text is None else rows.filter(has_text=text)

    def ids(self) -> list[str]:
        """Return the ids in view, from the top."""
        cells: list[tuple[int, str]] = self.table.evaluate(
            "(grid) => [...grid.querySelectorAll('.qc-row:not(.qc-loading)')]"
            ".map((row) => [Number(row.getAttribute('aria-rowindex')), row.children[0].textContent])"
        )
        return [text for _, text in sorted(cells)]

    def button(self, name: str) -> Locator:
        """Return the button with this label."""
        return self.root.get_by_role("button", name=name, exact=True)

    def state_button(self, state: str) -> Locator:
        """Return the filter button of a state."""
        return self.root.locator(f".qc-chip.qc-is-{state}")

    def expect_message(self, text: str) -> None:
        """Wait for a message below the table."""
        expect(self.message).to_contain_text(text)

    def expect_first(self, *ids: str) -> None:
        """Wait until these are the first rows."""
        for index, job_id in enumerate(ids):
            expect(self.table.locator(f"[aria-rowindex='{index + 2}'] > :first-child")).to_have_text(job_id)


def cells(queue: Queue, *more: str) -> list[str]:
    """Return the source of cells that display the dashboard of a queue."""
    return [f"%load_ext queuectl_nb\ndashboard = %queuectl dashboard --db {queue.path}\ndashboard", *more]
