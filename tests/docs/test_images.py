"""The pictures in the documentation are those that the browser tests take, and look as the program does now."""

from __future__ import annotations

import re
import time

import pytest

from docs.generate.pages import ROOT
from docs.images import FOLDER, differ, fresh

IMAGES = sorted(path.name for path in FOLDER.glob("*.png"))
NEAR = 7.0
"""Times, process ids and where a bar of the chart stands differ by 4 at most; another layout by 9 and more."""
THIS_RUN = 3600.0


def test_every_picture_is_shown() -> None:
    """No page shows a picture that is not there (the site's build would fail), and none lies there unseen."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = set(re.findall(r"images/([\w-]+\.png)", "\n".join(page.read_text("utf-8") for page in pages)))
    assert shown == set(IMAGES)


@pytest.mark.parametrize("name", IMAGES)
def test_a_picture_is_current(name: str) -> None:
    """Where a browser test of this run took it, it is what the documentation shows."""
    taken = fresh(name)
    if not taken.exists() or time.time() - taken.stat().st_mtime > THIS_RUN:
        pytest.skip("no browser test of this run has taken it")
    far = differ(FOLDER / name, taken)
    assert far < NEAR, f"{name} looks otherwise now ({far:.1f}); look at {taken}, then: python -m docs.images"
