"""A cell as a job in a real JupyterLab: its figure is on the card, and still there after the kernel's restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.lab import Notebook

FIT = """\
%%bg --id fit
import matplotlib.pyplot as plt
plt.plot(rates)
frame = pd.DataFrame({'rate': rates})
print('fitted')
frame.describe()
"""
CELLS = [
    "%load_ext queuectl_nb\npool = %queuectl worker start\nimport pandas as pd\nrates = [0.1, 0.5, 0.2]",
    FIT,
    "%queuectl wait fit",
]
LATER = [
    "from queuectl_nb import Queue\njob = Queue().job('fit')\njob.display()",
    "print('frame' in globals(), len(job['frame']), list(job.variables().index))",
]


def test_figure_after_a_restart(notebook: Callable[..., Notebook]) -> None:
    """The card has figure, table and text; ``display()`` shows them in a new kernel, and variables are read there."""
    found = notebook([*CELLS, *LATER])
    found.command("notebook:run-all-cells")
    found.done()
    assert found.errors() == []
    card = found.page.locator(".jp-OutputArea-output .queuectl").filter(has_text="Job fit").first
    image = card.locator(".qc-display img")
    expect(image).to_be_visible()
    assert image.evaluate("(image) => image.complete && image.naturalWidth > 100")
    expect(card.locator(".qc-display table")).to_contain_text("rate")
    expect(card.locator("pre.qc-output")).to_contain_text("fitted")
    for scheme in ("light", "dark"):
        found.theme(scheme)
        card.scroll_into_view_if_needed()
        found.picture(f"cell-{scheme}", card)
    again = notebook(LATER, name="later.ipynb")  # another notebook, so another kernel
    again.command("notebook:run-all-cells")
    again.done()
    assert again.errors() == []
    outputs = again.page.locator(".jp-OutputArea-output")
    expect(outputs.locator("img")).to_be_visible()
    expect(outputs.locator("table")).to_contain_text("rate")
    expect(again.page.get_by_text("False 3 ['frame']")).to_be_visible()
    again.picture("cell-again")
