"""Contrast of the palette in both schemes: 4.5 to 1 for text, 3 to 1 for edges and bars."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.state import State
from queuectl_nb.render.js_bundle import FRONTEND, SHARED, read_styles

if TYPE_CHECKING:
    from pathlib import Path

LAB = {"light": ("#ffffff", "#f3f3f3"), "dark": ("#111111", "#212121")}
"""Backgrounds of JupyterLab's themes."""


def colours(scheme: str) -> dict[str, str]:
    """Return the colours of a scheme."""
    found = {}
    for name, value in re.findall(r"--(qc-[\w-]+): ([^;]+);", read_styles("palette.css")):
        pair = re.search(r"light-dark\((#\w{6}), (#\w{6})\)", value)
        if pair:
            found[name] = pair[1 if scheme == "light" else 2]
        elif re.fullmatch(r"#\w{6}", value):
            found[name] = value
    return found


def luminance(colour: str) -> float:
    """Return the relative luminance, as WCAG defines it."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast between two colours, 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_contrast(scheme: str) -> None:
    """Text is readable on every background it may have."""
    has = colours(scheme)
    plain = [has["qc-paper"], has["qc-field"], *LAB[scheme]]
    surfaces = [*plain, *(has[f"qc-{name}"] for name in ("stripe", "hover", "chosen"))]
    hues = ["cyan", *map(str, State)]
    pairs = [(ink, has[f"qc-{ink}"], paper) for ink in ("ink", "dim", "accent") for paper in surfaces]
    pairs += [(hue, has[f"qc-{hue}"], paper) for hue in hues for paper in (has[f"qc-{hue}-paper"], *plain)]
    pairs += [(f"ink on {hue}", has["qc-ink"], has[f"qc-{hue}-paper"]) for hue in hues]
    pairs += [("button", has["qc-accent-ink"], has["qc-accent-paper"])]
    assert [(name, paper) for name, ink, paper in pairs if contrast(ink, paper) < 4.5] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_graphics_contrast(scheme: str) -> None:
    """Focus rings, field edges and bars stand out from their background."""
    has = colours(scheme)
    surfaces = [has["qc-paper"], has["qc-field"], *LAB[scheme]]
    names = ("focus", "edge", "bar-ok", "bar-bad", "accent-paper")
    pairs = [(name, paper) for name in names for paper in surfaces]
    assert [(name, paper) for name, paper in pairs if contrast(has[f"qc-{name}"], paper) < 3] == []


@pytest.mark.parametrize(
    "sheet", [SHARED / "theme.css", FRONTEND / "web/page.css", FRONTEND / "notebook/dashboard.css"]
)
def test_every_used_colour_is_defined(sheet: Path) -> None:
    """Style sheets of live views use only colours of the palette."""
    used = set(re.findall(r"var\((--qc-[\w-]+)", sheet.read_text("utf-8"))) - {"--qc-columns"}  # a table's own
    assert used
    assert used <= set(re.findall(r"(--qc-[\w-]+):", read_styles("palette.css")))
