"""A batch in a real JupyterLab: one live card, whose buttons work also while a cell runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.lab import Notebook

SWEEP = """\
import pathlib, time
from queuectl_nb import report

def train(lr, seed):
    if lr > 1 and not pathlib.Path("batch-fixed").exists():
        raise ValueError(f"the loss is NaN at lr={lr}")
    if lr < 0:
        raise KeyError("no <b>such</b> model")
    if lr == 0.5:
        report(progress=0.4, loss=0.25, accuracy=0.91)
        while not pathlib.Path("batch-go-on").exists():
            time.sleep(0.05)

rates = [0.1] * 30 + [2] * 6 + [-1] + [0.5] * 20
q.task(train, tags=["sweep"], max_retries=1).map(rates, range(len(rates)))"""
CELLS = [
    "%load_ext queuectl_nb\nfrom queuectl_nb import Queue\nq = Queue()\npool = q.start_workers(7)",
    SWEEP,
    "import pathlib, time\nwhile not pathlib.Path('batch-busy-no-more').exists():\n    time.sleep(0.05)",
    "q.batch(tag='sweep')",
]
RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
RUN_CELL = """async (number) => {
    window.jupyterapp.shell.currentWidget.content.activeCellIndex = number;
    await window.jupyterapp.commands.execute('notebook:run-cell');
}"""


@pytest.mark.pictures
def test_batch_card(notebook: Callable[..., Notebook]) -> None:
    """One card has bar, running jobs and reasons; Retry of a reason and Cancel act during a cell, in both themes.

    After a restart of the kernel, the old card says what to do, and a new one finds the batch again.
    """
    found = notebook(CELLS)
    outputs = found.page.locator(".jp-OutputArea-output")
    place = outputs.filter(has_text="Batch of 57 jobs").first
    card = place.locator(".queuectl")
    found.start_all()
    expect(card.locator(".qc-legend")).to_contain_text("37 of 57 finished")
    expect(card.locator(".qc-jobs code")).to_have_count(5)
    expect(card.locator(".qc-jobs .qc-status").first).to_have_text("loss 0.25, accuracy 0.91")
    expect(card.locator(".qc-more")).to_have_text("and 2 more running")
    expect(card.locator(".qc-reasons .qc-count")).to_have_text(["6", "1"])
    expect(outputs.locator(".queuectl")).to_have_count(1)
    for scheme in ("dark", "light"):
        found.theme(scheme)
        place.scroll_into_view_if_needed()
        found.picture(f"batch-{scheme}", place)
    found.page.set_viewport_size({"width": 460, "height": WINDOW["height"]})
    for part in (".qc-reasons .qc-message", ".qc-jobs .qc-command"):  # a narrow card still says what failed and runs
        expect(card.locator(part).first).to_be_visible()
        assert not card.locator(part).evaluate_all("all => all.some((part) => part.scrollWidth > part.clientWidth)")
    found.page.set_viewport_size(WINDOW)  # type: ignore[arg-type]
    (found.server.root / "batch-fixed").touch()
    card.locator(".qc-reasons button").first.click()
    expect(card.locator(".qc-head")).to_contain_text("6 retried")
    card.get_by_role("button", name="Cancel").click()
    expect(card.locator(".qc-head")).to_contain_text("cancelled")
    expect(card.locator(".qc-legend")).to_contain_text("57 of 57 finished")
    (found.server.root / "batch-go-on").touch()
    card.locator(".qc-head button").first.press("Enter")
    expect(card.locator(".qc-legend")).to_contain_text("56 completed")
    expect(card.locator(".qc-legend")).to_contain_text("1 dead")
    (found.server.root / "batch-busy-no-more").touch()
    found.done()
    assert found.errors() == []
    expect(outputs.filter(has_text="Batch of 57 jobs")).to_have_count(2)
    for scheme in ("dark", "light"):
        found.theme(scheme)
        found.picture(f"batch-finished-{scheme}", place)
    found.page.evaluate(RESTART)
    found.ready()
    card.locator(".qc-head button").first.click()
    expect(card.locator(".qc-head")).to_contain_text("Run the cell again to use its buttons.")
    for number in (0, 3):
        found.page.evaluate(RUN_CELL, number)
    again = outputs.filter(has_text="Batch of 57 jobs").last
    again.locator(".qc-head button").first.click()
    expect(again.locator(".qc-head")).to_contain_text("1 retried")
    expect(again.locator(".qc-legend")).to_contain_text("57 of 57 finished")
    assert found.errors() == []
