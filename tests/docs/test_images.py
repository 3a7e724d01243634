"""The images of the documentation are current screenshots."""

from __future__ import annotations

import re
import time

import pytest

from docs.generate.pages import ROOT
from docs.update_images import FOLDER, difference_of, screenshot_path

IMAGES = sorted(path.name for path in FOLDER.glob("*.png"))
MAX_DIFFERENCE = 7.0
"""Times, process ids and chart bars differ by at most 4, another layout by 9 or more."""
MAX_AGE_S = 3600.0


def test_every_image_is_used() -> None:
    """Every image is used on a page, and every used image exists."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = set(re.findall(r"images/([\w-]+\.png)", "\n".join(page.read_text("utf-8") for page in pages)))
    assert shown == set(IMAGES)


@pytest.mark.parametrize("name", IMAGES)
def test_image_is_current(name: str) -> None:
    """The image resembles the screenshot taken by the browser tests of this run."""
    taken = screenshot_path(name)
    if not taken.exists() or time.time() - taken.stat().st_mtime > MAX_AGE_S:
        pytest.skip("no browser test of this run has taken it")
    difference = difference_of(FOLDER / name, taken)
    assert difference < MAX_DIFFERENCE, f"{name} has changed ({difference:.1f}); check {taken}, run docs.update_images"
