"""Data of plots: distinguishable colours, bars and shares that add up, round ticks."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.render.plots import ticks
from queuectl_nb.render.plots.axes import OUTCOME_STYLES
from queuectl_nb.render.plots.series import choose_slices
from queuectl_nb.render.plots.timeline import Bars, busy_fractions
from queuectl_nb.store.attempt_history import RUNNING
from tests.render.test_theme import contrast

BLIND = {
    "nobody": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}
"""Machado, Oliveira and Fernandes 2009, severity 1, for linear RGB."""
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, eyes: str) -> np.ndarray:
    """Return a colour in CIE Lab as perceived with this colour vision."""
    part = np.array([int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)])
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(BLIND[eyes] @ linear, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", BLIND)
def test_outcomes_are_distinguishable(eyes: str) -> None:
    """Success and failure differ strongly for all colour visions; similar outcomes have different hatches."""
    for bad in ("failed", "timed_out", "lost"):
        assert (
            np.linalg.norm(lab(OUTCOME_STYLES["succeeded"].colour, eyes) - lab(OUTCOME_STYLES[bad].colour, eyes)) > 20
        ), bad
    for one, other in combinations(OUTCOME_STYLES.values(), 2):
        assert one.hatch != other.hatch or np.linalg.norm(lab(one.colour, eyes) - lab(other.colour, eyes)) > 10


def test_contrast() -> None:
    """On light and dark backgrounds each colour has a contrast of 3 to 1; every outcome has its own style."""
    assert set(OUTCOME_STYLES) == {*OUTCOME_NAMES, RUNNING}
    assert [
        look.name
        for look in OUTCOME_STYLES.values()
        if min(contrast(look.colour, paper) for paper in ("#ffffff", "#111111")) < 3
    ] == []


SPANS = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 100), st.floats(0, 10)), max_size=60)


def bars_of(spans: list[tuple[int, float, float]]) -> Bars:
    """Return (row, start, length) tuples as bars."""
    rows, starts, lengths = (np.array([span[index] for span in spans], dtype="float64") for index in range(3))
    return Bars(rows.astype("int64"), starts, starts + lengths)


@given(SPANS)
def test_shares(spans: list[tuple[int, float, float]]) -> None:
    """The shares of a row sum up to the duration of its attempts; none is negative."""
    bars = bars_of(spans)
    edges = np.linspace(0, 110, 23)
    share = busy_fractions(bars, 4, edges)
    assert share.shape == (4, 22)
    assert (share >= 0).all()
    for row in range(4):
        mine = bars.rows == row
        assert (share[row] * 5).sum() == pytest.approx((bars.finished[mine] - bars.started[mine]).sum(), abs=1e-6)


@given(st.floats(1e-4, 1e9))
def test_time_ticks(wide: float) -> None:
    """Any axis has one to seven ticks with short labels."""
    marks = ticks.linear_ticks(wide)
    assert 1 <= len(marks) <= 7
    assert all(len(ticks.tick_label(mark)) <= 8 for mark in marks)


@given(st.floats(1e-3, 1e8), st.floats(31, 1e6))
def test_duration_ticks(low: float, times: float) -> None:
    """From a ratio of thirty on, there are two to thirteen ticks."""
    marks = ticks.log_ticks(low, low * times)
    assert len(marks) <= 13
    assert len(marks) >= 2 or low * times > 1e8 or low < 0.002


@given(st.floats(0, 2e9), st.floats(0, 1e8))
def test_throughput_slices(first: float, wide: float) -> None:
    """The slices begin at or before the first end, and are at most a hundred."""
    start, each = choose_slices(first, first + wide)
    assert start <= first
    assert wide / each <= 100
