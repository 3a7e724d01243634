"""The dashboard in JupyterLab: buttons, sorting, filters, logs, reload, restart, and running cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from queuectl_nb.client.workers import list_workers
from tests.browser.chromium import WINDOW
from tests.browser.dashboard_page import DashboardPage, cells
from tests.browser.lab import PAGE_TIMEOUT_MS, Notebook
from tests.client.cells import enqueue_cell
from tests.engine import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser

    from queuectl_nb.client import Queue

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition with a timeout for a busy machine."""
    harness.until(condition, PAGE_TIMEOUT_MS / 1000)


def test_dashboard_notebook(notebook: Callable[..., Notebook]) -> None:
    """The dashboard of notebook 03 is live while cells run and after a reload; without its kernel it shows an error."""
    page = notebook(NOTEBOOKS / "03-live-dashboard.ipynb")
    page.page.set_viewport_size({"width": 1180, "height": 1240})
    page.start_all()
    dashboard = DashboardPage.wait_for(page)
    dashboard.row("completed").nth(3).wait_for()
    dashboard.row("processing").or_(dashboard.row("completed")).first.click()
    expect(dashboard.log).to_contain_text("epoch 1/4")
    page.theme("light")
    page.picture("dashboard-working-light", dashboard.root)
    page.done()
    assert page.errors() == []
    dashboard.root.scroll_into_view_if_needed()
    expect(dashboard.state_button("processing")).to_have_text("processing 0")
    dashboard.state_button("dead").click()
    dashboard.row("dead").first.click()
    expect(dashboard.log).to_contain_text("loss diverged")
    page.theme("dark")
    page.picture("dashboard-dead-dark", dashboard.root)

    page.reload()
    dashboard = DashboardPage.wait_for(page)
    dashboard.state_button("all").click()
    dashboard.button("Pause").click()
    dashboard.expect_message("All queues are paused")
    dashboard.root.locator(".qc-field-command input").fill("echo after the reload")
    dashboard.button("Enqueue").click()
    dashboard.row("echo after the reload").wait_for()

    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    banner = dashboard.root.get_by_role("alert")
    expect(banner).to_contain_text("The kernel of this dashboard is gone")
    for name in ("Retry", "Pause", "Enqueue", "Start workers", "Stop"):
        expect(dashboard.button(name)).to_be_disabled()
    page.picture("dashboard-gone-dark", dashboard.root)


def test_every_button(notebook: Callable[..., Notebook], queue: Queue) -> None:  # noqa: PLR0915 - there are many
    """Each button and field has its effect on the queue."""
    queue.set("backoff_base", 1)
    queue.enqueue_many([{"command": f"echo out {n}; echo err {n} >&2", "id": f"job-{n}"} for n in range(4)])
    queue.enqueue("exit 3", id="fails", max_retries=1, queue="gpu", priority=5)
    page = notebook(cells(queue))
    page.page.set_viewport_size({"width": 1180, "height": 1240})
    page.run_all()
    dashboard = DashboardPage.wait_for(page)
    expect(dashboard.state_button("all")).to_have_text("all 5")

    dashboard.button("Pause").click()
    until(lambda: queue.store.reader.paused_queues() == ["*"])
    dashboard.button("Resume").click()
    until(lambda: queue.store.reader.paused_queues() == [])

    dashboard.root.get_by_label("Number of workers").fill("2")
    dashboard.button("Start workers").click()
    expect(dashboard.state_button("completed")).to_have_text("completed 4")
    expect(dashboard.state_button("dead")).to_have_text("dead 1")
    expect(dashboard.root.locator(".qc-worker-table tr")).to_have_count(2)
    expect(dashboard.row("fails")).to_contain_text("dead")  # the counts may be ahead of the rows,
    expect(dashboard.row("completed")).to_have_count(4)  # which move while jobs finish

    dashboard.root.locator("summary", has_text="1 reason why 1 job failed").click()
    dashboard.root.get_by_role("button", name="exit code 3").click()
    expect(dashboard.row()).to_have_count(1)
    expect(dashboard.button("Retry all…")).to_be_enabled()
    page.theme("light")
    page.picture("dashboard-reasons-light", dashboard.root)
    page.theme("dark")
    page.picture("dashboard-reasons-dark", dashboard.root)
    dashboard.button("Show all jobs").click()
    expect(dashboard.row()).to_have_count(5)
    dashboard.row("fails").click()
    expect(dashboard.root.locator(".qc-log-title")).to_have_text("Log of fails")
    expect(dashboard.button("Cancel")).to_be_disabled()
    dashboard.button("Retry").click()
    dashboard.expect_message("Job fails queued again.")
    until(lambda: len(queue.job("fails").history) == 2)
    expect(dashboard.root.get_by_label("Attempt", exact=True)).to_contain_text("latest of 2")
    dashboard.root.get_by_label("Attempt", exact=True).select_option("1")
    expect(dashboard.log).to_contain_text("Attempt 1: exit code 3")

    dashboard.root.get_by_label("Workers to stop").select_option("worker-1")
    dashboard.button("Stop").click()
    until(lambda: [each["name"] for each in list_workers(queue.store)] == ["worker-2"])
    dashboard.root.get_by_label("Workers to stop").select_option("all workers")
    dashboard.button("Stop").click()
    until(lambda: list_workers(queue.store) == [])

    dashboard.row("job-2").click()
    expect(dashboard.log).to_contain_text("out 2")
    expect(dashboard.log).to_contain_text("err 2")
    dashboard.root.get_by_label("Stream").select_option("stderr")
    expect(dashboard.log).not_to_contain_text("out 2")
    dashboard.root.get_by_label("Stream").select_option("")

    dashboard.root.locator(".qc-field-command input").fill("sleep 60")
    dashboard.button("Options").click()
    dashboard.root.locator(".qc-field-priority input").fill("much")
    dashboard.button("Enqueue").click()
    expect(dashboard.root.locator(".qc-form-message")).to_contain_text("priority")
    dashboard.root.locator(".qc-field-priority input").fill("9")
    dashboard.root.locator(".qc-field-id input").fill("typed")
    dashboard.root.locator(".qc-field-id input").press("Enter")
    dashboard.expect_first("typed")
    assert queue.job("typed").priority == 9
    dashboard.row("typed").click()
    dashboard.button("Cancel").click()
    dashboard.expect_message("Job typed cancelled.")
    expect(dashboard.row("typed")).to_contain_text("cancelled")
    expect(dashboard.button("Cancel")).to_be_disabled()
    dashboard.button("Delete").click()
    page.theme("light")
    page.picture("dashboard-buttons-light", dashboard.root)
    dashboard.button("Really delete 1 job").click()
    dashboard.expect_message("Job typed deleted.")
    expect(dashboard.row("typed")).to_have_count(0)
    expect(dashboard.button("Delete")).to_be_disabled()

    page.page.evaluate("() => { window.jupyterapp.shell.currentWidget.sessionContext.shutdown(); }")
    expect(dashboard.root.get_by_role("alert")).to_contain_text("is gone")
    expect(dashboard.button("Enqueue")).to_be_disabled()


def test_layout(notebook: Callable[..., Notebook], queue: Queue) -> None:
    """At 1280 by 900 the whole dashboard is in view and commands are shown whole; it fits a narrow window."""
    command = "python train.py --learning-rate 0.1 --seed 17 --epochs 40"
    queue.enqueue_many([{"command": f"{command} {n}"} for n in range(20)])
    queue.enqueue("exit 3", id="fails", max_retries=1, queue="failing")
    queue.limit("failing", 2)
    with queue.start_workers(1, queues=["failing"]):
        queue.job("fails").wait()
    enqueue_cell(queue, "import time\ntime.sleep(1)", id="cell")
    page = notebook(cells(queue))
    page.page.set_viewport_size({"width": 1280, "height": 900})
    page.run_all()
    dashboard = DashboardPage.wait_for(page)
    visible = page.page.locator(".jp-WindowedPanel-outer").evaluate("(panel) => panel.clientHeight")
    expect(dashboard.row("cell")).to_contain_text("import time ↵ time.sleep(1)")
    expect(dashboard.root.locator("summary", has_text="1 reason why 1 job failed")).to_be_visible()
    page.picture("dashboard-1280")
    assert dashboard.root.evaluate("(root) => root.offsetHeight") <= visible
    fits = "(row) => [...row.children].every((cell) => cell.scrollWidth <= cell.clientWidth)"
    assert dashboard.row(command).first.evaluate(fits)
    for width in (1920, 480):
        page.page.set_viewport_size({"width": width, "height": 900})
        page.page.wait_for_function("() => document.querySelector('.qc-dash').offsetWidth < innerWidth")
        for part in (dashboard.root, dashboard.table):
            assert part.evaluate("(node) => node.scrollWidth <= node.clientWidth")
        expect(dashboard.row(command).first.locator(":nth-child(4)")).to_be_visible()
        whole = "(nodes) => nodes.filter((node) => node.scrollWidth > node.clientWidth).map((node) => node.textContent)"
        assert dashboard.root.locator("button:visible, .qc-kind-state").evaluate_all(whole) == []
        bottoms = (
            "(nodes) => nodes.map((node) => [node.getBoundingClientRect().top, node.getBoundingClientRect().bottom])"
        )
        axis, legend = dashboard.root.locator(".qc-chart-axis, .qc-chart-legend").evaluate_all(bottoms)
        assert axis[1] - axis[0] >= 15
        assert axis[1] <= legend[0]
    expect(dashboard.table.get_by_role("columnheader", name="Queue")).to_be_hidden()


def test_sorting_filters_and_scrolling(notebook: Callable[..., Notebook], queue: Queue) -> None:
    """Headers sort; state buttons, search and queue filter; the End key reaches the end of a long table."""
    queue.enqueue_many(
        [{"command": f"echo {n}", "id": f"n{n:05}", "queue": "gpu" if n % 4 else "cpu"} for n in range(20_000)]
    )
    queue.cancel("n00007")
    page = notebook(cells(queue))
    page.run_all()
    dashboard = DashboardPage.wait_for(page)
    dashboard.expect_first("n00007", "n19999", "n19998")
    header = dashboard.table.get_by_role("columnheader", name="ID")
    header.get_by_role("button").click()
    dashboard.expect_first("n00000", "n00001")
    expect(header).to_have_attribute("aria-sort", "ascending")
    header.get_by_role("button").click()
    dashboard.expect_first("n19999")
    expect(header).to_have_attribute("aria-sort", "descending")
    header.get_by_role("button").click()
    dashboard.expect_first("n00007")
    dashboard.root.get_by_label("Sort by").select_option("command")
    dashboard.expect_first("n00000", "n00001", "n00010")
    dashboard.root.get_by_label("Sort by").select_option("last updated")

    search = dashboard.root.get_by_label("Search")
    search.fill("N0123")
    expect(dashboard.root.locator(".qc-status")).to_have_text("10 jobs")
    search.fill("no such job")
    expect(dashboard.table).to_contain_text("No job matches the filter.")
    search.fill("")
    dashboard.root.get_by_label("Queue", exact=True).first.select_option("cpu")
    expect(dashboard.root.locator(".qc-status")).to_have_text("5,000 jobs")
    dashboard.root.get_by_label("Queue", exact=True).first.select_option("all queues")
    dashboard.state_button("cancelled").click()
    expect(dashboard.state_button("cancelled")).to_have_attribute("aria-pressed", "true")
    expect(dashboard.state_button("all")).to_have_attribute("aria-pressed", "false")
    expect(dashboard.root.locator(".qc-status")).to_have_text("1 job")
    dashboard.state_button("all").click()
    dashboard.expect_first("n00007", "n19999")  # the first row alone would also match the cancelled jobs

    dashboard.table.focus()
    page.page.keyboard.press("End")
    dashboard.row("n00000").wait_for()
    expect(dashboard.table).to_have_attribute("aria-rowcount", "20001")
    queue.enqueue("true", id="new")
    expect(dashboard.state_button("all")).to_have_text("all 20,001")
    expect(dashboard.root.locator(".qc-status")).to_contain_text("order as of")
    dashboard.root.get_by_role("button", name="Back to the latest").click()
    dashboard.expect_first("new", "n00007")
    dashboard.table.hover()
    page.page.mouse.wheel(0, 28 * 1000)
    dashboard.row("n19000").wait_for()


def test_live_while_a_cell_runs(notebook: Callable[..., Notebook], queue: Queue, tmp_path: Path) -> None:
    """While a cell blocks the kernel and captures output, the dashboard updates, and logs and buttons work."""
    end = tmp_path / "end"
    queue.enqueue("true", id="first")
    busy = f"%%capture\nimport time, pathlib\nwhile not pathlib.Path({str(end)!r}).exists():\n    time.sleep(0.05)"
    page = notebook(cells(queue, busy))
    page.start_all()
    dashboard = DashboardPage.wait_for(page)
    queue.enqueue(f"for n in 1 2 3; do echo line $n; done; while [ ! -e {end} ]; do sleep 0.1; done", id="talks")
    dashboard.expect_first("talks")
    dashboard.button("Pause").click()
    until(lambda: queue.store.reader.paused_queues() == ["*"])
    queue.resume()
    with queue.start_workers(1):
        expect(dashboard.row("talks")).to_contain_text("processing")
        dashboard.row("talks").click()
        expect(dashboard.log).to_contain_text("line 3")
        end.touch()
        expect(dashboard.row("talks")).to_contain_text("completed")
    page.done()
    assert page.errors() == []


def test_two_browsers(notebook: Callable[..., Notebook], browser: Browser, queue: Queue) -> None:
    """Two browsers that show a notebook have a selection and a log each, and buttons act on their own selection."""
    queue.enqueue_many([{"command": f"echo output of {each}", "id": each} for each in ("one", "two")])
    with queue.start_workers(1, drain=True):
        queue.wait(timeout=60)
    first = notebook(cells(queue), name="shared.ipynb")
    first.run_all()
    first.command("docmanager:save")
    page = browser.new_context(viewport=WINDOW, reduced_motion="reduce").new_page()  # type: ignore[arg-type]
    page.set_default_timeout(PAGE_TIMEOUT_MS)
    page.goto(f"{first.server.url}doc/tree/shared.ipynb?token={first.server.token}")
    second = Notebook(page, first.server, first.pictures)
    second.ready()
    dashboards = {"one": DashboardPage.wait_for(first), "two": DashboardPage.wait_for(second)}
    for job_id, dashboard in dashboards.items():
        dashboard.row(job_id).first.click()
        expect(dashboard.log).to_contain_text(f"output of {job_id}")
    for job_id, dashboard in dashboards.items():
        expect(dashboard.table.locator("[aria-selected=true]")).to_have_count(1)
        expect(dashboard.table.locator("[aria-selected=true]")).to_contain_text(job_id)
        expect(dashboard.root.locator(".qc-log-title")).to_have_text(f"Log of {job_id}")
    dashboards["one"].button("Retry").click()
    until(lambda: queue.job("one").state == "pending")
    assert queue.job("two").state == "completed"
