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
from queuectl_nb import report

def train(rate, epochs=3):
    if rate <= 0:
        raise ValueError(f"the rate must be positive, not {rate}")
    for epoch in range(epochs):
        print(f"epoch {epoch + 1} of {epochs}")
        report(progress=0.1 * epoch, loss=1 / (epoch + 1))
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
    expect(good.locator("[role='progressbar'][aria-valuenow='40']")).to_be_visible()
    expect(good.locator(".qc-metric")).to_have_text("loss 0.2")
    expect(good.locator(".qc-metric svg")).to_be_visible()
    found.picture("function-running-light", good)
    expect(bad.locator(".qc-state")).to_have_text("dead")
    expect(bad.locator("pre.qc-error")).to_have_text("ValueError: the rate must be positive, not -1")
    expect(bad.locator("pre.qc-output")).to_contain_text('File "Cell In[2]", line 6, in train')
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
    for text in ("in job function-bad", 'File "Cell In[2]", line 6', "raise ValueError(f", "----> 1 bad.result()"):
        expect(trace).to_contain_text(text)
    for scheme in ("dark", "light"):
        found.theme(scheme)
        for name, place in (("good", good), ("bad", bad), ("trace", trace), ("dashboard", dashboard.root)):
            place.scroll_into_view_if_needed()
            found.picture(f"function-{name}-{scheme}", place)


FIGURE = """\
%%bg --id kept-figure
import matplotlib.pyplot as plt
plt.figure(figsize=(3, 2))
plt.plot(heights)
print("drawn")"""
AGAIN = """\
from queuectl_nb import Queue
q = Queue()
q.job("kept-figure").display()
q.job("kept-value").result()"""
RESTART = """async (index) => {
    const panel = window.jupyterapp.shell.currentWidget;
    await panel.sessionContext.session.kernel.restart();
    panel.content.activeCellIndex = index;
    panel.content.deselectAll();
    await window.jupyterapp.commands.execute("notebook:run-cell");
}"""


def test_figure_and_value_after_a_restart(notebook: Callable[..., Notebook]) -> None:
    """The card of a cell shows its figure; a new kernel displays it again, and has the value of a function."""
    value = "q.task(pow, id='kept-value').submit(2, 10).result()"
    found = notebook([CELLS[0], "heights = [1, 3, 2]", FIGURE, value, "%queuectl wait kept-figure", AGAIN])
    found.start_all()
    outputs = found.page.locator(".jp-Cell .jp-OutputArea-output")
    card = outputs.filter(has_text="Job kept-figure").first
    expect(card.locator("img")).to_be_visible()
    expect(card.locator("pre.qc-output")).to_contain_text("drawn")
    found.done()
    assert found.errors() == []
    found.command("notebook:clear-all-cell-outputs")
    found.page.evaluate(RESTART, 5)
    last = found.page.locator(".jp-Cell").nth(5).locator(".jp-OutputArea-output")
    expect(last.filter(has_text="1024")).to_be_visible()
    expect(last.locator("img")).to_be_visible()
    assert last.locator("img").evaluate("(image) => image.complete && image.naturalWidth > 100")
    for scheme in ("dark", "light"):
        found.theme(scheme)
        found.picture(f"figure-after-restart-{scheme}")
