"""A page that shows a dashboard, from the kernel's point of view: what it sends and what it receives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.engine.harness import until

if TYPE_CHECKING:
    import pytest

    from queuectl_nb.notebook.dashboard.dashboard import Dashboard

__all__ = ["NEVER_S", "Page"]

NEVER_S = 1e6
"""A timeout that never expires."""


class Page:
    """Sends the messages of a page, and records those it receives."""

    def __init__(self, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, view: str = "page") -> None:
        self.dashboard = dashboard
        self.view = view
        self.sequence = 0
        self.table: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        monkeypatch.setattr(dashboard.table_pane, "send", self.table.append)
        monkeypatch.setattr(dashboard.log_pane, "send", self.log.append)

    def send(self, kind: str, **fields: Any) -> None:
        """Send a table message to the kernel."""
        self.sequence += 1
        message = {"kind": kind, "view": self.view, "sequence": self.sequence, **fields}
        self.dashboard._on_table_message(None, message, [])

    def open(self) -> None:
        """Load the page."""
        self.heartbeat(reload=True)
        self.dashboard._on_log_message(None, {"kind": "open", "view": self.view}, [])

    def heartbeat(self, *, first: int = 0, top: bool = True, visible: bool = True, reload: bool = False) -> None:
        """Send a heartbeat."""
        self.send("heartbeat", visible=visible, first=first, count=20, top=top, reload=reload)

    def rows(self) -> list[dict[str, Any]]:
        """Return the row messages for this page."""
        return [each for each in list(self.table) if each["kind"] == "rows" and each["view"] == self.view]

    def shown(self) -> list[str]:
        """Return the ids that the page shows, assembled from the messages as the page does."""
        ids: dict[int, str] = {}
        for message in self.rows():
            ids |= {row[0]: row[1] for row in message["rows"]}
        keys = [message["keys"] for message in self.rows() if message["keys"] is not None]
        return [ids[key] for key in keys[-1]] if keys else []

    def messages(self) -> list[tuple[str, bool]]:
        """Return text and error flag of the messages below the table."""
        return [(each["text"], each["error"]) for each in list(self.table) if each["kind"] == "message"]

    def select(self, *ids: str) -> None:
        """Select rows; the last one becomes active."""
        keys = {row[1]: row[0] for message in self.rows() for row in message["rows"]}
        selected = [keys[each] for each in ids]
        self.send("select", keys=selected, active=selected[-1])
        until(lambda: self.dashboard.targets.selected.get(self.view) == selected)
