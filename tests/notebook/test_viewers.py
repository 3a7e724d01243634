"""Which pages count as visible."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

from queuectl_nb.notebook.dashboard import viewers as viewers_module
from queuectl_nb.notebook.dashboard.viewers import Viewers

if TYPE_CHECKING:
    import pytest


def test_visible_views_during_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without heartbeats during a cell, pages stay visible until it ends; with them, the timeout applies."""
    now = [100.0]
    monkeypatch.setattr(viewers_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    viewers = Viewers()
    viewers.expect()
    assert viewers.visible_views() == [viewers_module.UNKNOWN_VIEW]
    viewers.record_heartbeat("a", visible=True)
    viewers.cell_started()
    now[0] += 3600
    assert viewers.visible_views() == ["a"]
    viewers.cell_finished()
    assert viewers.visible_views() == ["a"]
    now[0] += viewers_module.HEARTBEAT_TIMEOUT_S + 1
    assert viewers.visible_views() == []
    viewers.record_heartbeat("a", visible=True)
    viewers.cell_started()
    thread = threading.Thread(
        target=viewers.record_heartbeat, args=("a",), kwargs={"visible": True}
    )  # another thread hears
    thread.start()
    thread.join()
    now[0] += viewers_module.HEARTBEAT_TIMEOUT_S + 1
    assert viewers.visible_views() == []
