"""Who is taken to look at a dashboard, and for how long."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

from queuectl_nb.notebook.dashboard import viewers as audience_module
from queuectl_nb.notebook.dashboard.viewers import Viewers

if TYPE_CHECKING:
    import pytest


def test_who_looked_when_a_cell_began_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pages cannot be heard during a cell they are taken to look on; where they can, silence means gone."""
    now = [100.0]
    monkeypatch.setattr(audience_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    audience = Viewers()
    audience.expect()
    assert audience.views() == [audience_module.ANYBODY]
    audience.heard("a", visible=True)
    audience.cell_begins()
    now[0] += 3600
    assert audience.views() == ["a"]
    audience.cell_ends()
    assert audience.views() == ["a"]
    now[0] += audience_module.SILENCE + 1
    assert audience.views() == []
    audience.heard("a", visible=True)
    audience.cell_begins()
    thread = threading.Thread(target=audience.heard, args=("a",), kwargs={"visible": True})  # another thread hears
    thread.start()
    thread.join()
    now[0] += audience_module.SILENCE + 1
    assert audience.views() == []
