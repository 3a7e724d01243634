"""Progress and metrics of running jobs in the dashboard of a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.dashboard_page import DashboardPage, cells

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.browser.lab import Notebook


def test_progress_and_metrics(notebook: Callable[..., Notebook], queue: Queue, tmp_path: Path) -> None:
    """A running job has a bar and a small line in the table, and the log pane shows all of its metrics."""
    end = tmp_path / "end"
    line = """echo '{"progress": 0.5, "loss": '$n', "rate": 1}' >> $QUEUECTL_METRICS"""
    queue.enqueue(f"for n in 1 2 3; do {line}; done; while [ ! -e {end} ]; do sleep 0.1; done", id="trains", timeout=0)
    page = notebook(cells(queue))
    page.run_all()
    dashboard = DashboardPage.wait_for(page)
    with queue.start_workers(1):
        row = dashboard.row("trains")
        expect(row.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
        expect(row.locator(".qc-small-line")).to_have_count(1)
        row.click()
        metrics = dashboard.root.locator(".qc-metrics")
        expect(metrics.locator(".qc-metric")).to_have_count(2)
        expect(metrics).to_contain_text("loss3")
        end.touch()
        expect(row).to_contain_text("completed")
        expect(row.get_by_role("progressbar")).to_have_count(0)
        expect(row.locator(".qc-small-line")).to_have_count(1)
        expect(row.locator(".qc-kind-live")).to_have_text("3")
        page.picture("dashboard-metrics")
    assert page.errors() == []
