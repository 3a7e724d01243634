"""Which pages count as visible."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

from queuectl_nb.notebook.dashboard import viewers as viewers_module
from queuectl_nb.notebook.dashboard.viewers import UNKNOWN_VIEW, Viewers

if TYPE_CHECKING:
    import pytest


def test_visible_views_during_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a cell ends, the last known state of pages applies; then the timeout of heartbeats starts again."""
    now = [100.0]
    monkeypatch.setattr(viewers_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    viewers = Viewers()
    viewers.expect()
    assert viewers.visible_views() == [UNKNOWN_VIEW]
    viewers.record("a", visible=True)
    viewers.record("b", visible=True)
    viewers.started()
    viewers.started()  # a cell that runs another
    now[0] += 3600
    viewers.record("b", visible=False)
    viewers.record("loaded meanwhile", visible=True)
    viewers.finished()
    assert viewers.busy
    assert viewers.visible_views() == ["a", "loaded meanwhile"]
    viewers.finished()
    assert not viewers.busy
    assert viewers.visible_views() == ["a", "loaded meanwhile"]
    now[0] += viewers_module.HEARTBEAT_TIMEOUT_S + 1
    assert viewers.visible_views() == []


def test_callbacks_of_other_threads_are_not_cells() -> None:
    """A callback of another widget, in a subshell, does not make the main thread busy or free."""
    viewers = Viewers()
    for function, busy in ((viewers.started, False), (viewers.finished, True)):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()
        assert viewers.busy is busy
        viewers.started()
