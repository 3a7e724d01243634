"""The dashboard as the documentation shows it; ``python -m docs.update_images`` copies the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from queuectl_nb.client import Queue
from tests.browser.dashboard_page import DashboardPage, cells
from tests.browser.screenshots import busy_queue, history
from tests.engine.harness import WorkerHarness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.browser.lab import Notebook


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[WorkerHarness]:
    """Return a harness whose path can be shown in a picture; its pools end with the test."""
    (tmp_path / "experiments").mkdir()
    found = WorkerHarness(Queue(tmp_path / "experiments" / "queue.db"))
    yield found
    found.close()
    found.queue.close()


@pytest.mark.pictures
def test_dashboard_screenshots(notebook: Callable[..., Notebook], harness: WorkerHarness) -> None:
    """A queue with jobs in all states, in both themes, with the log of a running job."""
    page = notebook(cells(harness.queue))
    page.page.set_viewport_size({"width": 1180, "height": 1240})
    busy_queue(harness)
    history(harness.queue)
    page.run_all()
    dashboard = DashboardPage.wait_for(page)
    expect(dashboard.state_button("processing")).to_have_text("processing 2")
    dashboard.row("train-lr0.1").first.click()
    expect(dashboard.log).to_contain_text("epoch 3")
    for scheme in ("light", "dark"):
        page.theme(scheme)
        page.picture(f"dashboard-{scheme}", dashboard.root)
    assert page.errors() == []
