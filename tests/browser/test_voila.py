"""The dashboard in Voilà, which shows a notebook as a page of its own and starts a kernel for each load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
from playwright.sync_api import expect

from tests.browser.chromium import WINDOW
from tests.browser.dashboard_page import DashboardPage, cells
from tests.browser.lab import PAGE_TIMEOUT_MS, Notebook

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from queuectl_nb.client import Queue
    from tests.browser.lab import LabServer

LOADS = 2


def test_each_load_shows_the_dashboard(lab: LabServer, browser: Browser, queue: Queue, pictures: Path) -> None:
    """In two browsers at once, every load shows all jobs, and selects and follows only what was pressed there."""
    queue.enqueue_many([{"command": f"echo output of {each}", "id": each} for each in ("one", "two")])
    with queue.start_workers(1, drain=True):
        queue.wait(timeout=60)
    sources = map(nbformat.v4.new_code_cell, cells(queue))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[*sources], metadata=kernel), lab.root / "voila.ipynb")
    pages = {each: browser.new_context(viewport=WINDOW).new_page() for each in ("one", "two")}  # type: ignore[arg-type]
    expect.set_options(timeout=PAGE_TIMEOUT_MS)
    for _ in range(LOADS):
        for page in pages.values():
            page.set_default_timeout(PAGE_TIMEOUT_MS)
            page.goto(f"{lab.url}voila/render/voila.ipynb?token={lab.token}", wait_until="commit")
        shown = {job_id: DashboardPage.wait_for(Notebook(page, lab, pictures)) for job_id, page in pages.items()}
        for job_id, dashboard in shown.items():
            expect(dashboard.row()).to_have_count(2)
            dashboard.row(job_id).click()
            expect(dashboard.log).to_contain_text(f"output of {job_id}")
        for job_id, dashboard in shown.items():
            selected = dashboard.table.locator("[aria-selected=true]")
            expect(selected).to_have_count(1)
            expect(selected).to_contain_text(job_id)
            expect(dashboard.root.locator(".qc-log-title")).to_have_text(f"Log of {job_id}")
