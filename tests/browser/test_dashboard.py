"""The dashboard in a real JupyterLab: every button, sorting, filters, logs, reload, restart, and a cell that runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from queuectl_nb.queue import Queue
from tests.browser.board import Board
from tests.browser.lab import PATIENCE
from tests.engine import bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.lab import LabServer, Notebook

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
EVIL = "echo '<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>\u202egpj\x1b]0;title\x07'"

pytestmark = pytest.mark.usefixtures("_patient")


@pytest.fixture
def _patient() -> None:
    """Let expectations wait as long as a page may take on a busy machine."""
    expect.set_options(timeout=PATIENCE)


@pytest.fixture
def fresh(lab: LabServer, tmp_path: Path) -> Queue:
    """Return a queue of this test's own."""
    del lab
    return Queue(tmp_path / "queue.db")


def until(condition: Callable[[], object]) -> None:
    """Wait until the queue is as it should be, as long as a page may take on a busy machine."""
    bench.until(condition, PATIENCE / 1000)


def cells(queue: Queue, *more: str) -> list[str]:
    """Return the cells that show a queue's dashboard."""
    return [f"%load_ext queuectl_nb\nboard = %queuectl dashboard --db {queue.path}\nboard", *more]


def test_the_notebook_of_the_dashboard(notebook: Callable[..., Notebook]) -> None:
    """Notebook 03 runs; its dashboard is live meanwhile, and again after a reload; without its kernel it says so."""
    page = notebook(NOTEBOOKS / "03-live-dashboard.ipynb")
    page.page.set_viewport_size({"width": 1180, "height": 1240})
    page.start_all()
    board = Board.seen(page)
    board.row("completed").nth(3).wait_for()
    board.row("processing").or_(board.row("completed")).first.click()
    expect(board.log).to_contain_text("epoch 1/4")
    page.theme("light")
    page.picture("dashboard-working-light", board.root)
    page.done()
    assert page.errors() == []
    board.root.scroll_into_view_if_needed()
    expect(board.chip("processing")).to_have_text("processing 0")
    board.chip("dead").click()
    board.row("dead").first.click()
    expect(board.log).to_contain_text("loss diverged")
    page.theme("dark")
    page.picture("dashboard-dead-dark", board.root)

    page.reload()
    board = Board.seen(page)
    board.chip("all").click()
    board.button("Pause").click()
    board.says("Everything is paused")
    board.root.locator(".qc-field-command input").fill("echo after the reload")
    board.button("Enqueue").click()
    board.row("echo after the reload").wait_for()

    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    banner = board.root.get_by_role("alert")
    expect(banner).to_contain_text("The kernel of this dashboard is gone")
    for name in ("Retry", "Pause", "Enqueue", "Add workers", "Stop"):
        expect(board.button(name)).to_be_disabled()
    page.picture("dashboard-gone-dark", board.root)


def test_every_button(notebook: Callable[..., Notebook], fresh: Queue) -> None:  # noqa: PLR0915 - there are many
    """Each button and field of the dashboard does what stands on it, and the queue shows that it did."""
    fresh.set("backoff_base", 1)
    fresh.enqueue_many([{"command": f"echo out {n}; echo err {n} >&2", "id": f"job-{n}"} for n in range(4)])
    fresh.enqueue("exit 3", id="fails", max_retries=1, queue="gpu", priority=5)
    page = notebook(cells(fresh))
    page.page.set_viewport_size({"width": 1180, "height": 1240})
    page.run_all()
    board = Board.seen(page)
    expect(board.chip("all")).to_have_text("all 5")

    board.button("Pause").click()
    until(lambda: fresh.paused() == ["*"])
    board.button("Resume").click()
    until(lambda: fresh.paused() == [])

    board.root.get_by_label("Workers to add").fill("2")
    board.button("Add workers").click()
    expect(board.chip("completed")).to_have_text("completed 4")
    expect(board.chip("dead")).to_have_text("dead 1")
    expect(board.root.locator(".qc-worker-table tr")).to_have_count(2)

    board.row("fails").click()
    expect(board.root.locator(".qc-log-title")).to_have_text("Log of fails")
    board.button("Retry").click()
    board.says("Job fails queued again.")
    until(lambda: len(fresh.job("fails").history) == 2)
    expect(board.root.get_by_label("Attempt", exact=True)).to_contain_text("newest of 2")
    board.root.get_by_label("Attempt", exact=True).select_option("1")
    expect(board.log).to_contain_text("Attempt 1: failed.")

    board.root.get_by_label("Workers to stop").select_option("worker-1")
    board.button("Stop").click()
    until(lambda: [each["name"] for each in fresh.worker_list()] == ["worker-2"])
    board.root.get_by_label("Workers to stop").select_option("all workers")
    board.button("Stop").click()
    until(lambda: fresh.worker_list() == [])

    board.row("job-2").click()
    expect(board.log).to_contain_text("out 2")
    expect(board.log).to_contain_text("err 2")
    board.root.get_by_label("Stream").select_option("stderr")
    expect(board.log).not_to_contain_text("out 2")
    board.root.get_by_label("Stream").select_option("")

    board.root.locator(".qc-field-command input").fill("sleep 60")
    board.root.locator(".qc-field-priority input").fill("much")
    board.button("Enqueue").click()
    expect(board.root.locator(".qc-form-said")).to_contain_text("priority")
    board.root.locator(".qc-field-priority input").fill("9")
    board.root.locator(".qc-field-id input").fill("typed")
    board.root.locator(".qc-field-id input").press("Enter")
    board.begins_with("typed")
    assert fresh.job("typed").priority == 9
    board.row("typed").click()
    board.button("Cancel").click()
    board.says("Job typed cancelled.")
    expect(board.row("typed")).to_contain_text("cancelled")
    page.theme("light")
    page.picture("dashboard-buttons-light", board.root)

    page.page.evaluate("() => { window.jupyterapp.shell.currentWidget.sessionContext.shutdown(); }")
    expect(board.root.get_by_role("alert")).to_contain_text("is gone")
    expect(board.button("Enqueue")).to_be_disabled()


def test_sorting_filters_and_a_long_way_down(notebook: Callable[..., Notebook], fresh: Queue) -> None:
    """Headers sort up, down and back; chips, search and queue filter; the far end of a long table is a key away."""
    fresh.enqueue_many(
        [{"command": f"echo {n}", "id": f"n{n:05}", "queue": "gpu" if n % 4 else "cpu"} for n in range(20_000)]
    )
    fresh.cancel("n00007")
    page = notebook(cells(fresh))
    page.run_all()
    board = Board.seen(page)
    board.begins_with("n00007", "n19999", "n19998")
    header = board.table.get_by_role("columnheader", name="ID")
    header.get_by_role("button").click()
    board.begins_with("n00000", "n00001")
    expect(header).to_have_attribute("aria-sort", "ascending")
    header.get_by_role("button").click()
    board.begins_with("n19999")
    expect(header).to_have_attribute("aria-sort", "descending")
    header.get_by_role("button").click()
    board.begins_with("n00007")
    board.root.get_by_label("Sort by").select_option("command")
    board.begins_with("n00000", "n00001", "n00010")
    board.root.get_by_label("Sort by").select_option("last changed")

    search = board.root.get_by_label("Search")
    search.fill("N0123")
    expect(board.root.locator(".qc-status")).to_have_text("10 jobs")
    search.fill("no such job")
    expect(board.table).to_contain_text("No job is like that.")
    search.fill("")
    board.root.get_by_label("Queue", exact=True).first.select_option("cpu")
    expect(board.root.locator(".qc-status")).to_have_text("5,000 jobs")
    board.root.get_by_label("Queue", exact=True).first.select_option("every queue")
    board.chip("cancelled").click()
    expect(board.chip("cancelled")).to_have_attribute("aria-pressed", "true")
    expect(board.chip("all")).to_have_attribute("aria-pressed", "false")
    expect(board.root.locator(".qc-status")).to_have_text("1 job")
    board.chip("all").click()
    board.begins_with("n00007", "n19999")  # the first alone begins the cancelled ones as well

    board.table.focus()
    page.page.keyboard.press("End")
    board.row("n00000").wait_for()
    expect(board.table).to_have_attribute("aria-rowcount", "20001")
    fresh.enqueue("true", id="new")
    expect(board.chip("all")).to_have_text("all 20,001")
    expect(board.root.locator(".qc-status")).to_contain_text("in the order of")
    board.root.get_by_role("button", name="Back to the newest").click()
    board.begins_with("new", "n00007")
    board.table.hover()
    page.page.mouse.wheel(0, 28 * 1000)
    board.row("n19000").wait_for()


def test_alive_while_a_cell_runs(notebook: Callable[..., Notebook], fresh: Queue, tmp_path: Path) -> None:
    """During a cell that holds the kernel, what others do is seen, logs are followed, and buttons work."""
    end = tmp_path / "end"
    fresh.enqueue("true", id="first")
    busy = f"import time, pathlib\nwhile not pathlib.Path({str(end)!r}).exists():\n    time.sleep(0.05)"
    page = notebook(cells(fresh, busy))
    page.start_all()
    board = Board.seen(page)
    fresh.enqueue(f"for n in 1 2 3; do echo line $n; done; while [ ! -e {end} ]; do sleep 0.1; done", id="talks")
    board.begins_with("talks")
    board.button("Pause").click()
    until(lambda: fresh.paused() == ["*"])
    fresh.resume()
    with fresh.start_workers(1):
        board.row("talks").click()
        expect(board.log).to_contain_text("line 3")
        expect(board.row("talks")).to_contain_text("processing")
        end.touch()
        expect(board.row("talks")).to_contain_text("completed")
    page.done()
    assert page.errors() == []


def test_by_keyboard_alone(notebook: Callable[..., Notebook], fresh: Queue) -> None:
    """Everything can be reached and done with the keyboard; what has the focus is seen to have it."""
    fresh.enqueue_many([{"command": f"echo {n}", "id": f"k{n}"} for n in range(30)])
    page = notebook(cells(fresh))
    page.run_all()
    board = Board.seen(page)
    keyboard = page.page.keyboard
    board.chip("all").focus()
    seen = []
    while len(seen) < 60 and (not seen or "Enqueue" not in seen[-1]):
        name, outlined = page.page.evaluate(
            "() => { const it = document.activeElement; const style = getComputedStyle(it);"
            " return [it.getAttribute('aria-label') || it.textContent.trim().slice(0, 30) || it.placeholder || it.type,"
            " style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]; }"
        )
        seen.append(name)
        assert outlined, f"{name} does not show that it has the focus"
        keyboard.press("Tab")
    order = [next((at for at, each in enumerate(seen) if part in each), None) for part in (
        "all", "blocked", "Add workers", "Search", "Pause", "Jobs;", "ID", "Attempt", "Log of", "python", "Enqueue"
    )]  # fmt: skip
    assert None not in order, seen
    assert order == sorted(order), seen  # type: ignore[type-var]

    board.table.focus()
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    keyboard.press("Shift+ArrowDown")
    expect(board.table.locator("[aria-selected='true']")).to_have_count(2)
    keyboard.press("ArrowUp")
    keyboard.press("Control+ArrowDown")
    keyboard.press("Space")
    expect(board.table.locator("[aria-selected='true']")).to_have_count(2)
    expect(board.button("Cancel 2")).to_be_enabled()
    keyboard.press("Escape")
    expect(board.button("Cancel")).to_be_disabled()
    keyboard.press("End")
    board.row("k0").wait_for()
    keyboard.press("Enter")
    expect(board.log).to_be_focused()
    active = board.table.get_attribute("aria-activedescendant")
    assert active is not None
    expect(page.page.locator(f"#{active}")).to_contain_text("k0")
    assert page.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length") == 1


def test_how_it_looks(notebook: Callable[..., Notebook], fresh: Queue) -> None:
    """Markup, escapes and marks that turn the writing, in commands and logs, are shown and do nothing.

    As the browser paints it, every text stands out 4.5 to 1, and what can be clicked is 24 pixels large.
    """
    fresh.enqueue(EVIL, id="evil")
    with fresh.start_workers(1, drain=True):
        fresh.wait(timeout=60)
    fresh.enqueue("true", id="a")
    fresh.enqueue("true", id="other")
    fresh.cancel("other")
    page = notebook(cells(fresh))
    page.run_all()
    board = Board.seen(page)
    board.row("other").click()
    board.button("Retry").click()
    board.says("Job other queued again.")
    board.row("evil").click()
    expect(board.log).to_contain_text('<img src=x onerror="window.pwned=1">')
    expect(board.row("evil")).to_contain_text("<script>window.pwned=1</script>")
    assert "\u202e" not in board.root.inner_text()
    assert "title" not in board.log.inner_text()
    assert page.page.evaluate("() => window.pwned === undefined")
    assert board.root.locator("img, script").count() == 0
    look = (Path(__file__).parent / "look.js").read_text("utf-8")
    for scheme in ("light", "dark"):
        page.theme(scheme)
        found = board.root.evaluate(look)
        assert found["texts"] > 40
        assert (found["pale"], found["small"]) == ([], [])
