"""Function jobs in a real JupyterLab: their cards, tracebacks and detail view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.dashboard_page import DashboardPage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.lab import Notebook

TRAIN = """\
import pathlib, time

def train(rate, epochs=3):
    if rate <= 0:
        raise ValueError(f"the rate must be positive, not {rate}")
    for epoch in range(epochs):
        print(f"epoch {epoch + 1} of {epochs}")
    while not pathlib.Path("function-go-on").exists():
        time.sleep(0.05)
    return {"rate": rate, "loss": 0.25}

q.task(train, id="function-good").submit(0.1, epochs=5)"""
CELLS = [
    "%load_ext queuectl_nb\nfrom queuectl_nb import Queue\nq = Queue()\npool = q.start_workers(2)",
    TRAIN,
    "bad = q.task(train, id='function-bad', max_retries=1).submit(-1)\nbad",
    "%queuectl dashboard",
    "bad.result()",
]


def test_function_cards(notebook: Callable[..., Notebook]) -> None:
    """A card shows call, output, and value or error; so does the dashboard. A traceback names the cell."""
    found = notebook(CELLS)
    outputs = found.page.locator(".jp-OutputArea-output")
    good, bad = (outputs.filter(has_text=f"Job function-{name}").first for name in ("good", "bad"))
    found.start_all()
    expect(good.locator("pre.qc-output")).to_contain_text("epoch 5 of 5")
    expect(good.locator(".qc-state")).to_have_text("processing")
    expect(good.locator("pre.qc-call .qc-fg4")).to_have_text("train")
    expect(good.locator(".qc-fact").first).to_have_text("function")
    found.picture("function-running-light", good)
    expect(bad.locator(".qc-state")).to_have_text("dead")
    expect(bad.locator("pre.qc-error")).to_have_text("ValueError: the rate must be positive, not -1")
    expect(bad.locator("pre.qc-output")).to_contain_text('File "Cell In[2]", line 5, in train')
    dashboard = DashboardPage.wait_for(found)
    value = dashboard.root.locator(".qc-log-job .qc-value")
    dashboard.row("function-bad").click()
    expect(dashboard.root.locator(".qc-log-job .qc-call")).to_have_text("train(-1)")
    expect(value).to_have_text("ValueError: the rate must be positive, not -1")
    found.picture("function-dashboard-light", dashboard.root)
    (found.server.root / "function-go-on").touch()
    expect(good.locator("pre.qc-result")).to_have_text("{'rate': 0.1, 'loss': 0.25}")
    dashboard.row("function-good").click()
    expect(value).to_have_text("{'rate': 0.1, 'loss': 0.25}")
    found.done()
    trace = outputs.filter(has_text="RemoteTraceback").first
    for text in ("in job function-bad", 'File "Cell In[2]", line 5', "raise ValueError(f", "----> 1 bad.result()"):
        expect(trace).to_contain_text(text)
    for scheme in ("dark", "light"):
        found.theme(scheme)
        for name, place in (("good", good), ("bad", bad), ("trace", trace), ("dashboard", dashboard.root)):
            place.scroll_into_view_if_needed()
            found.picture(f"function-{name}-{scheme}", place)
