"""The page inside JupyterLab, below a hub's prefix: launcher, palette, tab, and theme."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from playwright.sync_api import expect

from queuectl_nb.client import Queue
from tests.browser.dashboard_page import DashboardPage, cells
from tests.browser.lab import PAGE_TIMEOUT_MS, THEMES, LabServer, Notebook, extensions_of_checkout
from tests.browser.screenshots import busy_queue
from tests.engine.harness import WorkerHarness, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import FrameLocator, Page

PREFIX = "/user/ada/"


@pytest.fixture(scope="module")
def hub(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """Return a JupyterLab started as a hub does, with the extensions of this checkout."""
    home = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in extensions_of_checkout(home / "extensions").items():
            patch.setenv(name, value)
        server = LabServer(home, f"--ServerApp.base_url={PREFIX}")
    yield server
    server.close()


@pytest.fixture
def harness(hub: LabServer) -> Iterator[WorkerHarness]:
    """Return a harness of the server's queue; its pools end with the test."""
    queue = Queue(hub.queue)
    found = WorkerHarness(queue)
    yield found
    found.close()
    queue.close()


def queue_page(page: Page) -> FrameLocator:
    """Return the content of the tab once it is live."""
    frame = page.frame_locator("#queuectl-page iframe")
    frame.locator("#live[data-kind=live]").wait_for()
    return frame


def saved_layout(hub: LabServer) -> str:
    """Return the layout that JupyterLab has saved after a change."""
    with urlopen(f"{hub.url}lab/api/workspaces/default?token={hub.token}", timeout=30) as answer:
        text: str = answer.read().decode()
        return text


@pytest.mark.pictures
def test_launcher_and_palette(page: Page, hub: LabServer, harness: WorkerHarness, pictures: Path) -> None:
    """The launcher opens the page in one tab; it is live, uses Jupyter's colours, and survives a reload."""
    browser_errors: list[str] = []
    page.on("pageerror", lambda error: browser_errors.append(str(error)))
    page.set_default_timeout(PAGE_TIMEOUT_MS)
    queue = harness.queue
    busy_queue(harness)
    queue.enqueue("echo hello", id="from-the-notebook", delay=600)
    assert hub.url.endswith(PREFIX)
    page.emulate_media(color_scheme="light")
    page.goto(f"{hub.url}lab?token={hub.token}&reset")
    page.locator(".jp-LauncherCard", has_text="queuectl").click()
    frame = queue_page(page)
    frame.locator("#jobs-table .qc-row", has_text="from-the-notebook").wait_for()
    queue.cancel("from-the-notebook")
    frame.locator("#tiles li:has(.qc-is-cancelled) .qp-number", has_text="2").wait_for()
    page.screenshot(path=pictures / "page-in-lab.png", animations="disabled")
    change = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
    page.evaluate(change, THEMES["dark"])
    frame.locator("html[data-theme=dark]").wait_for(state="attached")
    page.evaluate("() => window.jupyterapp.commands.execute('queuectl:open').then(() => null)")
    assert page.locator("#queuectl-page").count() == 1
    labels = page.evaluate("() => window.jupyterapp.commands.label('queuectl:open', { isPalette: true })")
    assert labels == "Open the job queue (queuectl)"
    until(lambda: "queuectl:queuectl" in saved_layout(hub))
    page.goto(f"{hub.url}lab")
    queue_page(page)
    assert browser_errors == []


def test_saved_dashboard(page: Page, hub: LabServer, harness: WorkerHarness, pictures: Path) -> None:
    """After a reload a dashboard is live again; once its kernel is gone, its place has the saved table."""
    harness.queue.enqueue("echo saved", id="saved")
    notebook = Notebook.open(page, hub, cells(harness.queue), pictures)
    notebook.run_all()
    DashboardPage.wait_for(notebook)
    notebook.reload()
    DashboardPage.wait_for(notebook).row("saved").wait_for()
    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    notebook.page.reload()
    notebook.ready()
    output = page.locator(".jp-OutputArea-output")
    expect(output.locator("table")).to_contain_text("echo saved")
    expect(output.locator(".qc-state").first).to_have_css("border-radius", "12px")
    notebook.picture("saved-dashboard", output)
    assert "Error displaying widget" not in output.inner_text()
    notebook.run_all()
    DashboardPage.wait_for(notebook).row("saved").wait_for()


def test_card_without_the_style_sheet(page: Page, hub: LabServer, harness: WorkerHarness, pictures: Path) -> None:
    """A card keeps its colours when the cell whose output carries the style sheet is deleted."""
    harness.queue.enqueue("true", id="styled")
    show = "from queuectl_nb import Queue\nqueue = Queue()\nqueue.job('styled')"
    notebook = Notebook.open(page, hub, [show, "%load_ext queuectl_nb\n%queuectl log styled"], pictures)
    notebook.run_all()
    assert page.locator(".jp-OutputArea-output style").count() == 1
    notebook.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")
    notebook.command("notebook:delete-cell")
    expect(page.locator(".jp-OutputArea-output style")).to_have_count(0)
    expect(page.locator(".queuectl .qc-state")).to_have_css("border-radius", "12px")


def test_cards_that_are_no_longer_updated(page: Page, hub: LabServer, harness: WorkerHarness, pictures: Path) -> None:
    """Cards are updated again after a reload; after a restart of the kernel, unfinished ones say that they are not."""
    for name in ("waits", "done"):
        harness.queue.enqueue("true", id=name)
    harness.queue.cancel("done")
    start = "from queuectl_nb import Queue\npool = Queue().start_workers(queues=['other'])\npool"
    show = "from queuectl_nb import Queue\ndisplay(Queue().job('waits'), Queue().job('done'))"
    notebook = Notebook.open(page, hub, [start, show], pictures)

    def wait_for_notes(*, pool: bool, waits: bool, done: bool) -> None:
        page.wait_for_function(
            "(expected) => String([...document.querySelectorAll('.queuectl .qc-head')].map((head) => "
            "getComputedStyle(head, '::after').content === '\"no longer updated\"')) === String(expected)",
            arg=[pool, waits, done],
        )

    notebook.run_all()
    wait_for_notes(pool=False, waits=False, done=False)
    notebook.reload()
    wait_for_notes(pool=False, waits=False, done=False)
    harness.queue.retry("done")
    expect(page.locator(".queuectl").last).to_contain_text("pending")
    harness.queue.cancel("done")
    expect(page.locator(".queuectl").last).to_contain_text("cancelled")
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1; }")
    notebook.command("notebook:run-cell")
    wait_for_notes(pool=False, waits=False, done=False)
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    wait_for_notes(pool=True, waits=True, done=False)
