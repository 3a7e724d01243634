"""Accessibility of the dashboard, and hostile text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.dashboard_page import DashboardPage, cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.browser.lab import Notebook

EVIL = "echo '<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>\u202egpj\x1b]0;title\x07'"

FOCUS = (Path(__file__).parent / "focus.js").read_text("utf-8")


def test_keyboard(notebook: Callable[..., Notebook], queue: Queue) -> None:
    """Everything can be reached and used with the keyboard, and the focus ring is whole."""
    queue.enqueue_many([{"command": f"echo {n}", "id": f"k{n}"} for n in range(30)])
    page = notebook(cells(queue))
    page.run_all()
    dashboard = DashboardPage.wait_for(page)
    keyboard = page.page.keyboard
    dashboard.state_button("all").focus()
    seen: list[str] = []
    while len(seen) < 60 and (not seen or "Enqueue" not in seen[-1]):
        name, outlined, whole = page.page.evaluate(FOCUS)
        seen.append(name)
        assert outlined, f"{name} does not show that it has the focus"
        assert whole, f"a part of the focus ring of {name} is hidden"
        keyboard.press("Tab")
    order = [next((at for at, each in enumerate(seen) if each.startswith(part)), None) for part in (
        "all", "blocked", "Start workers", "Search", "Pause", "Jobs;", "ID", "Attempt", "Log of", "Options", "Enqueue"
    )]  # fmt: skip
    assert None not in order, seen
    assert order == sorted(order), seen  # type: ignore[type-var]

    dashboard.table.focus()
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    keyboard.press("Shift+ArrowDown")
    expect(dashboard.table.locator("[aria-selected='true']")).to_have_count(2)
    keyboard.press("ArrowUp")
    keyboard.press("Control+ArrowDown")
    keyboard.press("Space")
    expect(dashboard.table.locator("[aria-selected='true']")).to_have_count(2)
    expect(dashboard.button("Cancel 2")).to_be_enabled()
    expect(dashboard.button("Retry")).to_be_disabled()
    keyboard.press("Escape")
    expect(dashboard.button("Cancel")).to_be_disabled()
    keyboard.press("End")
    dashboard.row("k0").wait_for()
    keyboard.press("Enter")
    expect(dashboard.log).to_be_focused()
    active = dashboard.table.get_attribute("aria-activedescendant")
    assert active is not None
    expect(page.page.locator(f"#{active}")).to_contain_text("k0")
    assert page.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length") == 1


def test_contrast_and_hostile_text(notebook: Callable[..., Notebook], queue: Queue) -> None:
    """Markup, escapes and bidirectional controls in commands and logs are shown as text.

    As rendered, every text has a contrast of 4.5 to 1, and controls are at least 24 pixels large.
    """
    queue.enqueue(EVIL, id="evil")
    with queue.start_workers(1, drain=True):
        queue.wait(timeout=60)
    queue.enqueue("true", id="a")
    queue.enqueue("true", id="other")
    queue.cancel("other")
    page = notebook(cells(queue))
    page.run_all()
    dashboard = DashboardPage.wait_for(page)
    dashboard.row("other").click()
    dashboard.button("Retry").click()
    dashboard.expect_message("Job other queued again.")
    dashboard.row("evil").click()
    expect(dashboard.log).to_contain_text('<img src=x onerror="window.pwned=1">')
    expect(dashboard.row("evil")).to_contain_text("<script>window.pwned=1</script>")
    assert "\u202e" not in dashboard.root.inner_text()
    assert "title" not in dashboard.log.inner_text()
    assert page.page.evaluate("() => window.pwned === undefined")
    assert dashboard.root.locator("img, script").count() == 0
    contrast = (Path(__file__).parent / "contrast.js").read_text("utf-8")
    for scheme in ("light", "dark"):
        page.theme(scheme)
        found = dashboard.root.evaluate(contrast)
        assert found["texts"] > 40
        assert (found["lowContrast"], found["small"]) == ([], [])
