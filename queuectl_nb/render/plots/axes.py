"""Axes, legends and outcome colours that all plots share.

The colours are distinct for colour-blind readers and contrast with white and dark backgrounds; similar ones also differ
by a hatch (computed in tests/render/test_plots.py). Everything else follows the user's matplotlib style.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.store.attempt_history import RUNNING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = [
    "OUTCOME_STYLES",
    "OutcomeStyle",
    "add_legend",
    "decorate",
    "draw_empty",
    "make_axes",
    "require_matplotlib",
    "set_time_axis",
    "shorten_label",
    "sort_outcomes",
    "to_dates",
]

FIGURE_WIDTH_IN = 9.0
EDGE_WIDTH_PT = 0.3
"""Separates adjacent boxes, and leaves most of the narrowest ones."""
_MAX_LABEL_CHARS = 38


class OutcomeStyle(NamedTuple):
    """Name, colour and hatch of an outcome in plots."""

    name: str
    colour: str
    hatch: str = ""

    def box_options(self, ax: Axes, *, hatched: bool = True) -> dict[str, Any]:
        """Return the matplotlib options of a box of this outcome on ``ax``; running attempts are hollow."""
        hollow = self.name == RUNNING
        return {
            "facecolor": "none" if hollow else self.colour,
            "edgecolor": self.colour if hollow else ax.get_facecolor(),
            "linewidth": 1.0 if hollow else EDGE_WIDTH_PT if hatched else 0.0,
            "hatch": self.hatch if hatched else "",
            "label": self.name,
        }


OUTCOME_STYLES = {
    "succeeded": OutcomeStyle("succeeded", "#2b7bba"),
    "failed": OutcomeStyle("failed", "#d55e00"),
    "timed_out": OutcomeStyle("timed out", "#a8801c", "////"),
    "lost": OutcomeStyle("lost", "#9a3fe0", "xxxx"),
    "cancelled": OutcomeStyle("cancelled", "#808080"),
    "returned": OutcomeStyle("returned", "#808080", "...."),
    "not_started": OutcomeStyle("not started", "#1c8f77", "\\\\\\\\"),
    RUNNING: OutcomeStyle("running", "#2b7bba", "//"),
}
"""Styles by outcome, in the order of the legend."""


def require_matplotlib() -> None:
    """Raise :class:`BadEnvironment` if matplotlib is not installed."""
    try:
        import matplotlib as mpl  # noqa: F401 - availability check
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        msg = "plots need matplotlib, which is not installed; run: pip install 'queuectl-nb[plot]'"
        raise BadEnvironment(msg) from None


def make_axes(ax: Axes | None, height_in: float) -> Axes:
    """Return ``ax``, or the axes of a new figure."""
    require_matplotlib()
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(FIGURE_WIDTH_IN, height_in), layout="constrained")[1]


def decorate(ax: Axes, title: str, note: str = "", *, grid: str = "x") -> None:
    """Add title, a note at the right, and a grid; hide most of the frame."""
    ax.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    if note:
        ax.set_title(note, loc="right", fontsize="small", alpha=0.8)
    ax.spines[["top", "right", "left"] if grid == "x" else ["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(axis=grid, alpha=0.3, linewidth=0.8)  # type: ignore[arg-type]  # x or y
    ax.tick_params(axis="y" if grid == "x" else "x", length=0 if grid == "x" else 3)


def add_legend(ax: Axes, outcomes: Iterable[str], offset_in: float = 0.0, *, hatched: bool = True) -> None:
    """Add a legend of outcomes beside the axes, ``offset_in`` inches to the right."""
    from matplotlib.patches import Patch
    from matplotlib.transforms import ScaledTranslation

    styles = [OUTCOME_STYLES[name] for name in sort_outcomes(outcomes)]
    ax.legend(
        handles=[Patch(**style.box_options(ax, hatched=hatched)) for style in styles],
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        bbox_transform=ax.transAxes + ScaledTranslation(offset_in, 0, ax.figure.dpi_scale_trans),
        frameon=False,
        fontsize="small",
    )


def sort_outcomes(outcomes: Iterable[str]) -> list[str]:
    """Return outcomes in the order of the legend."""
    return sorted(outcomes, key=list(OUTCOME_STYLES).index)


def draw_empty(ax: Axes, title: str) -> Axes:
    """Draw a text where there are no data."""
    ax.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_alpha(0.3)
    ax.text(0.5, 0.5, "no attempts yet", ha="center", va="center", transform=ax.transAxes, alpha=0.7)
    return ax


def to_dates(seconds: Iterable[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return epoch seconds as matplotlib dates."""
    import matplotlib.dates as mdates

    micros = (np.asarray(seconds, dtype="float64") * 1e6).astype("int64").astype("datetime64[us]")
    return np.asarray(mdates.date2num(micros), dtype="float64")  # type: ignore[no-untyped-call]


def set_time_axis(ax: Axes, first: float, last: float) -> None:
    """Show local time on the x axis, from epoch second ``first`` to ``last``."""
    import matplotlib.dates as mdates
    from dateutil.tz import tzlocal

    locator = mdates.AutoDateLocator(tz=tzlocal(), minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    formatter = mdates.ConciseDateFormatter(locator, tz=tzlocal())  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_formatter(formatter)
    margin = max((last - first) * 0.01, 0.005)
    low, high = to_dates([first - margin, last + margin])
    ax.set_xlim(float(low), float(high))


def shorten_label(text: str) -> str:
    """Return a label on one line; if too long, without its middle, because commands often differ at the end."""
    from queuectl_nb.render.text_table import visible

    line = visible(" ".join(text.split())).replace("$", r"\$")  # matplotlib parses dollars as formulas
    if len(line) <= _MAX_LABEL_CHARS:
        return line
    return f"{line[: _MAX_LABEL_CHARS // 2 - 1]}…{line[-_MAX_LABEL_CHARS // 2 :]}"
