"""A live job in a real JupyterLab: it moves while another cell runs, and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator

    from tests.browser.lab import Notebook

TRAINING = """\
%%queuectl enqueue --python --id training
import pathlib, sys, time

for epoch in range(1, 101):
    print(f"\\r{epoch:3}%|{'█' * (epoch // 10):<10}| {epoch}/100 epochs", end="", file=sys.stderr, flush=True)
    time.sleep(0.02)
    while epoch == 45 and not pathlib.Path("go-on").exists():
        time.sleep(0.05)
"""
CELLS = [
    "%load_ext queuectl_nb\npool = %queuectl worker start",
    TRAINING,
    "import pathlib, time\nwhile not pathlib.Path('busy-no-more').exists():\n    time.sleep(0.05)",
    "%queuectl wait training",
]


@pytest.mark.pictures
def test_live_job(notebook: Callable[..., Notebook]) -> None:
    """The bar is at 45 % during a synchronous cell; after the wait the card says completed, in both themes."""
    found = notebook(CELLS)
    # the content is replaced with each change, its container stays
    place: Locator = found.page.locator(".jp-OutputArea-output").filter(has_text="Job training").first
    card = place.locator(".queuectl")
    found.start_all()
    card.locator("[aria-valuenow='45']").wait_for()
    assert card.locator(".qc-state").inner_text() == "processing"
    assert "45/100 epochs" in card.locator("pre.qc-output").inner_text()
    assert card.locator("summary").inner_text().startswith("Python cell: import pathlib, sys, time")
    assert not card.locator("pre.qc-command").is_visible()
    # JupyterLab's own rules must not win over the card's; expect() retries when a redraw replaces the element
    expect(card.locator("pre.qc-output")).not_to_have_css("padding-left", "0px")
    assert card.evaluate("(card) => getComputedStyle(card, '::after').content") == "none"  # the time of other pages
    expect(card.locator("pre.qc-output")).to_have_css("word-break", "normal")  # lines are broken between words
    for scheme in ("light", "dark"):
        found.theme(scheme)
        place.scroll_into_view_if_needed()
        found.picture(f"live-job-{scheme}", place)
    (found.server.root / "go-on").touch()
    (found.server.root / "busy-no-more").touch()
    card.locator(".qc-state", has_text="completed").wait_for()
    assert card.locator("[role='progressbar']").count() == 0
    assert found.errors() == []
