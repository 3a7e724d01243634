"""Who is taken to look at a dashboard, and for how long."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

from queuectl_nb.notebook.dashboard import viewers as viewers_module
from queuectl_nb.notebook.dashboard.viewers import Viewers

if TYPE_CHECKING:
    import pytest


def test_who_looked_when_a_cell_began_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pages cannot be heard during a cell they are taken to look on; where they can, silence means gone."""
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
