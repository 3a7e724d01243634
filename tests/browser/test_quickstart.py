"""The first notebook in a real JupyterLab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.lab import Notebook

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_quickstart(notebook: Callable[..., Notebook]) -> None:
    """Notebook 01 runs from top to bottom; its cards are shown in light and dark."""
    found = notebook(NOTEBOOKS / "01-quickstart.ipynb")
    found.run_all()
    cards = found.page.locator(".jp-OutputArea-output .queuectl")
    assert cards.count() >= 4
    for scheme in ("light", "dark"):
        found.theme(scheme)
        for name, text in [("job", "Job job-"), ("pool", "orkers on"), ("log", "Log of job")]:
            card = cards.filter(has_text=text).first
            card.scroll_into_view_if_needed()
            found.picture(f"card-{name}-{scheme}", card)
