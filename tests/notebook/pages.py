"""A page that shows a dashboard, as the kernel meets it: what it tells, and what it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.engine.harness import until

if TYPE_CHECKING:
    import pytest

    from queuectl_nb.notebook.dashboard.dashboard import Dashboard

__all__ = ["PATIENT", "Page"]

PATIENT = 1e6
"""Seconds without end, on any machine."""


class Page:
    """A page that shows a dashboard: it tells what pages tell, and keeps what it is sent."""

    def __init__(self, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, view: str = "page") -> None:
        self.dashboard = dashboard
        self.view = view
        self.told = 0
        self.table: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        monkeypatch.setattr(dashboard.table_pane, "send", self.table.append)
        monkeypatch.setattr(dashboard.log_pane, "send", self.log.append)

    def tell(self, kind: str, **facts: Any) -> None:
        """Send a message of the table to the kernel."""
        self.told += 1
        self.dashboard._from_table(None, {"kind": kind, "view": self.view, "at": self.told, **facts}, [])

    def open(self) -> None:
        """Load the page."""
        self.look(anew=True)
        self.dashboard._from_log(None, {"kind": "hello"}, [])

    def look(self, *, first: int = 0, top: bool = True, visible: bool = True, anew: bool = False) -> None:
        """Give a sign of life."""
        self.tell("beat", visible=visible, first=first, count=20, top=top, anew=anew)

    def rows(self) -> list[dict[str, Any]]:
        """Return the messages with rows for this page."""
        return [each for each in list(self.table) if each["kind"] == "rows" and each["view"] == self.view]

    def shown(self) -> list[str]:
        """Return the ids that the page shows, put together as the page does."""
        has: dict[int, str] = {}
        for message in self.rows():
            has |= {row[0]: row[1] for row in message["rows"]}
        known = [message["keys"] for message in self.rows() if message["keys"] is not None]
        return [has[key] for key in known[-1]] if known else []

    def said(self) -> list[tuple[str, bool]]:
        """Return what was said in the line below the table."""
        return [(each["text"], each["bad"]) for each in list(self.table) if each["kind"] == "said"]

    def choose(self, *ids: str) -> None:
        """Choose rows, the last one with the keyboard on it."""
        keys = {row[1]: row[0] for message in self.rows() for row in message["rows"]}
        chosen = [keys[each] for each in ids]
        self.tell("select", keys=chosen, active=chosen[-1])
        until(lambda: self.dashboard._chosen == chosen)
